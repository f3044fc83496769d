"""Pictures of the pages for the documentation: `make screenshots` writes docs/img/{state}-{width}-{scheme}.png.

Made by the functions that bring the accessibility tests into the same states.  They do not change with the date, for the
clocks and calendars on the page are set by hand; but Chromium smooths a corner now this way, now that.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.live.browser import start_browser
from tests.live.servers import TOP
from tests.live.states import DRAWERS, STATES, State, site_with_team, stage

FOLDER: Final = TOP / "docs" / "img"
SIZES: Final = ((360, 740), (768, 1024), (1440, 900))
PHONE: Final = 360
COLOURS: Final = 128  # of which text with its smoothed edges, in the colours of one page, needs most
MOST: Final = 4_000_000  # bytes, all pictures together

SET_CLOCKS: Final = """() => {
  const shown = (selector) => [...document.querySelectorAll(selector)].filter((each) => each.checkVisibility());
  shown("time").forEach((time, number) => time.textContent = `09:${String(12 + number).padStart(2, "0")}`);
  shown(".rule:not(.new) span").forEach((day) => day.textContent = "Monday 2 March");
  const countdown = document.getElementById("countdown");
  if (countdown?.textContent) countdown.textContent = "in 8 s";
}"""


def main() -> None:
    """Make all pictures, and remove those that are not made any more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with start_browser() as browser:
        made = {path for size in SIZES for scheme in ("light", "dark") for path in _make_all(browser, *size, scheme)}
    for path in set(FOLDER.glob("*.png")) - made:
        path.unlink()
    weight = sum(path.stat().st_size for path in made)
    print(f"{len(made)} pictures in {FOLDER}, {weight / 1e6:.1f} MB")
    if weight > MOST:
        raise SystemExit(f"that is more than {MOST / 1e6:g} MB: make COLOURS smaller, or show fewer states")


def _make_all(browser: Browser, width: int, height: int, scheme: str) -> Iterator[Path]:
    """All states in one look, on a site of their own."""
    with TemporaryDirectory() as folder, site_with_team(Path(folder)) as team:
        for state in _shown(width):
            with stage(browser, team, width=width, height=height, scheme=scheme) as on:
                state.bring(on)
                path = FOLDER / f"{state.name}-{width}-{scheme}.png"
                path.write_bytes(_picture(on.page))
            yield path


def _shown(width: int) -> list[State]:
    return [state for state in (*STATES, *(DRAWERS if width <= PHONE else ())) if state.in_gallery]


def _picture(page: Page) -> bytes:
    page.evaluate(SET_CLOCKS)
    image = Image.open(BytesIO(page.screenshot(animations="disabled", caret="hide")))
    small = BytesIO()
    image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    main()
