"""Fixtures for all tests: shared inputs, a guard against computing, small runs."""

import contextlib
from pathlib import Path

import dask
import pytest

from xfelred.synth.euxfel import write_run

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """Path of the folder with specifications and golden files beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED.name} beside the checkout")
    return SHARED


@contextlib.contextmanager
def forbid_compute():
    def refuse(*args, **kwargs):
        raise AssertionError("something was computed while building a graph")

    with dask.config.set(scheduler=refuse):
        yield


@pytest.fixture
def no_compute():
    """``with no_compute():`` any dask computation in the block is an error."""
    return forbid_compute


# The runs below are shared by all tests of a session: read them, never change them.


@pytest.fixture(scope="session")
def agipd_run(tmp_path_factory):
    """Corrected AGIPD-1M: 4 modules, 5 trains in 2 files, 3 pulses, bad pixels."""
    return write_run(
        tmp_path_factory.mktemp("agipd"),
        modules=(0, 3, 7, 15),
        n_trains=5,
        pulses=(0, 4, 8),
        sequences=3,
        bad_pixels=0.01,
        pump=0.3,
    )


@pytest.fixture(scope="session")
def ragged_run(tmp_path_factory):
    """Corrected AGIPD-1M, 5 trains of 0 to 5 pulses, module 3 with holes.

    The files of the modules break at different trains. Module 3 has count 0 in train
    10001 and no row for train 10003.
    """
    return write_run(
        tmp_path_factory.mktemp("ragged"),
        modules=(0, 3, 15),
        n_trains=5,
        pulses=[[0, 2, 4], [0, 2, 4, 10, 12], [], [2, 10], [0, 2, 4, 10]],
        missing={(3, 10001)},
        absent={(3, 10003)},
        sequences={0: 2, 3: [1], 15: 4},
        tail_rows=1,
        padding=4,
    )


@pytest.fixture(scope="session")
def agipd_raw_run(tmp_path_factory):
    """Raw AGIPD-1M: 2 modules, 2 trains, 3 pulses, signal and gain."""
    return write_run(
        tmp_path_factory.mktemp("agipd_raw"),
        corrected=False,
        modules=(0, 5),
        n_trains=2,
        pulses=(0, 4, 8),
    )


@pytest.fixture(scope="session")
def lpd_parallel_run(tmp_path_factory):
    """Raw LPD-1M with parallel gain: 2 modules, 3 trains, 2 pulses."""
    return write_run(
        tmp_path_factory.mktemp("lpd"),
        kind="LPD1M",
        corrected=False,
        parallel_gain=True,
        modules=(0, 9),
        n_trains=3,
        pulses=(0, 8),
    )


@pytest.fixture(scope="session")
def dssc_run(tmp_path_factory):
    """Raw DSSC-1M: 2 modules, 3 trains in 2 files, 4 pulses."""
    return write_run(
        tmp_path_factory.mktemp("dssc"),
        kind="DSSC1M",
        corrected=False,
        modules=(1, 14),
        n_trains=3,
        pulses=4,
        sequences=2,
    )


@pytest.fixture(scope="session")
def jungfrau_run(tmp_path_factory):
    """Corrected JUNGFRAU: modules 1, 2 and 4, 3 trains, 2 memory cells."""
    return write_run(
        tmp_path_factory.mktemp("jungfrau"),
        kind="JUNGFRAU",
        modules=(1, 2, 4),
        n_trains=3,
        pulses=2,
        missing={(2, 10001)},
    )
