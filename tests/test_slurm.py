"""Jobs of a real SLURM: `.ci/slurm` starts one on this machine and runs this file."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest

import xfelred as xf
from xfelred import ops, synth

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="no SLURM here"),
]
ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # for a job to start, on a busy machine
# A worker that ends in the middle of the work, and the directives of a site.
SITE = {
    "jobqueue.short": {
        "queue": "debug",
        "job-extra-directives": ["--constraint=EPYC"],
        "job-script-prologue": ["export OF_THE_SITE=1"],
        "worker-extra-args": ["--lifetime", "25s"],
    }
}


def squeue(form):
    command = ["squeue", "-h", "-t", "R,PD", "-n", "xfelred", "-o", form]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


@pytest.fixture
def slurm(tmp_path):
    def start(jobs, **options):
        size = {"cores": 1, "memory": "2GB", "walltime": "10"}
        return xf.cluster.slurm(
            jobs, **size, interface="lo", certificates=tmp_path / "keys",
            prologue=[f"export PYTHONPATH={ROOT}", "export OMP_NUM_THREADS=1"],
            log_directory=tmp_path / "logs", **options,
        )  # fmt: skip

    yield start
    for _ in range(SECONDS):
        if not squeue("%i"):
            return
        time.sleep(1)
    raise AssertionError(f"jobs are left: {squeue('%i')}")


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "300001.h5"
    synth.sacla.write_run(path, shape=(64, 64), n_images=40, n_darks=2)
    return xf.open_run(path).frames()


def doubled(block):
    return block * 2


def slow(block):
    time.sleep(1)
    return doubled(block)


def means(frames, function):
    """Many computations, each much shorter than the life of a worker."""
    each = (frames.isel(train=slice(i, i + 1)) for i in range(frames.sizes["train"]))
    return [
        ops.statistics(ops.map_frames(f, function), ["train", "pulse"])["mean"]
        for f in each
    ]


def test_jobs_cancelled_and_ended_leave_the_results(frames, slurm):
    expected = [mean.compute() for mean in means(frames, doubled)]
    with dask.config.set(SITE), slurm(2, profile="short") as client:
        client.wait_for_workers(1, timeout=SECONDS)
        assert set(squeue("%f")) == {"EPYC"}
        assert set(client.run(os.getenv, "OF_THE_SITE").values()) == {"1"}
        first = set(squeue("%i"))
        pending = client.compute(means(frames, slow))
        subprocess.run(["scancel", min(first)], check=True)
        distributed.wait(pending, timeout=4 * SECONDS)
        found = client.gather(pending)
        assert set(squeue("%i")) - first, "jobs that followed those that ended"
    for mean, values in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mean, values, strict=True)
