"""axe-core finds nothing to complain about: in every state, on a phone and on a desk, light and dark."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.live.axe import violations
from tests.live.states import DRAWERS, STATES, State, Team, site_with_team, stage

PHONE = [(360, "light"), (360, "dark")]
DESK = [(1280, "light"), (1280, "dark")]


def name_of(look: tuple[int, str]) -> str:
    return "{}-{}".format(*look)


in_every_look = pytest.mark.parametrize("look", PHONE + DESK, ids=name_of, scope="module")
on_a_phone = pytest.mark.parametrize("look", PHONE, ids=name_of, scope="module")


@pytest.fixture(scope="module")
def team(look: tuple[int, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A site for each look, so that no state has been there before."""
    with site_with_team(tmp_path_factory.mktemp("site")) as team:
        yield team


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
@in_every_look
def test_nothing_keeps_anybody_out(browser: Browser, team: Team, look: tuple[int, str], state: State) -> None:
    assert violations_in(state, browser, team, look) == []


@pytest.mark.parametrize("state", DRAWERS, ids=lambda state: state.name)
@on_a_phone
def test_no_open_drawer_keeps_anybody_out(browser: Browser, team: Team, look: tuple[int, str], state: State) -> None:
    assert violations_in(state, browser, team, look) == []


def violations_in(state: State, browser: Browser, team: Team, look: tuple[int, str]) -> list[str]:
    width, scheme = look
    with stage(browser, team, width=width, height=800, scheme=scheme) as on:
        state.bring(on)
        return violations(on.page)


def test_what_keeps_somebody_out_is_found(browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content("<title>A page</title><main><h1>A page</h1><img src='data:,'><p style='color:#aaa'>faint</main>")

        found = violations(page)

    assert {sentence.split()[0] for sentence in found} >= {"image-alt", "color-contrast", "html-has-lang"}
    assert any(sentence.startswith("image-alt at img: ") for sentence in found)
