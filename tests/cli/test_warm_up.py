import os
import subprocess
import sys

import pytest

from xfelred.cli import main
from xfelred.cluster import warm_up
from xfelred.errors import ArgumentError


@pytest.mark.slow
def test_a_task_is_compiled_once_for_every_process_to_come(tmp_path):
    code = (
        "import sys, numpy; from xfelred.cluster import warm_up as w;"
        "from xfelred.kernels.reductions.bin_moments import number_of_each as n;"
        "w.TASKS['few'] = lambda place: n(numpy.zeros(3, int), 2);"
        "print([d.compiled for d in w.warm_up(['few'], processes=0)])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.strip()
        for _ in range(2)
    ]  # fmt: skip
    assert found == ["[1]", "[0]"]


@pytest.mark.slow
def test_the_command_says_what_it_did(capsys):
    assert main.run(["warm-up", "--only", "polar", "--processes", "1"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("polar")
    assert "compiled" in first
    assert "kernels compiled in" in last


@pytest.mark.parametrize("name", warm_up.TASKS)
def test_every_task_runs_on_its_own(name):
    (done,) = warm_up.warm_up([name], processes=0)
    assert done.name == name


def test_a_name_that_is_unknown_gets_the_nearest_one():
    with pytest.raises(ArgumentError, match="Did you mean 'polar'"):
        next(warm_up.warm_up(["polr"]))
    assert main.run(["warm-up", "--only", "polr"]) == main.USAGE
