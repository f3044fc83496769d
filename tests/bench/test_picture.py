"""The picture: that it shows what was measured, rightly named, and stands whatever is missing."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.picture import DARK, LIGHT, NAMES, apart, draw, rounded

SVG = "{http://www.w3.org/2000/svg}"
BASE = Path(__file__).parents[2] / "web" / "static" / "base.css"

Sample = dict[str, object]


def fanout(server: str, delivered: float, n: int = 1000) -> Sample:
    shape = {"scenario": "fanout", "mode": "fanout", "n": n, "size": 64, "senders": 4, "window": 8}
    return {"server": server, "round": 1, **shape, "delivered_s": delivered}


def latency(server: str, p99: float) -> Sample:
    return {"server": server, "scenario": "latency", "n": 1000, "p99_ms": p99}


def memory(server: str, kib: float) -> Sample:
    return {"server": server, "scenario": "memory", "n": 10_000, "rss_per_conn_kb": kib}


EVERYTHING = [
    *(fanout(server, 1000.0 * (place + 1)) for place, server in enumerate(NAMES)),
    *(fanout(server, 700.0 * n, n) for server in ("ours-plain", "ours-v1", "ws") for n in (10, 100, 10_000)),
    latency("ours-plain", 9.24),
    latency("ws", 17.36),
    memory("ours-plain", 2.91),
    memory("ws", 8.06),
]


def words(*samples: Sample) -> list[str]:
    """All texts that are to be seen, in the order in which they are drawn."""
    return [text.text or "" for text in ElementTree.fromstring(draw(samples)).iter(f"{SVG}text")]


def told(*samples: Sample) -> str:
    return ElementTree.fromstring(draw(samples)).findtext(f"{SVG}desc") or ""


def test_each_server_is_named_beside_its_figure() -> None:
    seen = words(*EVERYTHING)

    for place, name in enumerate(NAMES.values()):
        assert seen[seen.index(name) + 1] == f"{1000 * (place + 1):,}"
    assert [seen[seen.index(text) - 1] for text in ("9.2 ms", "17.4 ms")] == [NAMES["ours-plain"], NAMES["ws"]]
    assert [seen[seen.index(text) - 1] for text in ("2.9 KiB", "8.1 KiB")] == [NAMES["ours-plain"], NAMES["ws"]]


def test_who_cannot_see_it_is_told_the_same() -> None:
    said = told(*EVERYTHING)

    assert f"{NAMES['ws']} {1000 * (list(NAMES).index('ws') + 1):,}" in said
    assert f"{NAMES['ws']} 7,000 to 10, 70,000 to 100" in said
    assert f"{NAMES['ours-plain']} 9.2 ms" in said
    assert f"{NAMES['ours-plain']} 2.9 KiB" in said


def test_a_figure_is_the_median_over_the_rounds() -> None:
    seen = words(*(fanout("ws", delivered) for delivered in (100_000.0, 120_000.0, 900_000.0)))

    assert seen[-1] == "120,000"


def test_bars_are_as_long_as_what_they_show_from_nothing_on_the_most_first() -> None:
    root = ElementTree.fromstring(draw([fanout("ws", 1000.0), fanout("socketify", 4000.0)]))
    longer, shorter = (float(bar.get("width", "")) for bar in root.iter(f"{SVG}rect") if bar.get("class") == "peer")

    assert longer == pytest.approx(4 * shorter, rel=0.01)


def test_only_the_one_load_is_compared() -> None:
    others: list[Sample] = [{"size": 4096}, {"senders": 1, "window": 1}, {"scenario": "channels"}]
    seen = words(fanout("ws", 5000.0), *({**fanout("ws", 70_000.0), **other} for other in others))

    assert seen[-1] == "5,000"


def test_lines_have_a_point_for_each_number_of_members_higher_for_more() -> None:
    root = ElementTree.fromstring(draw([fanout("ws", 10.0 * n, n) for n in (10, 100, 10_000)]))
    points = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in root.iter(f"{SVG}circle")]

    (x1, y1), (x2, y2), (x3, y3) = points
    assert x3 - x2 == pytest.approx(2 * (x2 - x1), rel=0.01)
    assert y2 - y3 == pytest.approx(2 * (y1 - y2), rel=0.01)
    assert y2 < y1


def test_equal_figures_at_every_size_are_a_flat_line() -> None:
    root = ElementTree.fromstring(draw([fanout("ws", 1000.0, n) for n in (10, 100)]))

    assert len({dot.get("cy") for dot in root.iter(f"{SVG}circle")}) == 1


@pytest.mark.parametrize("missing", ["server", "scenario", "n", "size", "senders", "window", "delivered_s", "p99_ms"])
def test_a_sample_without_one_of_its_fields_does_no_harm(missing: str) -> None:
    poorer = [{key: value for key, value in sample.items() if key != missing} for sample in EVERYTHING]

    assert ElementTree.fromstring(draw(poorer)).tag == f"{SVG}svg"


@pytest.mark.parametrize("sample", EVERYTHING, ids=lambda sample: f"{sample['server']}-{sample['scenario']}-{sample['n']}")
def test_one_sample_alone_can_be_drawn(sample: Sample) -> None:
    assert ElementTree.fromstring(draw([sample])).tag == f"{SVG}svg"


def test_what_has_no_samples_is_left_out() -> None:
    assert "Latency, 99th percentile" not in words(fanout("ws", 1.0))
    assert "Messages delivered a second" not in words(latency("ws", 1.0))
    assert words() == ["Nothing was measured."]


def test_what_could_not_be_measured_is_left_out() -> None:
    assert words(latency("ws", -1.0), memory("ws", 0.0)) == ["Nothing was measured."]


def test_an_unknown_server_goes_by_its_own_name() -> None:
    assert words(fanout("<a & b>", 1.0))[-2:] == ["<a & b>", "1.0"]


def test_nothing_is_drawn_outside_of_it() -> None:
    root = ElementTree.fromstring(draw(EVERYTHING))
    height = float(root.get("height", ""))

    for group in root.iter(f"{SVG}g"):
        left, top = map(float, re.findall(r"[\d.]+", group.get("transform", "")))
        for mark in group.iter(f"{SVG}rect"):
            assert left + float(mark.get("x", "")) + float(mark.get("width", "")) < 900
        assert all(0 < top + float(text.get("y", "")) < height for text in group.iter(f"{SVG}text"))


def test_labels_keep_apart_and_above_the_lowest_place() -> None:
    assert apart([10.0, 12.0, 50.0], 20.0, 100.0) == [10.0, 30.0, 50.0]
    assert apart([80.0, 90.0, 95.0], 20.0, 100.0) == [60.0, 80.0, 100.0]


@pytest.mark.parametrize(
    ("value", "text"), [(4_567_890.0, "4,570,000"), (106.4, "106"), (999.9, "1,000"), (3.14159, "3.1")]
)
def test_three_digits_are_written(value: float, text: str) -> None:
    assert rounded(value) == text


def test_its_colours_are_those_of_the_page() -> None:
    light, dark = BASE.read_text().split("@media (prefers-color-scheme: dark)")

    for colours, sheet in ((LIGHT, light), (DARK, dark)):
        page = dict(re.findall(r"--([a-z]+): ([^;]+);", sheet))
        assert colours == {key: page[key] for key in colours}
