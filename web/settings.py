"""All settings: where they come from, what they mean, and what is wrong with them.

`app.config["CHAT_X"]`, else the environment's `CHAT_X`, else the default.  This is the only file that reads the
environment, but for `web.valkey` and `web.scoreboard`, whose turn comes before.  Everything is checked here, at start-up,
because a wrong setting found at night is found too late.
"""

import difflib
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from chat.config import ServerConf
from web.websocket.limits import HttpLimits, SocketLimits
from web.websocket.serving import UnfitToServe

log: Final = logging.getLogger("web.settings")

T = TypeVar("T")

TEN_YEARS: Final = 315_360_000  # seconds; dates go no further back than the year 1
ESCAPED: Final = 6  # bytes of JSON for one of a text, at most: \u0001
AROUND: Final = 2048  # bytes for the rest of a `publish`: two names of 64 characters, escaped to 12 bytes each, and an id


class SettingError(UnfitToServe):
    """A setting is wrong; the text names it and says what is wanted."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(f"a text is wanted, not {type(value).__name__}")  # it may be a secret
    return value


def _redis(value: object) -> str:
    url = _text(value)
    if not url:
        return url
    try:
        from chat.bus.address import parse
    except ImportError:
        raise SettingError("redis-py and hiredis are wanted for it; install flask-gevent-chat[redis]") from None
    parse(url)
    return url


def _whole(value: object) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        raise SettingError(f"a whole number is wanted, not {value!r}") from None
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise SettingError(f"a whole number, 0 or more, is wanted, not {value!r}")
    return number


def _positive(value: object) -> int:
    number = _whole(value)
    if number == 0:
        raise SettingError("a whole number, 1 or more, is wanted, not 0")
    return number


def _seconds(value: object) -> float:
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        raise SettingError(f"a number is wanted, not {value!r}") from None
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < float("inf"):
        raise SettingError(f"a number, 0 or more, is wanted, not {value!r}")
    return float(number)


def _above_zero(value: object) -> float:
    number = _seconds(value)
    if number == 0:
        raise SettingError("more than 0 is wanted")
    return number


def _lifetime(value: object) -> float:
    seconds = _seconds(value)
    if not 1 <= seconds <= TEN_YEARS:
        raise SettingError(f"seconds between 1 and {TEN_YEARS}, ten years, are wanted")
    return seconds


def _flag(value: object) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    found = words.get(str(value).lower())
    if found is None:
        raise SettingError(f"true or false is wanted, not {value!r}")
    return found


def _folder(value: object) -> Path:
    if value == "":
        raise SettingError("a folder is wanted, not an empty text")
    return Path(os.fspath(value) if isinstance(value, os.PathLike) else _text(value)).absolute()


def _origins(value: object) -> tuple[str, ...]:
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise SettingError("a list, or a text with commas between, is wanted, such as https://example.org")
    return tuple(_origin(item) for item in items)


def _origin(value: object) -> str:
    parts = urlsplit(_text(value))
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or parts.port == 0
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        raise SettingError(f"an origin such as https://example.org is wanted, not {value!r}")
    return f"{parts.scheme}://{parts.netloc}"


def _setting(read: Callable[[object], T], default: object = MISSING) -> T:
    made: T = field(default=default, metadata={"read": read})  # type: ignore[assignment]
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings; the name of each in the environment is `CHAT_` and the field in capitals."""

    instance: Path = _setting(_folder)
    """Folder for the database, the secret key and the lock."""
    secret_key: str = _setting(_text, "")
    """Signs the session cookies; standalone only.  Generated once and kept in the instance folder."""
    database_url: str = _setting(_text, "")
    """SQLAlchemy URL; SQLite in the instance folder."""
    archive: bool = _setting(_flag, True)
    """What is said is kept in the database, and there before anybody hears it; else in memory, as far as it goes."""
    redis_url: str = _setting(_redis, "")
    """Redis or Valkey servers for more than one process: redis://, rediss://, unix://, redis+sentinel://, redis+cluster://;
    several, with commas between them, share the channels."""
    redis_prefix: str = _setting(_text, "chat")
    """What all keys and topics in the Redis begin with; another one for each chat that uses the same Redis."""
    redis_lease: float = _setting(_above_zero, 10.0)
    """Seconds after which a process that is silent is taken for dead, and its members have left."""
    workers: int = _setting(_positive, 1)
    """gunicorn's worker processes."""
    origins: tuple[str, ...] = _setting(_origins, ())
    """Origins allowed beside the own host."""
    trusted_proxies: int = _setting(_whole, 0)
    """Proxies in front whose X-Forwarded headers are believed; standalone only."""
    session_lifetime: float = _setting(_lifetime, 86400.0)
    """Seconds without use after which a login ends; standalone only."""
    remember_lifetime: float = _setting(_lifetime, 30 * 86400.0)
    """The same for a login that is kept on its device."""
    login_lifetime: float = _setting(_lifetime, 30 * 86400.0)
    """Seconds after which every login ends, used or not; standalone only."""
    hsts: int = _setting(_whole, 365 * 86400)
    """Seconds for which browsers that came over TLS shall come by nothing else; 0 is no such header; standalone only."""
    connections_per_user: int = _setting(_whole, 20)
    """Open sockets of one user; 0 is no limit."""
    connections_per_address: int = _setting(_whole, 0)
    """Open sockets from one address; 0 is no limit."""
    connections: int = _setting(_whole, 0)
    """Open sockets in this process; 0 is what the descriptors allow."""
    handshake_rate: float = _setting(_seconds, 0.0)
    """New sockets a second from one address, bursts of ten times that; 0 is no limit."""
    token_rate: float = _setting(_seconds, 2.0)
    """Tokens a second that one user may ask for over HTTP, after 120 at once; 0 is no limit."""
    channel_rate: float = _setting(_seconds, 1.0)
    """Channels a second that one user may create, after 120 at once; 0 is no limit."""
    drain_delay: float = _setting(_seconds, 0.0)
    """Seconds between "not ready" and the closing of sockets when the process is told to end by TERM or HUP."""
    drain_timeout: float = _setting(_above_zero, 4.0)
    """Seconds for closing all sockets when the process ends."""
    resume_limit: int = _setting(_whole, 1000)
    """Missed events that are sent again at most."""
    reauthorize: float = _setting(_above_zero, 300.0)
    """Seconds after which `authorize` is asked again for an open socket."""
    fast_handshake: bool = _setting(_flag, False)
    """WebSockets come in ahead of Flask's dispatch: no before_request, session or after_request for them."""
    compression: bool = _setting(_flag, False)
    """WebSockets whose clients offer permessage-deflate are compressed."""
    sockets: SocketLimits = field(default_factory=SocketLimits)
    """What one WebSocket may do; like the next two, one `CHAT_` setting for each field that a text can express."""
    http: HttpLimits = field(default_factory=HttpLimits)
    """What a request may take."""
    conf: ServerConf = field(default_factory=ServerConf)
    """The core's."""


# A user with many tabs is one user, so the web's default differs from the core's.
CONF_DEFAULTS: Final[Mapping[str, object]] = {"duplicate_user": "share"}
GROUPS: Final[Mapping[str, type[ServerConf | HttpLimits | SocketLimits]]] = {
    "sockets": SocketLimits,
    "http": HttpLimits,
    "conf": ServerConf,
}
READERS: Final[Mapping[type, Callable[[object], object]]] = {int: _whole, float: _seconds, bool: _flag, str: _text}
NOT_TEXT: Final = ("controller", "logger")


def load(config: Mapping[str, object], environ: Mapping[str, str], instance: str, **conf: object) -> Settings:
    """Read everything; `instance` is the folder unless CHAT_INSTANCE says otherwise, `conf` what only code can say.

    Raises: SettingError naming the setting.
    """
    source = {key: value for key, value in environ.items() if key.startswith("CHAT_")}
    found: dict[str, object] = {**source, **{key: config[key] for key in config if key.startswith("CHAT_")}}
    found.setdefault("CHAT_INSTANCE", instance)
    _warn_of_unknown(found)
    own = {item.name: _read(item, found) for item in fields(Settings) if item.name not in GROUPS and _key(item) in found}
    given: dict[str, Mapping[str, object]] = {"conf": {**CONF_DEFAULTS, **conf}}
    groups = {name: _load_group(group, found, given.get(name, {})) for name, group in GROUPS.items()}
    settings = Settings(**own, **groups)  # type: ignore[arg-type]
    return _fit_frame(settings, is_set="CHAT_MAX_FRAME" in found)


def load_here(config: Mapping[str, object], instance: str, **conf: object) -> Settings:
    """The same, with the environment of this process."""
    return load(config, os.environ, instance, **conf)


def _key(item: "Field[object]") -> str:
    return f"CHAT_{item.name.upper()}"


def _read(item: "Field[object]", found: Mapping[str, object]) -> object:
    reader: Callable[[object], object] = item.metadata["read"]
    try:
        return reader(found[_key(item)])
    except ValueError as exc:  # SettingError, or what urlsplit says
        raise SettingError(f"{_key(item)}: {exc}") from None


def _load_group(group: type[T], found: Mapping[str, object], given: Mapping[str, object]) -> T:
    values = dict(given)
    for item in fields(group):  # type: ignore[arg-type]  # those in GROUPS are all dataclasses
        key = _key(item)
        if key in found and item.name not in NOT_TEXT:
            reader = READERS.get(type(item.default), _text)
            try:
                values[item.name] = reader(found[key])
            except SettingError as exc:
                raise SettingError(f"{key}: {exc}") from None
    try:
        return group(**values)
    except ValueError as exc:
        name, _, why = str(exc).partition(":")
        raise SettingError(f"CHAT_{name.upper()}:{why}") from None


def known() -> list[str]:
    """The names of all settings."""
    own = [_key(item) for item in fields(Settings) if item.name not in GROUPS]
    return own + [_key(item) for group in GROUPS.values() for item in fields(group) if item.name not in NOT_TEXT]


def _warn_of_unknown(found: Mapping[str, object]) -> None:
    names = known()
    for key in sorted(set(found) - set(names)):
        near = difflib.get_close_matches(key, names, n=1)
        log.warning("%s is no setting and is ignored%s", key, f"; did you mean {near[0]}?" if near else "")


def redis_url(settings: Settings) -> str:
    """The URL set, or, by now, that of the Valkey that gunicorn's master runs for its workers; "" for neither.

    Raises: SettingError for several workers without one: they would be several chats that look like one.
    """
    url = settings.redis_url or os.environ.get("CHAT_REDIS_URL", "")
    if not url and settings.workers > 1:
        raise SettingError(
            f"CHAT_WORKERS: {settings.workers} workers want a Redis or Valkey between them; set CHAT_REDIS_URL, "
            "or start them by gunicorn with this project's gunicorn.conf.py, which runs one"
        )
    return url


def _fit_frame(settings: Settings, *, is_set: bool) -> Settings:
    """Who sends the longest text should not be closed for the frame that it comes in: the default grows with the text."""
    frame, text = settings.sockets.max_frame, settings.conf.max_message
    needed = ESCAPED * text + AROUND
    if frame >= needed:
        return settings
    if is_set:
        raise SettingError(
            f"CHAT_MAX_FRAME: {frame} bytes do not hold every text of CHAT_MAX_MESSAGE, {text} bytes, as JSON; "
            f"leave it out, or set {needed} or more ({ESCAPED} times the text, and {AROUND})"
        )
    return replace(settings, sockets=replace(settings.sockets, max_frame=needed))


def secret_key(settings: Settings) -> str:
    """The key that signs cookies: the one set, or the one kept in the instance folder, made at the first start.

    Raises: SettingError when there is none and none can be kept.
    """
    if settings.secret_key:
        return settings.secret_key
    path = settings.instance / "secret_key"
    try:
        settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_secret(path)
        kept = path.read_text("latin-1").strip()  # any bytes may be a key
    except OSError as exc:
        raise SettingError(f"CHAT_SECRET_KEY: not set, and {path} cannot be used ({exc.strerror}); set it") from exc
    if not kept:
        raise SettingError(f"CHAT_SECRET_KEY: not set, and {path} is empty; delete that file, or set the key")
    return kept


def _make_secret(path: Path) -> None:
    """Linked into place whole, so that of two processes that start together both read the same key."""
    if path.exists():
        return
    descriptor, name = tempfile.mkstemp(prefix="secret_key.", dir=path.parent)  # readable for us alone
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def database_url(settings: Settings) -> str:
    """The URL set, or that of the SQLite file in the instance folder."""
    return settings.database_url or f"sqlite:///{settings.instance / 'chat.sqlite'}"
