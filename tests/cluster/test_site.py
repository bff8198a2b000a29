"""What dask's configuration says about jobs reaches them."""

import json
import re
import socket

import dask
import pytest

import xfelred as xf
from xfelred.cli import main
from xfelred.errors import ConfigError

pytest.importorskip("dask_jobqueue")
WAIT = "distributed.adaptive.wait-count"
SITE = {
    "cores": 8,
    "memory": "16GB",
    "processes": 4,
    "walltime": "1:00:00",
    "queue": "upex",
    "account": "p1",
    "interface": "lo",
    "job-extra-directives": ["--reservation=beamtime", "--constraint=EPYC"],
    "job-script-prologue": ["module load exfel"],
    "worker-extra-args": ["--resources", "gpu=1"],
    "scheduler-options": {"port": 0},
    "job-mem": "17G",
}


@pytest.fixture
def script(tmp_path):
    def made(**options):
        with xf.cluster.slurm(certificates=tmp_path / "keys", **options) as client:
            return client.cluster.job_script()

    return made


def site(**changes):
    return dask.config.set({f"jobqueue.slurm.{k}": v for k, v in changes.items()})


def test_all_that_a_site_says_is_in_the_job(script):
    with site(**SITE):
        text = script()
    for words in (
        "#SBATCH --reservation=beamtime", "#SBATCH --constraint=EPYC",
        "#SBATCH -p upex", "#SBATCH -A p1", "#SBATCH -t 1:00:00", "#SBATCH --mem=17G",
        "#SBATCH --cpus-per-task=8", "\nmodule load exfel\n", "--resources gpu=1",
        "--nworkers 4", "--interface lo", "--lifetime ",
    ):  # fmt: skip
        assert words in text


def test_what_is_given_is_added_or_wins(script):
    with site(**SITE):
        text = script(
            queue="short", walltime="30", workers_per_job=2, reservation="other day",
            prologue=["hostname"], directives=["--exclusive"], python="/opt/python",
        )  # fmt: skip
    lines = text.splitlines()
    assert "#SBATCH -p short" in lines
    assert "#SBATCH -t 30" in lines
    assert "--nworkers 2" in text
    assert lines.index("module load exfel") < lines.index("hostname")
    # Of options that come twice SLURM takes the last.
    first, last = (
        lines.index(f"#SBATCH --reservation={name}")
        for name in ("beamtime", "'other day'")
    )
    assert first < last
    assert "#SBATCH --exclusive" in lines
    assert "/opt/python -m " in text


def test_a_worker_that_a_site_ends_is_not_given_a_second_end(script):
    own = {"worker-extra-args": ["--lifetime", "40m", "--dashboard-address", ":0"]}
    with site(**{**SITE, **own}):
        text = script()
    assert re.findall(r"--lifetime \S+", text) == ["--lifetime 40m"]
    assert "127.0.0.1:0" not in text


def test_a_profile_wins_over_the_section_of_slurm(script):
    with (
        site(**SITE),
        dask.config.set({"jobqueue.big": {"memory": "64GB", "cores": 4}}),
    ):
        text = script(profile="big")
        assert "upex" in text
        assert "#SBATCH --cpus-per-task=4" in text
        assert "--memory-limit 14.90GiB" in text
        assert xf.cluster.profiles()["big"]["memory"] == "64GB"
        assert "pbs" not in xf.cluster.profiles()
        with pytest.raises(ConfigError, match="Did you mean 'big'"):
            script(profile="bigg")


@pytest.mark.filterwarnings("error")
def test_old_names_of_settings_count_and_unknown_ones_are_told(script):
    old = {"job-extra": ["--exclusive"], "env_extra": ["module load old"]}
    with dask.config.set({"jobqueue.old": {**old, "project": "p2"}}), site(**SITE):
        text = script(profile="old")
    assert "#SBATCH --exclusive" in text
    assert "module load old" in text
    assert "#SBATCH -A p2" in text
    with (
        dask.config.set({"jobqueue.typo": {"memmory": "1GB"}}),
        site(**SITE),
        pytest.warns(UserWarning, match="typo of dask's .* sets memmory"),
    ):
        script(profile="typo")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"jobqueue.slurm": "big"}, "must be a mapping of settings"),
        ({"jobqueue.slurm.scheduler-options": 5}, "scheduler-options .* a mapping"),
        ({"jobqueue.slurm.cores": "many"}, "cores='many' must be a whole number"),
        ({"jobqueue.slurm.memory": None}, "give memory, or set jobqueue.slurm.memory"),
    ],
)
def test_settings_that_make_no_sense_are_errors(script, setting, words):
    with site(**SITE), dask.config.set(setting), pytest.raises(ValueError, match=words):
        script()


def test_port_and_network_of_the_scheduler_can_be_fixed(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"scheduler_interface": "lo", "scheduler_port": port}
    with site(**SITE), xf.cluster.slurm(certificates=tmp_path, **given) as client:
        assert client.scheduler.address == f"tls://127.0.0.1:{port}"
    with (
        pytest.raises(ValueError, match="scheduler_port=70000 is no port"),
        site(**SITE),
    ):
        xf.cluster.slurm(certificates=tmp_path, scheduler_port=70000)


def test_settings_of_adapting_reach_the_cluster(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(
        "dask_jobqueue.slurm.SLURMCluster.adapt",
        lambda self, **limits: seen.append((dask.config.get(WAIT), limits)),
    )
    given = {"maximum": 3, "config": {WAIT: 17}}
    with site(**SITE), xf.cluster.slurm(certificates=tmp_path, **given):
        pass
    assert seen == [(17, {"minimum_jobs": 0, "maximum_jobs": 3})]
    assert dask.config.get(WAIT) != 17


def test_the_command_shows_what_there_is(capsys):
    with site(**SITE), dask.config.set({"jobqueue.big": {"memory": "64GB"}}):
        assert main.run(["cluster", "profiles", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["profiles"]["big"]["memory"] == "64GB"
        assert found["profiles"]["slurm"]["queue"] == "upex"
        assert main.run(["cluster", "profiles"]) == 0
        assert "--reservation=beamtime --constraint=EPYC" in capsys.readouterr().out
        assert main.run(["cluster", "job-script", "--profile", "big"]) == 0
        assert "--mem=17G" in capsys.readouterr().out
