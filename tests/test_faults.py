"""Killed workers, broken files and full disks: the right numbers or one clear error."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import errors, geometry, ops
from xfelred.errors import OutputError, WorkersLostError
from xfelred.synth.euxfel import write_run

ROOT = Path(__file__).resolve().parents[1]
LARGE = "distributed.admin.large-graph-warning-threshold"
FAILURES = "distributed.scheduler.allowed-failures"


def here(lazy):
    with dask.config.set(scheduler="threads"):
        return lazy.compute()


def bytes_of(dataset):
    return {name: array.values.tobytes() for name, array in dataset.variables.items()}


def stop_at(n, marker, seconds=60):
    """A function of one frame block that waits, in the nth call, to be killed."""

    def slow(block, block_info=None):
        index = block_info[0]["chunk-location"][0] if block_info else -1
        if index == n and not os.path.exists(marker):
            with open(marker, "w") as file:
                file.write(str(os.getpid()))
                file.flush()
            time.sleep(seconds)
        return block

    return slow


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)
    return path.read_text()


# Workers that share nothing with this process


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """Two workers started by a command, elsewhere, that know nothing of us yet."""
    place = tmp_path_factory.mktemp("elsewhere")
    certificate = xf.cluster.new_certificate(place)
    environment = {k: v for k, v in os.environ.items() if "PYTEST" not in k}
    environment["PYTHONPATH"] = str(ROOT)
    tls = [f"--tls-{name}={certificate}" for name in ("ca-file", "cert", "key")]
    with (
        open(place / "worker.log", "w") as log,
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tls://", host="127.0.0.1",
            security=xf.cluster.from_certificate(certificate), dashboard_address=":0",
        ) as cluster,
    ):  # fmt: skip
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker",
                 cluster.scheduler_address, "--nthreads=1", "--no-dashboard",
                 "--no-nanny", "--host=127.0.0.1", f"--local-directory={place}", *tls],
                cwd=place, env=environment, stdout=log, stderr=log,
            )
            for _ in range(2)
        ]  # fmt: skip
        try:
            path = place / "scheduler.json"
            address = cluster.scheduler_address
            xf.cluster.write_scheduler_file(path, address, certificate)
            with xf.cluster.connect(path) as made:
                made.wait_for_workers(2, timeout=60)
                yield made
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


@pytest.fixture(scope="module")
def located(agipd_run):
    frames = xf.open_run(agipd_run.directory).frames(
        chunk_size="1MiB", bad_pixels="apply"
    )
    panels = geometry.Geometry.from_quad_positions(
        "AGIPD1M",
        [(-525, 625), (-550, -10), (520, -160), (542.5, 475)],
        distance=0.2,
        energy=9300,
    )
    return geometry.locate(frames, panels)


@pytest.mark.slow
def test_remote_workers_start_with_next_to_nothing_of_the_package(remote):
    def loaded():
        # All but what tells the versions comes with the first task.
        return "xfelred.lazy" in sys.modules, os.getcwd()

    found = [*remote.run(loaded).values()]
    assert {cwd for _, cwd in found} != {os.getcwd()}
    assert [known for known, _ in found] == [False, False]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*corrected already:UserWarning")
@pytest.mark.parametrize(
    "operation",
    [
        lambda da: da.isel(pulse=0).drop_attrs().to_dataset(name="frames"),
        lambda da: ops.statistics(da, "train"),
        lambda da: ops.statistics(da, ("train", "pulse"), which=("mean", "count")),
        lambda da: ops.integrate_azimuthally(da, 30),
        lambda da: ops.dark_statistics(da, by=None),
    ],
    ids=["frames", "statistics", "all frames", "azimuthal", "dark"],
)
def test_remote_workers_give_the_same_bytes(remote, located, operation):
    lazy = operation(located)
    # Coordinates of every pixel, once: xarray makes them part of the result.
    with dask.config.set({LARGE: "100MB"}):
        there = remote.compute(lazy).result(timeout=60)
    assert bytes_of(there) == bytes_of(here(lazy))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".zarr", ".nxs"])
def test_remote_workers_write_the_same_values(remote, located, suffix, tmp_path):
    lazy = ops.statistics(located, "train")
    with remote.as_current():
        path = xf.write(lazy, tmp_path / f"a{suffix}")
    if suffix == ".zarr":
        found = xr.open_zarr(path).compute()
    else:
        found = xr.open_dataset(path, group="entry/data", engine="h5netcdf").load()
        found.close()
    expected = here(lazy)
    for name in lazy.data_vars:
        np.testing.assert_array_equal(found[name], expected[name])


# Graphs stay small


def sent(collection):
    """Pickled bytes, and number of tasks, of what goes to the scheduler."""
    graph = dask.optimize(collection)[0].__dask_graph__()
    return len(pickle.dumps(graph)), len(dict(graph))


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """Frames of 8 modules and 24 trains, and the same with half the trains."""
    made = write_run(
        tmp_path_factory.mktemp("long"), modules=range(4), n_trains=24, pulses=(0, 4),
        image_only=True, xgm=False, motors=False,
    )  # fmt: skip
    return xf.open_run(made.directory)


def static_bad_pixels(da):
    bad = np.random.default_rng(0).random(da.shape[2:]) > 0.9
    return ops.apply_bad_pixels(da, xr.DataArray(bad, dims=da.dims[2:]))


@pytest.mark.parametrize("operation", [lambda da: da, static_bad_pixels])
def test_constants_are_not_sent_with_every_block(long_run, operation):
    def sent(size):
        """Pickled bytes, and number of blocks, of what goes to the scheduler."""
        da = operation(long_run.frames(chunk_size=size, modules=[0], bad_pixels=None))
        graph = dask.optimize(da.data)[0].__dask_graph__()
        return len(pickle.dumps(graph)), da.data.npartitions

    few_bytes, few = sent("4MiB")
    many_bytes, many = sent("512KiB")
    assert many - few > 10
    # The mask alone has 65536.
    assert (many_bytes - few_bytes) / (many - few) < 600


@pytest.mark.parametrize(
    "operation",
    [
        lambda da: ops.statistics(da, "train")["mean"],
        lambda da: ops.integrate_azimuthally(da, 20)["intensity"],
    ],
    ids=["statistics", "azimuthal"],
)
def test_reductions_send_their_constants_once(long_run, operation):
    panels = geometry.Geometry.flat(
        (512, 128), centre=(10, 10), distance=0.2, pixel_size=2e-4, energy=9300
    )

    def sent(n_trains):
        da = long_run.frames(chunk_size="512KiB", modules=[0])[:n_trains]
        lazy = operation(geometry.locate(da, panels))
        return len(pickle.dumps(dask.optimize(lazy.data)[0].__dask_graph__()))

    # Four times the blocks; the table of pixels and bins alone has 131072 bytes.
    assert sent(24) - sent(6) < 20_000


# Workers die


@pytest.mark.slow
def test_killed_worker_does_not_change_the_result(long_run, tmp_path):
    frames = long_run.frames(chunk_size="1MiB")
    marker = tmp_path / "working"
    slow = frames.copy(
        data=frames.data.map_blocks(stop_at(3, str(marker)), meta=frames.data._meta)
    )
    lazy = ops.statistics(slow, "train", which=("mean", "std", "count"))
    config = {"distributed.comm.timeouts.connect": "3s"}
    with xf.cluster.local(2, memory_limit="2GiB", config=config) as client:
        future = client.compute(lazy)
        os.kill(int(wait_for(marker)), signal.SIGKILL)
        there = future.result(timeout=60)
    assert bytes_of(there) == bytes_of(here(lazy))


@pytest.mark.slow
def test_worker_out_of_memory_is_one_clear_error(long_run, tmp_path):
    frames = long_run.frames(chunk_size="8MiB")

    def greedy(block):
        held = []
        while block.size:
            held.append(np.ones(2**24))
            time.sleep(0.02)
        return block

    lazy = frames.copy(
        data=frames.data.map_blocks(greedy, dtype="f4", meta=frames.data._meta)
    )
    config = {FAILURES: 0}
    with (
        xf.cluster.local(1, memory_limit="700MiB", config=config),
        pytest.raises(WorkersLostError) as caught,
    ):
        xf.write(lazy, tmp_path / "a.zarr")
    message = str(caught.value)
    for word in ("a.zarr", "1 times", "0.7 GiB", "memory_limit", "chunk_size"):
        assert word in message
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_lost_cluster_is_one_clear_error(long_run, tmp_path):
    frames = long_run.frames(chunk_size="1MiB")
    marker = tmp_path / "working"
    slow = frames.copy(
        data=frames.data.map_blocks(stop_at(0, str(marker), 3), meta=frames.data._meta)
    )
    with xf.cluster.local(1, memory_limit="2GiB") as client:
        timer = threading.Thread(
            target=lambda: (wait_for(marker), client.cluster.close())
        )
        timer.start()
        with pytest.raises(WorkersLostError, match="scheduler of the cluster is gone"):
            xf.write(slow, tmp_path / "a.zarr")
        timer.join()
    marker.unlink()
    assert [*tmp_path.iterdir()] == []


# Files break while they are read


def break_file(path, how):
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "replaced":
        other = path.with_suffix(".new")
        other.write_bytes(b"\0" * path.stat().st_size)
        other.replace(path)
    else:
        os.truncate(path, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "workers"),
    [
        *((how, "threads") for how in ("deleted", "truncated", "replaced", "emptied")),
        ("deleted", "processes"),
        *(
            pytest.param(how, "processes", marks=pytest.mark.nightly)
            for how in ("truncated", "replaced", "emptied")
        ),
    ],
)
def test_file_that_breaks_half_way_is_one_error_with_its_name(
    agipd_run, tmp_path, how, workers, request
):
    directory = tmp_path / "run"
    shutil.copytree(agipd_run.directory, directory)
    frames = xf.open_run(directory).frames(chunk_size="512KiB", bad_pixels=None)
    # The module that comes last; the first blocks, of module 0, have been read.
    path = min(directory.glob("*AGIPD15*.h5"))
    started, go = tmp_path / "started", tmp_path / "go"

    def hold(block, block_info=None):
        if block_info:
            started.write_text("x")
            end = time.monotonic() + 60
            while not go.exists() and time.monotonic() < end:
                time.sleep(0.02)
        return block

    def breaking():
        wait_for(started)
        break_file(path, how)
        go.write_text("x")

    # Each worker can read one block before the file breaks, and there is a third.
    assert frames.data.numblocks[0] > 2
    held = frames.copy(data=frames.data.map_blocks(hold, meta=frames.data._meta))
    thread = threading.Thread(target=breaking)
    thread.start()
    if workers == "processes":
        scheduler = request.getfixturevalue("remote").as_current()
    else:
        scheduler = dask.config.set(scheduler="threads", num_workers=2)
    with scheduler, pytest.raises(errors.BrokenFileError) as caught:
        held.compute()
    thread.join()
    assert path.name in str(caught.value)
    assert "AGIPD" in str(caught.value)


@pytest.mark.slow
def test_every_error_of_ours_travels_between_processes():
    found = [errors.XfelredError]
    for kind in found:
        found.extend(kind.__subclasses__())
    assert len(found) > 12
    assert {OutputError, WorkersLostError, xf.cluster.ClusterError} <= {*found}
    for kind in found:
        sent = kind("r0034: no 'AGIPD1M-9'")
        back = pickle.loads(pickle.dumps(sent))
        assert type(back) is kind
        assert str(back) == str(sent) == "r0034: no 'AGIPD1M-9'"
    full = OutputError(28, "cannot write a.h5")
    back = pickle.loads(pickle.dumps(full))
    assert (back.errno, str(back)) == (28, str(full))
