"""The picture of a run: one SVG of what was measured, for the README and the docs.

Drawn by hand, because a library to draw bars would be the largest thing that the benchmark needs.  An SVG in an <img> knows
whether its reader has dark colours, but nothing of the page around it, so it brings a ground of its own.  All text is
large, because a phone shows it at less than half its size.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from statistics import median
from typing import Final

Samples = Sequence[Mapping[str, object]]

NAMES: Final[Mapping[str, str]] = {
    "ours-plain": "ours, plain text",
    "ours-v1": "ours, chat.v1",
    "ours-fast": "ours, fast handshake",
    "parked": "our first prototype",
    "ceiling": "C, the technique alone",
    "socketify": "socketify (C++)",
    "ws": "ws (Node)",
    "websockets": "websockets (uvloop)",
    "flask-socketio": "Flask-SocketIO",
}
MARKERS: Final = ("parked", "ceiling")
"""They mark how far the technique goes, and are no servers to choose from."""

# The page's own tokens (web/static/base.css): tests/web/test_colours.py reckons their contrast.  Grey against one hue
# differs in lightness too, and everything has its name beside it.
LIGHT: Final = {
    "paper": "#fff",
    "ink": "#1b211f",
    "muted": "#56615c",
    "accent": "#0a6a58",
    "edge": "#77827c",
    "line": "#dbe0da",
}
DARK: Final = {
    "paper": "#151918",
    "ink": "#e4e9e7",
    "muted": "#a2ada8",
    "accent": "#6fd0bb",
    "edge": "#7d8984",
    "line": "#2d3532",
}

# In units of the picture, which is 900 wide.
WIDTH: Final = 900.0
MARGIN: Final = 28.0
GAP: Final = 36.0
LETTER: Final = 11.0
DIGIT: Final = 12.6
"""How wide those are, bold, in DejaVu Sans, the widest of the usual system fonts."""
ROW: Final = 38.0
HEAD: Final = 66.0
PLOT: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A part of the picture, drawn from its own upper left corner."""

    marks: str
    height: float
    told: str
    """The same in words, for who cannot see it."""


def draw(samples: Samples) -> str:
    """Draw what there are samples of, as the text of an SVG; figures are medians over the rounds.

    Each sample has wsload's figures and "scenario", "server", "n", "size", "senders" and "window".  What is lost or was
    disturbed the caller leaves out.
    """
    half = (WIDTH - 2 * MARGIN - GAP) / 2
    rows = [
        [delivered(samples, WIDTH - 2 * MARGIN)],
        [growth(samples, WIDTH - 2 * MARGIN)],
        [latency(samples, half), memory(samples, half)],
    ]
    marks: list[str] = []
    told: list[str] = []
    top = MARGIN
    for row in rows:
        panels = [panel for panel in row if panel]
        for place, panel in enumerate(panels):
            marks.append(f'<g transform="translate({MARGIN + place * (half + GAP):g} {top:g})">{panel.marks}</g>')
            told.append(panel.told)
        if panels:
            top += max(panel.height for panel in panels) + GAP
    if not told:
        return _picture(_text(MARGIN, 50, nothing := "Nothing was measured.", "note"), nothing, 80)
    return _picture("\n".join(marks), " ".join(told), top - GAP + MARGIN)


def delivered(samples: Samples, width: float) -> Panel | None:
    """Bars: what each server delivers to 1,000 members."""
    found = medians(samples, "delivered_s", scenario="fanout", n=1000, senders=4, window=8, size=64)
    note = "to 1,000 members; 4 senders with 8 in flight, 64 bytes; one core"
    return bars("Messages delivered a second", note, _ordered(found, most_first=True), width)


def latency(samples: Samples, width: float) -> Panel | None:
    """Bars: how long a message takes to all but the slowest hundredth of 1,000 members."""
    found = medians(samples, "p99_ms", scenario="latency", n=1000)
    note = "20 messages a second to 1,000"
    return bars("Latency, 99th percentile", note, _ordered(found), width, unit=" ms")


def memory(samples: Samples, width: float) -> Panel | None:
    """Bars: what a member costs that only listens."""
    found = medians(samples, "rss_per_conn_kb", scenario="memory", n=10_000)
    return bars("Memory per connection", "10,000 of them, at rest", _ordered(found), width, unit=" KiB")


def growth(samples: Samples, width: float) -> Panel | None:
    """Lines: what is delivered as the room grows, both axes by powers of ten."""
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for n in sorted({n for sample in samples if isinstance(n := sample.get("n"), int)}):
        for server, value in medians(samples, "delivered_s", scenario="fanout", n=n, senders=4, window=8, size=64).items():
            lines[server].append((n, value))
    lines = {server: points for server, points in lines.items() if len(points) > 1 and server not in MARKERS}
    if not lines:
        return None
    title, note = "As the room grows", "messages delivered a second, by members"
    told = "; ".join(
        f"{name(server)} {', '.join(f'{rounded(value)} to {n:,}' for n, value in points)}"
        for server, points in lines.items()
    )
    return Panel(marks=_head(title, note) + _plot(lines, width), height=HEAD + PLOT + 44, told=f"{title}, {note}: {told}.")


def medians(samples: Samples, figure: str, **like: object) -> dict[str, float]:
    """Return each server's median of `figure` over those samples which have it, above nothing, and are `like` that."""
    rounds: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        value = sample.get(figure)
        if isinstance(value, int | float) and value > 0 and all(sample.get(key) == wanted for key, wanted in like.items()):
            rounds[str(sample.get("server"))].append(value)
    return {server: median(values) for server, values in rounds.items()}


def bars(title: str, note: str, values: Sequence[tuple[str, float]], width: float, unit: str = "") -> Panel | None:
    """Draw one bar a server, from nothing, so that their lengths are as their values are."""
    if not values:
        return None
    texts = [rounded(value) + unit for _, value in values]
    start = LETTER * max(len(name(server)) for server, _ in values) + 8
    room = width - start - DIGIT * max(map(len, texts)) - 10
    scale = room / max(value for _, value in values)
    marks = [_head(title, note)]
    for row, ((server, value), text) in enumerate(zip(values, texts, strict=True)):
        y, end, look = HEAD + row * ROW, start + max(value * scale, 2), kind(server)
        marks += [
            _text(start - 10, y + 20, name(server), f"{look} end"),
            f'<rect class="{look}" x="{start:g}" y="{y:g}" width="{end - start:.1f}" height="27" rx="3"/>',
            _text(end + 10, y + 20, text, look),
        ]
    told = "; ".join(f"{name(server)} {text}" for (server, _), text in zip(values, texts, strict=True))
    return Panel(marks="".join(marks), height=HEAD + ROW * len(values), told=f"{title}, {note}: {told}.")


def name(server: str) -> str:
    """What the picture calls it."""
    return NAMES.get(server, server)


def kind(server: str) -> str:
    """How it is drawn: the class of its marks."""
    return "ours" if server.startswith("ours-") else "marker" if server in MARKERS else "peer"


def rounded(value: float) -> str:
    """Write three digits of it, as many as a figure here is good for; below 100 one behind the point."""
    return f"{round(value, 2 - floor(log10(value))):,.0f}" if value >= 100 else f"{value:.1f}"


def apart(heights: Sequence[float], gap: float, lowest: float) -> list[float]:
    """Move labels, given from the top down, so that they are `gap` apart and none is below `lowest`."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap if i + 1 < len(placed) else lowest)
    return placed


def _ordered(values: Mapping[str, float], *, most_first: bool = False) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: item[1], reverse=most_first)


def _plot(lines: Mapping[str, Sequence[tuple[int, float]]], width: float) -> str:
    every = [point for points in lines.values() for point in points]
    first, last = min(n for n, _ in every), max(n for n, _ in every)
    low = floor(log10(min(value for _, value in every)))
    high = max(ceil(log10(max(value for _, value in every))), low + 1)
    bottom = HEAD + PLOT + 10
    left = DIGIT * len(f"{10**high:,}")
    right = width - LETTER * max(len(name(server)) for server in lines) - 20

    def across(n: float) -> float:
        return left + 14 + (right - left - 28) * log10(n / first) / log10(last / first)

    def down(value: float) -> float:
        return bottom - PLOT * (log10(value) - low) / (high - low)

    marks = []
    for power in range(low, high + 1):
        y = down(10**power)
        marks += [
            f'<path class="grid" d="M{left:g} {y:g}H{right:g}"/>',
            _text(left - 10, y + 6, f"{10**power:,}", "note end"),
        ]
    marks += [_text(across(n), bottom + 28, f"{n:,}", "note middle") for n in sorted({n for n, _ in every})]

    ordered = sorted(lines, key=lambda server: down(lines[server][-1][1]))
    labels = apart([down(lines[server][-1][1]) for server in ordered], 25, bottom)
    for server, label in sorted(zip(ordered, labels, strict=True), key=lambda item: kind(item[0]) == "ours"):  # on top
        look = kind(server)
        points = [(across(n), down(value)) for n, value in lines[server]]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        marks += [
            f'<path class="leader" d="M{points[-1][0]:.1f} {points[-1][1]:.1f}L{right:g} {label:.1f}H{right + 14:g}"/>',
            f'<path class="curve {look} {escape(server)}" d="M{path}"/>',
            *(f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>' for x, y in points),
            _text(right + 20, label + 6, name(server), look),
        ]
    return "".join(marks)


def _head(title: str, note: str) -> str:
    return _text(0, 20, title, "title") + _text(0, 48, note, "note")


def _text(x: float, y: float, words: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _tokens(colours: Mapping[str, str]) -> str:
    return "svg{" + "".join(f"--{key}:{value};" for key, value in colours.items()) + "}"


def _picture(marks: str, told: str, height: float) -> str:
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:g}" height="{height:g}"
viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-labelledby="title desc">
<title id="title">What the benchmark measured</title>
<desc id="desc">{escape(told)}</desc>
<style>
{_tokens(LIGHT)}
@media (prefers-color-scheme: dark) {{ {_tokens(DARK)} }}
text {{ font: 20px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); }}
text.title {{ font-size: 25px; font-weight: 700; }}
text.note {{ font-size: 19px; fill: var(--muted); }}
text.ours {{ fill: var(--accent); font-weight: 700; }}
text.marker {{ fill: var(--muted); }}
.end {{ text-anchor: end; }}
.middle {{ text-anchor: middle; }}
.ours {{ fill: var(--accent); }}
.peer {{ fill: var(--edge); }}
text.peer {{ fill: var(--ink); }}
rect.marker {{ fill: none; stroke: var(--edge); stroke-width: 1.5; stroke-dasharray: 5 3; }}
.curve, .grid, .leader {{ fill: none; }}
.curve {{ stroke: var(--edge); stroke-width: 3; }}
.curve.ours {{ stroke: var(--accent); stroke-width: 4.5; }}
.curve.ours-v1 {{ stroke-dasharray: 10 4; }}
.grid {{ stroke: var(--line); }}
.leader {{ stroke: var(--edge); stroke-dasharray: 2 4; }}
</style>
<rect width="100%" height="100%" rx="14" style="fill: var(--paper)"/>
{marks}
</svg>
"""
