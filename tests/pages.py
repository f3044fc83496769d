"""Pages of docs/ that say by which tests they are held: tables whose last column has node ids, as pytest knows them."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tables(page: Path) -> dict[str, list[list[str]]]:
    """Heading -> the rows of the table below it, cell by cell, without its head; only headings that have one."""
    found: dict[str, list[list[str]]] = {}
    for section in re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, *lines = section.splitlines()
        table = [line for line in lines if line.startswith("|")]
        if table:
            found[heading] = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]
    return found


def nodes(cell: str) -> list[str]:
    """The node ids in one cell."""
    return re.findall(r"`([^`]+)`", cell)


def is_written(node: str) -> bool:
    """Whether there is a test, or a class of them, of that id; a parametrised one stands for all its cases."""
    path, *names = node.split("::")
    body = _parsed(ROOT / path)
    for name in names:
        found = [item for item in body if isinstance(item, ast.FunctionDef | ast.ClassDef) and item.name == name]
        if not found:
            return False
        body = found[-1].body
    return bool(names)


@cache
def _parsed(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else []
