"""Settings: where each comes from, what is said of a wrong one, and the secret that is kept."""

import logging
import multiprocessing
import os
import stat
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from chat.config import ServerConf
from web.settings import SettingError, Settings, database_url, known, load, redis_url, secret_key
from web.websocket.serving import UnfitToServe

DOCS = Path(__file__).parent.parent.parent / "docs"


def read(config: dict[str, object] | None = None, **environ: str) -> Settings:
    return load(config or {}, environ, "/srv/instance")


# Where a setting comes from

# name, as a text in the environment, as a value in app.config, what the former means, what the latter means, the default
KINDS = [
    ("CHAT_INSTANCE", "/srv/a", Path("/srv/b"), Path("/srv/a"), Path("/srv/b"), Path("/srv/instance")),
    ("CHAT_SECRET_KEY", "one", "two", "one", "two", ""),
    ("CHAT_DATABASE_URL", "sqlite://", "sqlite:///x", "sqlite://", "sqlite:///x", ""),
    ("CHAT_REDIS_URL", "redis://a", "unix:///b", "redis://a", "unix:///b", ""),
    ("CHAT_REDIS_PREFIX", "one", "two", "one", "two", "chat"),
    ("CHAT_REDIS_LEASE", "4", 2.5, 4.0, 2.5, 10.0),
    ("CHAT_WORKERS", "4", 2, 4, 2, 1),
    ("CHAT_ORIGINS", "https://a.example", ["http://b.example"], ("https://a.example",), ("http://b.example",), ()),
    ("CHAT_TRUSTED_PROXIES", "1", 2, 1, 2, 0),
    ("CHAT_SESSION_LIFETIME", "60", 1.5, 60.0, 1.5, 86_400.0),
    ("CHAT_REMEMBER_LIFETIME", "60", 1.5, 60.0, 1.5, 2_592_000.0),
    ("CHAT_LOGIN_LIFETIME", "60", 1.5, 60.0, 1.5, 2_592_000.0),
    ("CHAT_HSTS", "60", 0, 60, 0, 31_536_000),
    ("CHAT_CONNECTIONS_PER_USER", "0", 3, 0, 3, 20),
    ("CHAT_CONNECTIONS_PER_ADDRESS", "7", 8, 7, 8, 0),
    ("CHAT_CONNECTIONS", "9", 10, 9, 10, 0),
    ("CHAT_HANDSHAKE_RATE", "2.5", 0, 2.5, 0.0, 0.0),
    ("CHAT_TOKEN_RATE", "2.5", 0, 2.5, 0.0, 2.0),
    ("CHAT_CHANNEL_RATE", "2.5", 0, 2.5, 0.0, 1.0),
    ("CHAT_DRAIN_DELAY", "15", 0, 15.0, 0.0, 0.0),
    ("CHAT_DRAIN_TIMEOUT", "1", 0.5, 1.0, 0.5, 4.0),
    ("CHAT_RESUME_LIMIT", "0", 5, 0, 5, 1000),
    ("CHAT_REAUTHORIZE", "60", 1, 60.0, 1.0, 300.0),
    ("CHAT_ARCHIVE", "off", True, False, True, True),
    ("CHAT_FAST_HANDSHAKE", "yes", False, True, False, False),
    ("CHAT_COMPRESSION", "on", False, True, False, False),
]
GROUP_KINDS = [
    ("CHAT_MAX_FRAME", "30000", 40_000, 30_000, 40_000, 65_536),
    ("CHAT_MAX_FRAGMENTS", "1", 2, 1, 2, 1024),
    ("CHAT_MESSAGE_RATE", "2.5", 0, 2.5, 0.0, 10.0),
    ("CHAT_PING_RATE", "2.5", 0, 2.5, 0.0, 10.0),
    ("CHAT_MAX_REFUSED", "1", 2, 1, 2, 100),
    ("CHAT_PING_INTERVAL", "1.5", 20, 1.5, 20.0, 25.0),
    ("CHAT_PING_TIMEOUT", "1.5", 2, 1.5, 2.0, 10.0),
    ("CHAT_CLOSE_TIMEOUT", "1.5", 2, 1.5, 2.0, 5.0),
    ("CHAT_REQUEST_LINE", "1", 2, 1, 2, 8192),
    ("CHAT_HEADER_BYTES", "1", 2, 1, 2, 32_768),
    ("CHAT_HEADER_COUNT", "1", 2, 1, 2, 100),
    ("CHAT_MAX_BODY", "1", 2, 1, 2, 16_777_216),
    ("CHAT_HEADER_TIMEOUT", "1.5", 2, 1.5, 2.0, 10.0),
    ("CHAT_KEEPALIVE", "1.5", 2, 1.5, 2.0, 75.0),
    ("CHAT_IO_TIMEOUT", "1.5", 2, 1.5, 2.0, 30.0),
    ("CHAT_IO_RATE", "2.5", 0, 2.5, 0.0, 500.0),
    ("CHAT_DISCARD_TIMEOUT", "1.5", 2, 1.5, 2.0, 5.0),
    ("CHAT_READ_BUF", "1", 2, 1, 2, 8192),
    ("CHAT_WRITE_BUF", "1", 2, 1, 2, 1 << 20),
    ("CHAT_INBOX", "1", 2, 1, 2, 1024),
    ("CHAT_TOKEN_DEADLINE", "1.5", 2, 1.5, 2.0, 30.0),
    ("CHAT_TOKENS_PER_USER", "1", 2, 1, 2, 200),
    ("CHAT_TOKEN_CLEANUP_DELAY", "1", 2, 1.0, 2.0, 300.0),
    ("CHAT_CHANNEL_IDLE_TIMEOUT", "1", 2, 1.0, 2.0, 300.0),
    ("CHAT_CHANNEL_CLEANUP_DELAY", "1", 2, 1.0, 2.0, 1800.0),
    ("CHAT_DEBUG_LOG", "yes", False, True, False, False),
    ("CHAT_MAX_MESSAGE", "1", 2, 1, 2, 4096),
    ("CHAT_EDIT_WINDOW", "0", 2, 0.0, 2.0, 86400.0),
    ("CHAT_RECENT_EVENTS", "1", 2, 1, 2, 1000),
    ("CHAT_RECENT_AGE", "1", 2, 1.0, 2.0, 3600.0),
    ("CHAT_RETENTION_AGE", "1", 2, 1.0, 2.0, 0.0),
    ("CHAT_RETENTION_COUNT", "1", 2, 1, 2, 0),
    ("CHAT_DUPLICATE_USER", "reject", "replace", "reject", "replace", "share"),
]


def value(settings: Settings, name: str) -> object:
    field = name.removeprefix("CHAT_").lower()
    groups = settings, settings.sockets, settings.http, settings.conf
    return next(getattr(group, field) for group in groups if hasattr(group, field))


@pytest.mark.parametrize(("name", "text", "given", "from_text", "from_config", "default"), KINDS + GROUP_KINDS)
def test_app_config_wins_over_the_environment_and_that_over_the_default(
    name: str, text: str, given: object, from_text: object, from_config: object, default: object
) -> None:
    assert value(read(), name) == default
    assert value(read(**{name: text}), name) == from_text
    assert value(read({name: given}, **{name: text}), name) == from_config


def test_every_setting_is_among_those_tested_above() -> None:
    assert sorted(kind[0] for kind in KINDS + GROUP_KINDS) == sorted(known())


def test_what_only_code_can_express_is_no_setting() -> None:
    assert {"CHAT_CONTROLLER", "CHAT_LOGGER", "CHAT_CONF"} & set(known()) == set()


def test_fields_given_in_code_lose_to_settings() -> None:
    settings = load({}, {"CHAT_MAX_MESSAGE": "7"}, "instance", max_message=5, inbox=6)

    assert (settings.conf.max_message, settings.conf.inbox) == (7, 6)


def test_a_controller_and_a_logger_are_given_in_code() -> None:
    controller, logger = object(), logging.getLogger("host")

    conf = load({}, {}, "instance", controller=controller, logger=logger).conf

    assert (conf.controller, conf.logger) == (controller, logger)


def test_a_relative_instance_folder_is_made_absolute_so_that_it_outlives_a_change_of_directory() -> None:
    assert read(CHAT_INSTANCE="data").instance == Path.cwd() / "data"


def test_origins_are_separated_by_commas_or_white_space_and_lose_a_slash_at_the_end() -> None:
    settings = read(CHAT_ORIGINS="https://a.example/, http://b.example:8000\nhttps://c.example")

    assert settings.origins == ("https://a.example", "http://b.example:8000", "https://c.example")


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "On"])
def test_words_for_true(text: str) -> None:
    assert read(CHAT_DEBUG_LOG=text).conf.debug_log is True


@pytest.mark.parametrize("text", ["0", "false", "False", "no", "OFF"])
def test_words_for_false(text: str) -> None:
    assert read(CHAT_DEBUG_LOG=text).conf.debug_log is False


def test_the_database_is_a_file_in_the_instance_folder_unless_a_url_is_set() -> None:
    assert database_url(read()) == "sqlite:////srv/instance/chat.sqlite"
    assert database_url(read(CHAT_DATABASE_URL="postgresql://db/chat")) == "postgresql://db/chat"


# What is said of a wrong one

WRONG: list[tuple[str, object]] = [
    ("CHAT_INSTANCE", 7),
    ("CHAT_INSTANCE", ""),
    ("CHAT_SECRET_KEY", b"bytes"),
    ("CHAT_DATABASE_URL", None),
    ("CHAT_REDIS_URL", 1),
    ("CHAT_REDIS_URL", "localhost:6379"),
    ("CHAT_REDIS_URL", "http://localhost"),
    ("CHAT_REDIS_URL", "redis+sentinel://localhost"),
    ("CHAT_REDIS_PREFIX", 1),
    ("CHAT_REDIS_LEASE", 0),
    ("CHAT_WORKERS", ""),
    ("CHAT_WORKERS", "two"),
    ("CHAT_WORKERS", 1.0),
    ("CHAT_WORKERS", True),
    ("CHAT_WORKERS", "-1"),
    ("CHAT_WORKERS", "0"),
    ("CHAT_WORKERS", "9" * 5000),
    ("CHAT_ORIGINS", 1),
    ("CHAT_ORIGINS", "chat.example"),
    ("CHAT_ORIGINS", "*"),
    ("CHAT_ORIGINS", "ftp://chat.example"),
    ("CHAT_ORIGINS", "https://chat.example/page"),
    ("CHAT_ORIGINS", "https://chat.example?x"),
    ("CHAT_ORIGINS", "https://"),
    ("CHAT_ORIGINS", "https://["),
    ("CHAT_ORIGINS", "https://chat.example:port"),
    ("CHAT_ORIGINS", "https://chat.example:65536"),
    ("CHAT_ORIGINS", "https://ann@chat.example"),
    ("CHAT_ORIGINS", "https://chat.example#x"),
    ("CHAT_ORIGINS", ["https://chat.example", None]),
    ("CHAT_TRUSTED_PROXIES", "-1"),
    ("CHAT_SESSION_LIFETIME", "0.9"),
    ("CHAT_SESSION_LIFETIME", "1e300"),
    ("CHAT_REMEMBER_LIFETIME", "a month"),
    ("CHAT_LOGIN_LIFETIME", 0),
    ("CHAT_HSTS", "a year"),
    ("CHAT_MESSAGE_RATE", "fast"),
    ("CHAT_MESSAGE_RATE", -0.5),
    ("CHAT_MESSAGE_RATE", "nan"),
    ("CHAT_MESSAGE_RATE", "inf"),
    ("CHAT_MESSAGE_RATE", True),
    ("CHAT_MESSAGE_RATE", None),
    ("CHAT_CONNECTIONS_PER_USER", "many"),
    ("CHAT_CONNECTIONS_PER_ADDRESS", -1),
    ("CHAT_CONNECTIONS", "1.5"),
    ("CHAT_PING_INTERVAL", "0"),
    ("CHAT_PING_INTERVAL", ""),
    ("CHAT_DRAIN_DELAY", -1),
    ("CHAT_MAX_FRAME", 0),
    ("CHAT_MAX_FRAME", 26_623),
    ("CHAT_MAX_FRAGMENTS", "0"),
    ("CHAT_PING_RATE", "-1"),
    ("CHAT_MAX_REFUSED", 1.5),
    ("CHAT_PING_TIMEOUT", "0"),
    ("CHAT_CLOSE_TIMEOUT", "-1"),
    ("CHAT_REQUEST_LINE", "0"),
    ("CHAT_HEADER_BYTES", "32k"),
    ("CHAT_HEADER_COUNT", 0),
    ("CHAT_MAX_BODY", "0"),
    ("CHAT_HEADER_TIMEOUT", 0),
    ("CHAT_KEEPALIVE", "inf"),
    ("CHAT_IO_TIMEOUT", "0"),
    ("CHAT_IO_RATE", -1),
    ("CHAT_DISCARD_TIMEOUT", True),
    ("CHAT_DRAIN_TIMEOUT", 0),
    ("CHAT_RESUME_LIMIT", "-1"),
    ("CHAT_REAUTHORIZE", "0"),
    ("CHAT_ARCHIVE", "perhaps"),
    ("CHAT_FAST_HANDSHAKE", "perhaps"),
    ("CHAT_COMPRESSION", "gzip"),
    ("CHAT_READ_BUF", "0"),
    ("CHAT_WRITE_BUF", "1 MiB"),
    ("CHAT_INBOX", "-1"),
    ("CHAT_TOKEN_DEADLINE", "0"),
    ("CHAT_TOKENS_PER_USER", "0"),
    ("CHAT_HANDSHAKE_RATE", -1),
    ("CHAT_TOKEN_RATE", "often"),
    ("CHAT_CHANNEL_RATE", None),
    ("CHAT_TOKEN_CLEANUP_DELAY", "inf"),
    ("CHAT_CHANNEL_IDLE_TIMEOUT", "soon"),
    ("CHAT_CHANNEL_CLEANUP_DELAY", -1),
    ("CHAT_DEBUG_LOG", "perhaps"),
    ("CHAT_DEBUG_LOG", None),
    ("CHAT_MAX_MESSAGE", 0),
    ("CHAT_EDIT_WINDOW", "ever"),
    ("CHAT_RECENT_EVENTS", 0),
    ("CHAT_RECENT_AGE", 0),
    ("CHAT_RETENTION_AGE", -1),
    ("CHAT_RETENTION_COUNT", 1.5),
    ("CHAT_DUPLICATE_USER", "allow"),
    ("CHAT_DUPLICATE_USER", 1),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_wrong_value_is_refused_in_a_sentence_that_begins_with_the_settings_name(name: str, wrong: object) -> None:
    with pytest.raises(SettingError) as caught:
        read({name: wrong})

    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value)) > len(f"{name}: ")


def test_each_setting_that_has_wrong_values_is_tried_with_one() -> None:
    assert {name for name, _ in WRONG} == set(known())


def test_a_wrong_setting_makes_a_process_unfit_to_serve() -> None:
    assert issubclass(SettingError, UnfitToServe)


def test_a_frame_that_is_set_has_to_hold_the_longest_text_however_it_is_escaped() -> None:
    assert read({"CHAT_MAX_FRAME": 62_048, "CHAT_MAX_MESSAGE": 10_000}).sockets.max_frame == 62_048
    with pytest.raises(SettingError, match=r"^CHAT_MAX_FRAME: 62047 bytes .* leave it out, or set 62048 or more"):
        read({"CHAT_MAX_FRAME": 62_047, "CHAT_MAX_MESSAGE": 10_000})


@pytest.mark.parametrize(("text", "frame"), [(1, 65_536), (10_581, 65_536), (10_582, 65_540), (1 << 20, (6 << 20) + 2048)])
def test_a_frame_that_is_not_set_grows_with_the_longest_text(text: int, frame: int) -> None:
    assert read({"CHAT_MAX_MESSAGE": text}).sockets.max_frame == frame
    assert load({}, {}, "instance", max_message=text).sockets.max_frame == frame


def test_several_workers_without_a_redis_are_refused_saying_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_REDIS_URL", raising=False)

    with pytest.raises(SettingError, match=r"^CHAT_WORKERS: 4 workers want a Redis or Valkey .*; set CHAT_REDIS_URL"):
        redis_url(read(CHAT_WORKERS="4"))


def test_the_redis_that_the_master_runs_is_found_even_where_the_application_was_loaded_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = read(CHAT_WORKERS="4")
    monkeypatch.setenv("CHAT_REDIS_URL", "unix:///run/valkey")

    assert redis_url(settings) == "unix:///run/valkey"
    assert redis_url(read(CHAT_REDIS_URL="redis://a")) == "redis://a"


def test_a_secret_is_never_quoted() -> None:
    with pytest.raises(SettingError) as caught:
        read({"CHAT_SECRET_KEY": b"hunter2"})

    assert "hunter2" not in str(caught.value)


# Names that are none


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_unknown_name_is_warned_about_with_the_one_that_was_meant(caplog: pytest.LogCaptureFixture) -> None:
    read(CHAT_MESSAGE_RATES="5")

    assert warnings(caplog) == ["CHAT_MESSAGE_RATES is no setting and is ignored; did you mean CHAT_MESSAGE_RATE?"]


def test_an_unknown_name_in_app_config_is_warned_about_too(caplog: pytest.LogCaptureFixture) -> None:
    read({"CHAT_ORIGIN": "https://a.example"})

    assert warnings(caplog) == ["CHAT_ORIGIN is no setting and is ignored; did you mean CHAT_ORIGINS?"]


def test_a_name_that_is_like_no_other_is_warned_about_without_a_guess(caplog: pytest.LogCaptureFixture) -> None:
    read(CHAT_QQQQQQQQQQQQQQQQQQ="1")

    assert warnings(caplog) == ["CHAT_QQQQQQQQQQQQQQQQQQ is no setting and is ignored"]


def test_a_warning_never_quotes_what_was_set(caplog: pytest.LogCaptureFixture) -> None:
    read(CHAT_SECRET="hunter2")

    assert warnings(caplog) == ["CHAT_SECRET is no setting and is ignored; did you mean CHAT_SECRET_KEY?"]


def test_names_of_others_and_the_known_ones_are_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    read({"SECRET_KEY": "x", "DEBUG": True}, PATH="/bin", CHATTY="1", CHAT_WORKERS="1")

    assert warnings(caplog) == []


# The secret key


def at(folder: Path, **environ: str) -> Settings:
    return load({}, environ, str(folder))


def test_the_key_that_is_set_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert secret_key(at(tmp_path / "instance", CHAT_SECRET_KEY="mine")) == "mine"
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    settings = at(tmp_path / "not" / "there" / "yet")

    first = secret_key(settings)

    assert len(bytes.fromhex(first)) == 32
    assert secret_key(settings) == first
    assert [path.name for path in settings.instance.iterdir()] == ["secret_key"]


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert secret_key(at(tmp_path / "a")) != secret_key(at(tmp_path / "b"))


def test_nobody_else_can_read_the_key_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret_key(at(tmp_path))
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def _tell_key(folder: str, all_ready: Barrier, answer: Connection) -> None:
    all_ready.wait(10)
    answer.send(secret_key(load({}, {}, folder)))


def test_processes_that_start_together_get_the_same_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    pipes = [context.Pipe(duplex=False) for _ in range(3)]
    processes = [context.Process(target=_tell_key, args=(str(tmp_path), barrier, answer)) for _, answer in pipes]
    for process in processes:
        process.start()

    keys = {question.recv() if question.poll(15) else "nothing came" for question, _ in pipes}
    for process in processes:
        process.join(10)

    assert keys == {(tmp_path / "secret_key").read_text()}
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_what_a_process_left_that_was_killed_while_it_made_a_key_is_in_nobodys_way(tmp_path: Path) -> None:
    # In a container every process has the same small process id.
    (tmp_path / f"secret_key.{os.getpid()}").write_text("half")

    assert len(bytes.fromhex(secret_key(at(tmp_path)))) == 32


def test_a_key_file_may_have_been_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("by hand\n")

    assert secret_key(at(tmp_path)) == "by hand"


def test_a_key_file_may_hold_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_bytes(b"\xff\xfe\x01key")

    assert secret_key(at(tmp_path)).endswith("key")


def test_an_empty_key_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("\n")

    with pytest.raises(SettingError) as caught:
        secret_key(at(tmp_path))

    assert str(caught.value) == (
        f"CHAT_SECRET_KEY: not set, and {tmp_path}/secret_key is empty; delete that file, or set the key"
    )


def test_a_folder_that_cannot_be_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingError) as caught:
        secret_key(at(tmp_path / "file" / "instance"))

    assert str(caught.value) == (
        f"CHAT_SECRET_KEY: not set, and {tmp_path}/file/instance/secret_key cannot be used (Not a directory); set it"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(SettingError) as caught:
        secret_key(at(tmp_path))

    assert str(caught.value) == (
        f"CHAT_SECRET_KEY: not set, and {tmp_path}/secret_key cannot be used (Permission denied); set it"
    )


# What people read


def test_all_settings_are_listed_where_running_is_explained() -> None:
    text = (DOCS / "running.md").read_text()

    assert [name for name in known() if f"`{name}`" not in text] == []


def test_a_conf_of_the_core_has_its_own_default_for_users_with_many_tabs() -> None:
    assert (ServerConf().duplicate_user, read().conf.duplicate_user) == ("reject", "share")
