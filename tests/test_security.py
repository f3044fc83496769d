"""docs/security.md: every promise names a test that exists, and OWASP's requirements that it goes through are all there."""

import pytest

from tests.pages import ROOT, is_written, nodes, tables

TABLES = tables(ROOT / "docs" / "security.md")
ASVS = {heading: rows for heading, rows in TABLES.items() if heading.startswith("V")}
PROMISES = {heading: rows for heading, rows in TABLES.items() if heading not in (*ASVS, "Who attacks")}
NODES = sorted({node for rows in TABLES.values() for *_, last in rows for node in nodes(last) if "::" in node})

# ASVS 5.0.0, the sections that are gone through in full: the number of requirements in each.
WHOLE = {"4.4": 4, "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2}


@pytest.mark.parametrize(("heading", "row"), [(heading, row) for heading, rows in PROMISES.items() for row in rows])
def test_a_promise_is_held_by_a_test(heading: str, row: list[str]) -> None:
    assert len(row) == 2
    assert nodes(row[1])


@pytest.mark.parametrize("node", NODES)
def test_a_test_that_is_named_exists(node: str) -> None:
    assert is_written(node)


@pytest.mark.parametrize("row", [row for rows in ASVS.values() for row in rows], ids=lambda row: row[0])
def test_a_requirement_holds_by_a_test_or_it_is_said_why_not(row: list[str]) -> None:
    _, wanted, status, last = row

    assert wanted
    kind, _, why = status.partition(": ")
    assert kind in ("holds", "documented", "does not apply", "falls short")
    assert nodes(last) if kind == "holds" else why


def test_all_requirements_of_the_sections_that_count_are_there_and_none_stands_twice() -> None:
    found = [row[0] for rows in ASVS.values() for row in rows]
    whole = {f"{section}.{number}" for section, count in WHOLE.items() for number in range(1, count + 1)}

    assert whole <= set(found)
    assert len(found) == len(set(found))
