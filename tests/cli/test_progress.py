import io
import re
import sys
import time

import dask.array
import pytest

from xfelred.cli import progress


@pytest.fixture
def work():
    return dask.array.ones((8,), chunks=1).map_blocks(lambda x: time.sleep(0.01) or x)


def test_log_file_gets_lines_and_stdout_nothing(work, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.02)
    with progress.progress("summing"):
        work.compute()
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "summing ..."
    counts = [re.fullmatch(r"summing: (\d+) of (\d+) tasks", s) for s in lines[1:-1]]
    assert counts
    assert all(int(c[1]) <= int(c[2]) for c in counts)
    assert lines[-1].startswith("summing: ")
    assert "\r" not in err


def test_person_gets_a_bar(work, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.progress("summing"):
        work.compute()
    assert "100% Completed" in screen.getvalue()


def test_failure_passes_through(capsys):
    with pytest.raises(ZeroDivisionError), progress.progress("dividing"):
        raise ZeroDivisionError
