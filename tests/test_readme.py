"""The README: its commands are those of continuous integration, and its code runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CI = (ROOT / ".ci" / "run").read_text()
TRY = (
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/xfelred demo"
)  # fmt: skip
TEST = (
    "python3 -m venv .venv-test && .venv-test/bin/pip install -e '.[test]'"
    " && .venv-test/bin/python -m pytest"
)


def test_both_commands_stand_in_the_readme():
    lines = README.splitlines()
    assert TRY in lines
    assert TEST in lines


def test_continuous_integration_runs_the_same_commands():
    commands = [line.removesuffix(" || exit 1") for line in CI.splitlines()]
    assert TRY in commands
    assert TEST in commands
    assert "set -euo pipefail" in commands


def test_continuous_integration_is_a_valid_executable_script():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


@pytest.mark.slow
def test_code_of_the_readme_runs(tmp_path):
    """One session: each block continues the one before."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    assert "xf.open_run" in code
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
