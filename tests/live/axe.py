"""axe-core in a page: what it finds wrong, in sentences."""

from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

from tests.live.servers import TOP

SOURCE: Final = TOP / "node_modules" / "axe-core" / "axe.min.js"

# All of WCAG 2.x at A and AA, and what axe's authors advise beyond it.  No tag "wcag22a": axe has no rule for one.
TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

# Only what it finds wrong is wanted whole.
RUN: Final = """async (tags) => {
  const { passes, violations } = await axe.run({ runOnly: tags, resultTypes: ["violations"] });
  const found = violations.flatMap(({ id, help, nodes }) => nodes.map((node) => {
    const why = [...node.any, ...node.all, ...node.none].map(({ message }) => message);
    return { id, help, why, where: node.target.flat().join(" ") };
  }));
  return { passed: passes.length, found };
}"""


def violations(page: Page) -> list[str]:
    """Return a sentence for each element that breaks a rule: the rule, where, and why.

    Injected as the debugger does it, which the page's policy does not concern.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_source(SOURCE))
    result: dict[str, Any] = page.evaluate(RUN, list(TAGS))
    assert result["passed"], "axe has looked at nothing"
    return [_sentence(**each) for each in result["found"]]


def _source(path: Path) -> str:
    if not path.exists():
        pytest.fail(
            "no axe-core here: install npm (apt-get install npm), and run npm ci (make test does it)", pytrace=False
        )
    return path.read_text()


def _sentence(*, id: str, help: str, why: list[str], where: str) -> str:
    return f"{id} at {where}: {'; '.join(why) or help}"
