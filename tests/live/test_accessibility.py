"""axe-core finds nothing to complain about: in every state, on a phone and on a desk, light and dark."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.live.axe import violations
from tests.live.states import DRAWERS, STATES, State, Team, site_with_team, stage

PHONE, DESK = 360, 1280


@pytest.fixture(scope="module")
def team(width: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A site for each width, so that no state has been there before."""
    with site_with_team(tmp_path_factory.mktemp("site")) as team:
        yield team


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
@pytest.mark.parametrize("width", [PHONE, DESK], scope="module")
def test_nothing_keeps_anybody_out(browser: Browser, team: Team, width: int, state: State) -> None:
    assert violations_in(state, browser, team, width) == []


@pytest.mark.parametrize("state", DRAWERS, ids=lambda state: state.name)
@pytest.mark.parametrize("width", [PHONE], scope="module")
def test_no_open_drawer_keeps_anybody_out(browser: Browser, team: Team, width: int, state: State) -> None:
    assert violations_in(state, browser, team, width) == []


def violations_in(state: State, browser: Browser, team: Team, width: int) -> list[str]:
    found = []
    with stage(browser, team, width=width, height=800, scheme="light") as on:
        state.bring(on)
        for scheme in ("light", "dark"):
            on.page.emulate_media(color_scheme=scheme)
            found += [f"{scheme}: {sentence}" for sentence in violations(on.page)]
    return found


def test_what_keeps_somebody_out_is_found(browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content("<title>A page</title><main><h1>A page</h1><img src='data:,'><p style='color:#aaa'>faint</main>")

        found = violations(page)

    assert {sentence.split()[0] for sentence in found} >= {"image-alt", "color-contrast", "html-has-lang"}
    assert any(sentence.startswith("image-alt at img: ") for sentence in found)
