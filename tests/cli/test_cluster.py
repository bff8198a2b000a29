import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import xfelred as xf
from xfelred.cli import main

ROOT = Path(__file__).resolve().parents[2]
CALL = "import sys; from xfelred.cli.main import main; main(sys.argv[1:])"
JOB = ["--cores", "4", "--memory", "16GiB", "--interface", "lo"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_job_script_is_on_stdout_and_leaves_nothing(home, capsys):
    pytest.importorskip("dask_jobqueue")
    arguments = [*JOB, "--walltime", "3:00:00", "--queue", "upex"]
    more = ["--prologue", "module load a", "--directive=--exclusive"]
    assert main.run(["cluster", "job-script", *arguments, *more]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#!")
    for line in (
        "#SBATCH -p upex",
        "#SBATCH -t 3:00:00",
        "#SBATCH --mem=16G",
        "#SBATCH --exclusive",
        "module load a",
    ):
        assert line in script.splitlines()
    assert "--tls-key" in script
    assert [p for p in home.rglob("*") if p.is_file()] == []


def test_job_script_without_encryption(home, capsys):
    pytest.importorskip("dask_jobqueue")
    arguments = [*JOB, "--walltime", "60", "--insecure"]
    assert main.run(["cluster", "job-script", *arguments]) == 0
    assert "--tls" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        [],
        [*JOB, "--profile", "unheard-of"],
        [*JOB, "--walltime", "soon"],
        [*JOB, "--walltime", "60", "--workers-per-job", "3"],
        ["--cores", "0", "--memory", "1GB", "--walltime", "60"],
    ],
)
def test_wrong_options_exit_with_2(home, options, capsys):
    assert main.run(["cluster", "job-script", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err


def start(path, *options):
    return subprocess.Popen(
        [sys.executable, "-c", CALL, "cluster", "start", "--workers", "1",
         "--memory-limit", "1GiB", "--scheduler-file", path, "--json", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)],
)
def test_started_cluster_can_be_used_and_stopped(tmp_path, number, capsys):
    path = tmp_path / "cluster.json"
    # Of a cluster that died: it is replaced.
    xf.cluster.write_scheduler_file(path, "tcp://127.0.0.1:1", None)
    with start(path) as process:
        try:
            facts = json.loads(process.stdout.readline())
            assert facts["address"].startswith("tls://127.0.0.1:")
            assert facts["workers"] == 1
            for file in tmp_path.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
            with xf.cluster.connect(path) as client:
                assert client.submit(sum, [1, 2]).result() == 3
            assert main.run(["cluster", "start", "--scheduler-file", str(path)]) == 1
            assert "is running" in capsys.readouterr().err
            # Ctrl-C in a terminal goes to the workers, too.
            if number == signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert process.stderr.read() == ""
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("content", ["my notes", "{}", '{"address": 3}', "[1]"])
def test_a_file_that_is_no_scheduler_file_is_left_alone(tmp_path, content, capsys):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    assert main.run(["cluster", "start", "--scheduler-file", str(path)]) == 1
    assert "is not a scheduler file" in capsys.readouterr().err
    assert path.read_text() == content
