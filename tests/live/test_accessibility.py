"""axe-core finds nothing to complain about: in every state, on a phone and on a desk, light and dark."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.live.axe import violations
from tests.live.states import DRAWERS, STATES, State, Team, site_with_team, stage

PHONE, DESK = 360, 1280
HEIGHT = 800


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with site_with_team(tmp_path_factory.mktemp("site")) as team:
        yield team


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_nothing_keeps_anybody_out(browser: Browser, team: Team, state: State) -> None:
    assert violations_in(state, browser, team, DESK, PHONE) == []


@pytest.mark.parametrize("state", DRAWERS, ids=lambda state: state.name)
def test_no_open_drawer_keeps_anybody_out(browser: Browser, team: Team, state: State) -> None:
    assert violations_in(state, browser, team, PHONE) == []


def violations_in(state: State, browser: Browser, team: Team, *widths: int) -> list[str]:
    """Whoever turns a phone, or makes a window narrow, sees the same page in another width."""
    found = []
    with stage(browser, team, width=widths[0], height=HEIGHT, scheme="light") as on:
        state.bring(on)
        for width in widths:
            on.page.set_viewport_size({"width": width, "height": HEIGHT})
            for scheme in ("light", "dark"):
                on.page.emulate_media(color_scheme=scheme)
                found += [f"{width}, {scheme}: {sentence}" for sentence in violations(on.page)]
    return found


def test_what_keeps_somebody_out_is_found(browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content("<title>A page</title><main><h1>A page</h1><img src='data:,'><p style='color:#aaa'>faint</main>")

        found = violations(page)

    assert {sentence.split()[0] for sentence in found} >= {"image-alt", "color-contrast", "html-has-lang"}
    assert any(sentence.startswith("image-alt at img: ") for sentence in found)
