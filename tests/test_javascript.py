"""The client for pages and node: its own tests, run by node; its types; and what npm would publish."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
TESTS = TOP / "tests" / "javascript"


def run(*command: str) -> str:
    """Return what it printed; fail with that, or with what to install."""
    if shutil.which(command[0]) is None:
        pytest.fail(f"no {command[0]} here: apt-get install nodejs npm (20 or newer)", pytrace=False)
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}"[-8000:], pytrace=False)
    return done.stdout


def test_the_client_does_what_its_own_tests_say() -> None:
    files = sorted(str(path) for path in TESTS.glob("*.test.js"))

    printed = run("node", "--test", "--test-reporter=tap", *files)

    assert len(files) >= 5
    assert "\n# skipped 0\n# todo 0\n" in printed


def test_its_types_hold_inside_and_for_who_uses_it() -> None:
    compiler = TOP / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        pytest.fail("no TypeScript here: run npm ci (make test does it)", pytrace=False)

    run("node", str(compiler), "-p", str(TESTS))


def test_npm_publishes_the_client_and_nothing_else() -> None:
    (package,) = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"))

    modules = {str(path.relative_to(TOP)) for path in (TOP / "web" / "static").glob("chat-*")}
    assert (package["name"], package["version"]) == ("flask-gevent-chat", "0.1.0")
    assert {file["path"] for file in package["files"]} == modules | {"package.json", "README.md", "LICENSE"}


def test_what_is_published_can_be_imported_by_its_name() -> None:
    program = "import * as m from 'flask-gevent-chat'; console.log(Object.keys(m).sort().join())"

    assert run("node", "--input-type=module", "-e", program) == "ChatChannel,ChatClient,ChatError\n"


def test_the_lock_of_npm_fits_its_package() -> None:
    package, lock = (json.loads((TOP / name).read_text()) for name in ("package.json", "package-lock.json"))

    root = lock["packages"][""]
    assert root["devDependencies"] == package["devDependencies"]
    assert (root["name"], root["version"]) == (package["name"], package["version"])
    assert all(f"node_modules/{name}" in lock["packages"] for name in package["devDependencies"])
