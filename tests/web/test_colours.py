"""Colours that meet keep the contrast that WCAG 2.2 asks for: 4.5 for text, 3 for what is no text but must be seen."""

import colorsys
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "web" / "static"
BASE = (STATIC / "base.css").read_text()
HUES = [int(hue) for hue in re.findall(r"--hue: (\d+)", (STATIC / "page.css").read_text())]

LIGHT, DARK = BASE.split("@media (prefers-color-scheme: dark)")
SCHEMES = {
    "light": dict(re.findall(r"--([a-z-]+): ([^;]+);", LIGHT)),
    "dark": dict(re.findall(r"--([a-z-]+): ([^;]+);", LIGHT + DARK)),
}

# What is written on what; all of it is small text.
TEXTS = {
    "paper": ["ink", "muted", "accent", "accent-deep", "error"],
    "panel": ["ink", "muted", "accent", "error"],
    "hover": ["ink", "muted", "accent-deep"],
    "soft": ["ink", "muted", "accent", "accent-deep"],
    "error-soft": ["ink", "error", "accent", "muted"],
    "warn-soft": ["ink", "accent"],
    "accent": ["on-accent"],
    "accent-deep": ["on-accent"],
    "error": ["paper"],
}
# What is drawn on what: borders of fields and buttons, dots, the outline of the focus.
SHAPES = {
    "paper": ["edge", "accent", "good", "error", "warn"],
    "panel": ["edge", "accent", "warn"],
    "soft": ["warn"],
    "warn-soft": ["warn"],
    "error-soft": ["error", "edge", "accent"],
}


def rgb(colour: str) -> tuple[float, ...]:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    return tuple(int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4))


def hsl(hue: int, saturation: int, lightness: str) -> tuple[float, ...]:
    return colorsys.hls_to_rgb(hue / 360, int(lightness.removesuffix("%")) / 100, saturation / 100)


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG 2.2, relative luminance."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def too_faint(scheme: str, pairs: dict[str, list[str]], least: float) -> dict[str, float]:
    colours = SCHEMES[scheme]
    found = {
        f"{front} on {back}": contrast(rgb(colours[front]), rgb(colours[back]))
        for back, fronts in pairs.items()
        for front in fronts
    }
    return {pair: round(ratio, 2) for pair, ratio in found.items() if ratio < least}


def test_contrast_is_reckoned_as_wcag_does() -> None:
    assert contrast(rgb("#000"), rgb("#fff")) == pytest.approx(21)
    assert contrast(rgb("#777777"), rgb("#fff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read(scheme: str) -> None:
    assert too_faint(scheme, TEXTS, 4.5) == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_shapes_can_be_seen(scheme: str) -> None:
    assert too_faint(scheme, SHAPES, 3.0) == {}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("hue", HUES)
def test_initials_can_be_read(scheme: str, hue: int) -> None:
    colours = SCHEMES[scheme]

    assert contrast(hsl(hue, 40, colours["avatar-light"]), hsl(hue, 55, colours["avatar-ink"])) >= 4.5


def test_every_colour_of_the_tokens_is_checked() -> None:
    colours = {name for name, value in SCHEMES["light"].items() if value.startswith("#")}
    checked = {name for pairs in (TEXTS, SHAPES) for back, fronts in pairs.items() for name in (back, *fronts)}

    assert colours - checked == {"line"}, "nothing depends on seeing a line"
