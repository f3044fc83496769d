"""What a User-Agent says to a person: a browser and a system, where both are well known."""

from typing import Final

# In this order, because each claims to be those that come after it.
BROWSERS: Final = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser/": "Samsung Internet",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "CriOS/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS: Final = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "CrOS": "ChromeOS",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}
MAX_LENGTH: Final = 60  # characters of an agent that is none of these


def describe(agent: str) -> str:
    """Return a few words such as `Firefox on Linux`; the beginning of `agent` where it is of no known kind."""
    browser = _first(BROWSERS, agent)
    system = _first(SYSTEMS, agent)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or agent[:MAX_LENGTH] or "Unknown device"


def _first(names: dict[str, str], agent: str) -> str:
    return next((name for mark, name in names.items() if mark in agent), "")
