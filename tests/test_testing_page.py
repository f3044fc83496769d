"""What docs/testing.md shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.live.servers import TOP


def test_the_examples_pass(tmp_path: Path) -> None:
    plugins, *examples = re.findall(r"```python\n(.*?)```", (TOP / "docs" / "testing.md").read_text(), re.DOTALL)
    (tmp_path / "conftest.py").write_text(plugins)
    for number, example in enumerate(examples):
        (tmp_path / f"test_{number}.py").write_text(example)

    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(TOP)}, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr  # what is left behind fails after the tests have passed
    assert f"{len(examples)} passed" in done.stdout
