"""Cubes written block by block: killed, resumed, on any scheduler, the same bits."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import synth
from xfelred.errors import (
    ConfigError,
    InconsistentDataError,
    OutputError,
    OutputExistsError,
    SelectionEmptyError,
)
from xfelred.recipes import cube_blocks, cube_state
from xfelred.recipes import write_cube as module
from xfelred.recipes.manifest import read_manifest
from xfelred.synth.lcls import write_smalldata

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAME = "cube_xpptest01_Run0047_delay"
N_EVENTS = 120
write_cube = module.write_cube


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=N_EVENTS, shape=(2, 6, 8), n_banks=2)
    return path


@pytest.fixture
def run(source):
    return xf.open_run(source)


def recipe(block_trains=20, **more):
    return {
        "schema_version": 1,
        "kind": "cube",
        "bins": {"delay": {"start": -3, "stop": 5, "step": 1}},
        "filters": {"filter1": ["lightStatus/xray == 1"]},
        "variables": ["ipm2/sum", "ipm2/channels"],
        "detectors": {"jungfrau1M": {"key": "calib"}},
        "quantities": ["sum", "count", "mean", "var", "sem"],
        "execution": {"block_trains": block_trains},
        "output": {"formats": ["zarr"], "report": False},
        **more,
    }


def opened(path):
    return xr.open_zarr(path, consolidated=False).load()


def same_bits(one, two):
    assert set(one.variables) == set(two.variables)
    for name, array in one.variables.items():
        assert array.dtype == two[name].dtype, name
        assert array.values.tobytes() == two[name].values.tobytes(), name


@pytest.fixture(scope="module")
def plain(source, tmp_path_factory):
    """The cube of the usual recipe, made in one go."""
    run = xf.open_run(source)
    return opened(write_cube(run, recipe(), tmp_path_factory.mktemp("plain")).paths[0])


def close(one, two):
    assert set(one.variables) == set(two.variables)
    for name, array in one.variables.items():
        assert array.dims == two[name].dims, name
        assert array.dtype == two[name].dtype, name
        np.testing.assert_allclose(
            array.values, two[name].values, rtol=1e-12, atol=1e-12, err_msg=name
        )
        assert array.attrs == two[name].attrs, name


# -- the numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("laser", "block_trains"),
    [
        ("split", 1),
        ("all", 7),
        ("split", 10_000),
        pytest.param("all", 1, marks=pytest.mark.nightly),
        pytest.param("split", 7, marks=pytest.mark.nightly),
        pytest.param("all", 10_000, marks=pytest.mark.nightly),
    ],
)
def test_equals_the_lazy_cube(run, tmp_path, block_trains, laser):
    if block_trains == 1:
        run = run.select_trains(slice(0, 15))
    r = recipe(block_trains, laser=laser)
    result = write_cube(run, r, tmp_path)
    cube = opened(result.paths[0])
    close(cube, xf.make_cube(run, r).compute())
    assert result.blocks == -(-len(run.train_ids) // block_trains)
    assert (result.computed, result.reused) == (result.blocks, 0)


def test_equals_plain_numpy(run, plain):
    frames = run.frames("jungfrau1M", "calib").values[:, 0]
    n_good = ~run.constants("jungfrau1M").bad_pixels.values
    ds = run.scalars(["lightStatus/xray", "damage/jungfrau1M"])
    delay = xf.ops.delay(run).values
    good = (ds["lightStatus/xray"] == 1).values & (ds["damage/jungfrau1M"] > 0.5).values
    for k, (low, high) in enumerate(zip(range(-3, 5), range(-2, 6), strict=True)):
        mine = frames[good & (delay >= low) & (delay < high)].astype(float)
        got = plain.isel(delay=k)
        assert got.n_shots == got.jungfrau1M_shots == len(mine)
        np.testing.assert_array_equal(got.jungfrau1M_count, n_good * len(mine))
        if len(mine):
            np.testing.assert_allclose(got.jungfrau1M_sum, mine.sum(0), rtol=1e-12)
            np.testing.assert_allclose(got.jungfrau1M_mean, mine.mean(0), rtol=1e-12)
            np.testing.assert_allclose(got.jungfrau1M_var, mine.var(0), rtol=1e-9)
        if len(mine) > 1:
            sem = mine.std(0, ddof=1) / np.sqrt(len(mine))
            np.testing.assert_allclose(got.jungfrau1M_sem, sem, rtol=1e-9)
        else:
            assert np.isnan(got.jungfrau1M_sem).all()


@pytest.mark.filterwarnings("ignore:frames of .*no value for")
@pytest.mark.parametrize("skipna", [True, False])
@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_missing_pixels_and_integers(run, tmp_path, skipna, kind):
    r = np.random.default_rng(5)
    n = len(run.train_ids)
    values = r.integers(0, 40_000, (n, 2, 3, 4)).astype(kind)
    if kind is np.float32:
        values[r.random(values.shape) < 0.05] = np.nan
        values[:, 1, 2, 3] = np.nan
    frames = xr.DataArray(
        values, dims=("train", "module", "slow_scan", "fast_scan"),
        coords={"train": run.train_ids, "module": [3, 5]},
    )[10:]  # fmt: skip
    more = {"detectors": {"jungfrau1M": {"skipna": skipna, "bad_pixels": "keep"}}}
    given = {"frames": {"jungfrau1M": frames}}
    cube = opened(write_cube(run, recipe(**more), tmp_path, **given).paths[0])
    close(cube, xf.make_cube(run, recipe(**more), **given).compute())
    assert cube.jungfrau1M_sum.dtype == (np.float64 if kind is np.float32 else np.int64)


def test_first_shots_of_every_bin_across_blocks(run, tmp_path):
    more = {"detectors": {"jungfrau1M": {"max_shots_per_bin": 4}}}
    cube = opened(write_cube(run, recipe(7, **more), tmp_path).paths[0])
    close(cube, xf.make_cube(run, recipe(7, **more)).compute())
    assert cube.jungfrau1M_shots.max() == 4


@pytest.mark.filterwarnings("ignore:frames of .*no value for")
def test_several_axes_two_detectors_and_images(run, tmp_path):
    bins = {"delay": {"edges": [-3, 0, 2, 5]}, "ipm2/sum": {"n": 2, "range": [0, 9000]}}
    other = run.frames("jungfrau1M", "calib")[:60, 0, 0].drop_vars("module")
    more = {
        "bins": bins,
        "detectors": {"jungfrau1M": {"image": True}, "other": {"skipna": True}},
        "output": {"formats": ["h5", "netcdf", "tiff"], "report": False},
    }
    given = {"frames": {"other": other}}
    result = write_cube(run, recipe(**more), tmp_path, **given)
    assert [p.name for p in result.paths] == [
        "cube_xpptest01_Run0047_delay-ipm2__sum.h5",
        "cube_xpptest01_Run0047_delay-ipm2__sum.nc",
        "Run_47_jungfrau1M_filter_filter1.tiff",
        "Run_47_other_filter_filter1.tiff",
    ]
    expected = xf.make_cube(run, recipe(**more), **given).compute()
    with xr.open_dataset(result.paths[1]) as cube:
        for name in ("jungfrau1M_sum", "other_mean", "other_count", "ipm2__sum_sum"):
            np.testing.assert_allclose(cube[name], expected[name], rtol=1e-12)
    import tifffile

    image = tifffile.imread(result.paths[3])
    bins = ["delay", "ipm2__sum"]  # every shot has the same weight
    mean = expected.other_sum.sum(bins) / expected.other_count.sum(bins)
    np.testing.assert_allclose(image, mean, rtol=1e-12)


def test_run_without_a_scan_is_one_bin(run, tmp_path):
    (path,) = write_cube(run, recipe(bins={}), tmp_path).paths
    assert path.name == "cube_xpptest01_Run0047_all.zarr"
    cube = opened(path)
    assert cube.sizes["all"] == 1
    close(cube, xf.make_cube(run, recipe(bins={})).compute())


def test_recipe_without_detectors(run, tmp_path):
    (path,) = write_cube(run, recipe(detectors={}), tmp_path).paths
    close(opened(path), xf.make_cube(run, recipe(detectors={})).compute())


def test_one_shot(run, tmp_path):
    one = run.select_trains(slice(3, 4))
    r = recipe(delay={"nominal": "scan/lxt"})  # one value does not vary
    result = write_cube(one, r, tmp_path)
    assert result.blocks == 1
    close(opened(result.paths[0]), xf.make_cube(one, r).compute())


@pytest.mark.filterwarnings("ignore:frames of .*no value for")
def test_blocks_without_taken_shots_read_nothing(run, tmp_path, monkeypatch):
    seen = []
    original = cube_blocks.statistics_of

    def watched(part):
        found = original(part)
        seen.append((len(part.bins), bool(found)))
        return found

    monkeypatch.setattr(cube_blocks, "statistics_of", watched)
    limited = {"jungfrau1M": run.frames("jungfrau1M", "calib")[35:38]}
    r = recipe(10)
    result = write_cube(run, r, tmp_path, frames=limited)
    assert [n for n, some in seen if some] != []
    assert sum(some for _, some in seen) == 1
    close(opened(result.paths[0]), xf.make_cube(run, r, frames=limited).compute())


# A block has 10 frames of 384 bytes.
@pytest.mark.parametrize(
    ("most", "expected"), [(1 << 30, [0, 12]), (12_000, [0, 4, 8, 12])]
)
def test_many_bins_are_summed_over_several_blocks(
    run, plain, tmp_path, monkeypatch, most, expected
):
    monkeypatch.setattr(cube_blocks, "SMALL_SUMS", 0)
    monkeypatch.setattr(cube_blocks, "MOST_FRAMES", most)
    steps = []
    result = write_cube(
        run, recipe(10), tmp_path, report=lambda done, n: steps.append(done)
    )
    assert result.blocks == 12
    assert steps == expected
    close(opened(result.paths[0]), plain)


def test_sums_on_disk_are_put_together_when_there_are_many(run, tmp_path, monkeypatch):
    plain = opened(write_cube(run, recipe(5), tmp_path / "a").paths[0])
    monkeypatch.setattr(module, "limit_of", lambda _: 1)
    merged = []
    original = cube_state.merge

    def watched(place, names, blocks):
        merged.append(len(blocks))
        path = original(place, names, blocks)
        assert cube_state.saved(place) == [path]
        return path

    monkeypatch.setattr(cube_state, "merge", watched)
    result = write_cube(run, recipe(5), tmp_path / "b")
    assert len(merged) > 5
    same_bits(opened(result.paths[0]), plain)


# -- schedulers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["synchronous", pytest.param("processes", marks=pytest.mark.nightly)]
)
def test_every_scheduler_gives_the_same_bits(run, tmp_path, name):
    # Processes are started, and import all, for every two blocks or so.
    two = recipe(60)
    threads = write_cube(run, two, tmp_path / "threads", scheduler="threads")
    other = write_cube(run, two, tmp_path / name, scheduler=name)
    same_bits(opened(threads.paths[0]), opened(other.paths[0]))


def test_distributed_workers_give_the_same_bits_and_keep_their_sums(
    run, plain, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "limit_of", lambda _: 1)
    came, results_of = [], module.results_of

    @contextmanager
    def watched(*args):
        with results_of(*args) as found:
            yield ((came.append(some), some)[1] for some in found)

    monkeypatch.setattr(module, "results_of", watched)
    with xf.cluster.local(1):
        result = write_cube(run, recipe(), tmp_path / "workers")
        same_bits(opened(result.paths[0]), plain)
        interrupted(run, tmp_path / "stopped", 2)
        again = write_cube(run, recipe(), tmp_path / "stopped")
    assert again.reused >= 2
    same_bits(opened(again.paths[0]), plain)
    # A mark for each group, no sums.
    assert sum(value.nbytes for some in came for _, value in some) <= len(came)


def test_groups_that_end_out_of_order_give_the_same_bits(run, tmp_path, monkeypatch):
    plain = write_cube(run, recipe(5), tmp_path / "plain")
    merged, merge = [], cube_state.merge

    @contextmanager
    def turned(groups, at_once):
        # Of every three groups the last is done first.
        def found():
            while some := list(islice(groups, 3)):
                for ((ids, lazy),) in reversed(some):
                    yield [(ids, lazy.compute())]

        yield found()

    def watched(place, names, blocks):
        merged.append(len(blocks))
        return merge(place, names, blocks)

    monkeypatch.setattr(module, "results_of", turned)
    monkeypatch.setattr(module, "limit_of", lambda _: 1)
    monkeypatch.setattr(cube_state, "merge", watched)
    interrupted(run, tmp_path / "stopped", 8, recipe(5))
    result = write_cube(run, recipe(5), tmp_path / "stopped")
    assert result.reused == 8
    assert len(merged) > 3
    same_bits(opened(result.paths[0]), opened(plain.paths[0]))


# -- going on ------------------------------------------------------------------------


class StoppedError(Exception):
    """What interrupts a call."""


def interrupted(run, out, after, r=None, **options):
    """Stop a call when some blocks are done."""

    def stop(done, _):
        if done >= after:
            raise StoppedError

    with pytest.raises(StoppedError):
        write_cube(run, r or recipe(), out, report=stop, **options)


def test_done_blocks_are_not_read_again(run, plain, tmp_path, monkeypatch):
    interrupted(run, tmp_path, 4)
    seen = []
    original = module.sums_of

    def watched(groups, detectors):
        seen.extend(b.id for g in groups for b in g)
        return original(groups, detectors)

    monkeypatch.setattr(module, "sums_of", watched)
    result = write_cube(run, recipe(), tmp_path)
    assert seen == [4, 5]
    assert (result.blocks, result.computed, result.reused) == (6, 2, 4)
    same_bits(opened(result.paths[0]), plain)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [f"{NAME}.zarr"]
    content = json.loads((tmp_path / f"{NAME}.manifest.json").read_text())
    assert (content["computed"], content["reused"]) == (2, 4)


def test_manifest_tells_what_is_done(run, tmp_path):
    interrupted(run, tmp_path, 4)
    content = json.loads(
        (tmp_path / f"{NAME}.inprogress" / "manifest.json").read_text()
    )
    assert content["schema_version"] == 1
    assert content["recipe_sha256"] == xf.CubeRecipe.from_dict(recipe()).sha256
    assert len(content["source_fingerprint"]) == 64
    assert content["xfelred_version"] == xf.__version__
    ids = run.train_ids
    assert content["blocks"] == [
        {"id": i, "trains": [ids[20 * i], ids[20 * i + 19]], "n_trains": 20,
         "status": "done" if i < 4 else "pending"}
        for i in range(6)
    ]  # fmt: skip


@pytest.mark.parametrize("package", ["xfelred", "numpy", "dask"])
def test_other_versions_are_named_where_blocks_are_reused(
    run, tmp_path, monkeypatch, package
):
    interrupted(run, tmp_path, 2)
    path = tmp_path / f"{NAME}.inprogress" / "manifest.json"
    old = read_manifest(path)
    replace(old, software={**old.software, package: "0.0.7"}).write(path)
    if package == "xfelred":
        with pytest.raises(InconsistentDataError, match=r"xfelred 0\.0\.7.*overwrite"):
            write_cube(run, recipe(), tmp_path)
        assert write_cube(run, recipe(), tmp_path, overwrite=True).reused == 0
    else:
        with pytest.warns(UserWarning, match=rf"{package} 0\.0\.7.*last digits"):
            assert write_cube(run, recipe(), tmp_path).reused == 2
    # What is finished is as it is.
    write_cube(run, recipe(), tmp_path)


def test_finished_cube_is_left_alone(run, tmp_path):
    first = write_cube(run, recipe(), tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = write_cube(run, recipe(), tmp_path)
    assert again.paths == first.paths
    assert (again.blocks, again.computed, again.reused) == (6, 0, 6)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("finished", [True, False])
def test_without_resume_what_is_there_is_an_error_naming_both_options(
    run, tmp_path, finished
):
    if finished:
        write_cube(run, recipe(), tmp_path)
    else:
        interrupted(run, tmp_path, 2)
    with pytest.raises(OutputExistsError, match=r"resume=True.*overwrite=True"):
        write_cube(run, recipe(), tmp_path, resume=False)


@pytest.mark.parametrize("finished", [True, False])
def test_changed_recipe_is_named(run, tmp_path, finished):
    if finished:
        write_cube(run, recipe(), tmp_path)
    else:
        interrupted(run, tmp_path, 2)
    other = recipe(detectors={"jungfrau1M": {"key": "calib", "threshold": 2.0}})
    with pytest.raises(ConfigError, match=r"detectors.jungfrau1M.threshold"):
        write_cube(run, other, tmp_path)
    with pytest.raises(ConfigError, match="compat"):
        write_cube(run, recipe(), tmp_path, compat=True)
    result = write_cube(run, other, tmp_path, overwrite=True)
    assert (result.computed, result.reused) == (6, 0)
    close(opened(result.paths[0]), xf.make_cube(run, other).compute())


def test_changed_source_is_named(source, tmp_path):
    path = tmp_path / source.name
    shutil.copy2(source, path)
    interrupted(xf.open_run(path), tmp_path / "out", 2)
    os.utime(path)
    with pytest.raises(ConfigError, match=rf"{source.name} has changed"):
        write_cube(xf.open_run(path), recipe(), tmp_path / "out")
    write_cube(xf.open_run(path), recipe(), tmp_path / "out", overwrite=True)


def test_other_frames_and_other_trains_are_named(run, tmp_path):
    frames = run.frames("jungfrau1M", "calib").compute()
    interrupted(run, tmp_path, 2, frames={"jungfrau1M": frames})
    with pytest.raises(ConfigError, match="frames of jungfrau1M"):
        write_cube(run, recipe(), tmp_path, frames={"jungfrau1M": frames + 1})
    part = run.select_trains(slice(0, 100))
    with pytest.raises(ConfigError, match="other trains"):
        write_cube(part, recipe(), tmp_path, frames={"jungfrau1M": frames})


def test_damaged_manifest_and_missing_sums_are_errors(run, tmp_path):
    interrupted(run, tmp_path, 3)
    work = tmp_path / f"{NAME}.inprogress"
    shutil.rmtree(work / "000001-000001")
    with pytest.raises(InconsistentDataError, match="lacks the results of 1 blocks"):
        write_cube(run, recipe(), tmp_path)
    (work / "manifest.json").write_text('{"schema_version": 1, "blo')
    with pytest.raises(InconsistentDataError, match=r"damaged.*overwrite"):
        write_cube(run, recipe(), tmp_path)
    assert write_cube(run, recipe(), tmp_path, overwrite=True).computed == 6


def test_directories_of_others_are_never_deleted(run, tmp_path):
    other = tmp_path / f"{NAME}.inprogress"
    other.mkdir()
    (other / "thesis.tex").write_text("all of it")
    with pytest.raises(OutputExistsError, match="no unfinished product"):
        write_cube(run, recipe(), tmp_path, overwrite=True)
    assert (other / "thesis.tex").exists()


def test_product_without_manifest_is_not_replaced(run, tmp_path):
    xf.write(xr.Dataset({"a": 1}), tmp_path / f"{NAME}.zarr")
    with pytest.raises(OutputExistsError, match="without a manifest"):
        write_cube(run, recipe(), tmp_path)
    write_cube(run, recipe(), tmp_path, overwrite=True)
    assert "jungfrau1M_sum" in opened(tmp_path / f"{NAME}.zarr")


def test_lost_product_of_a_finished_cube_is_noticed(run, tmp_path):
    (path,) = write_cube(run, recipe(), tmp_path).paths
    shutil.rmtree(path)
    with pytest.raises(OutputExistsError, match=r"is gone"):
        write_cube(run, recipe(), tmp_path)


def test_overwriting_removes_products_that_are_no_longer_made(run, tmp_path):
    both = recipe(output={"formats": ["netcdf", "zarr"], "report": False})
    write_cube(run, both, tmp_path)
    write_cube(run, recipe(), tmp_path, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"{NAME}.manifest.json", f"{NAME}.zarr"
    ]  # fmt: skip


def test_old_products_stay_until_the_new_ones_are_complete(run, tmp_path):
    (path,) = write_cube(run, recipe(), tmp_path).paths
    old = opened(path)
    interrupted(run, tmp_path, 3, overwrite=True)
    same_bits(opened(path), old)
    assert write_cube(run, recipe(), tmp_path).reused == 3


def test_filter_that_passes_nothing_leaves_nothing(run, tmp_path):
    r = recipe(filters={"f": ["ipm2/sum > 1e9"]})
    with pytest.raises(SelectionEmptyError, match="removes everything"):
        write_cube(run, r, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_two_jobs_on_one_output(run, tmp_path):
    seen = []

    def other_job(done, _):
        if done == 2:
            with pytest.raises(OutputExistsError, match="is being written by"):
                write_cube(run, recipe(), tmp_path)
            seen.append(done)

    write_cube(run, recipe(), tmp_path, report=other_job)
    assert seen == [2]


def test_full_disk_keeps_what_is_done(run, plain, tmp_path):
    # Files may not grow beyond this: the same error path as a full disk.
    frames = {"jungfrau1M": run.frames("jungfrau1M", "calib").compute()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def shrink(done, _):
        if done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))

    try:
        with pytest.raises(OutputError, match=r"finished blocks are kept"):
            write_cube(run, recipe(), tmp_path, frames=frames, report=shrink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, old)
    result = write_cube(run, recipe(), tmp_path, frames=frames)
    assert (result.computed, result.reused) == (3, 3)
    same_bits(opened(result.paths[0]), plain)


# -- killed --------------------------------------------------------------------------

JOB = """
import json, sys
import xfelred as xf
from xfelred.recipes import write_cube as module
from xfelred.recipes.manifest import read_manifest
source, recipe, out, merge = sys.argv[1:]
if int(merge):
    module.limit_of = lambda _: int(merge)
run = xf.open_run(source)
print("ready", flush=True)
module.write_cube(run, json.loads(recipe), out)
print("done", flush=True)
"""


def started(source, out, r, merge=0):
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(source), json.dumps(r), str(out), str(merge)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed_and_resumed(source, tmp_path, times, merge):
    r = recipe(8, output={"formats": ["zarr", "lcls_h5"], "report": False})
    write_cube(xf.open_run(source), r, tmp_path / "first")  # which compiles
    begin = time.monotonic()
    plain = write_cube(xf.open_run(source), r, tmp_path / "plain")
    length = time.monotonic() - begin
    expected = opened(plain.paths[0])
    chance = random.Random(17 + merge)
    kills = 0
    for i in range(times):
        out = tmp_path / f"out{i}"
        with started(source, out, r, merge) as job:
            job.stdout.readline()
            # A little before the end: on a machine that is faster now it would be over.
            time.sleep(chance.uniform(0, 0.7 * length))
            job.send_signal(signal.SIGKILL)
        kills += job.returncode == -signal.SIGKILL
        work = out / f"{NAME}.inprogress" / "manifest.json"
        done = 0
        if work.exists():
            blocks = json.loads(work.read_text())["blocks"]
            done = sum(b["status"] == "done" for b in blocks)
        result = write_cube(xf.open_run(source), r, out)
        assert result.reused == done or not work.exists()
        same_bits(opened(result.paths[0]), expected)
        names = sorted(p.name for p in out.iterdir())
        assert names == sorted(
            [*(p.name for p in plain.paths), f"{NAME}.manifest.json"]
        )
    assert kills > times // 2


def test_killed_at_random_moments_it_goes_on_to_the_same_bits(source, tmp_path):
    killed_and_resumed(source, tmp_path, 1, 0)


@pytest.mark.nightly
@pytest.mark.parametrize("merge", [0, 1])
def test_killed_at_many_random_moments(source, tmp_path, merge):
    killed_and_resumed(source, tmp_path, 10, merge)


def test_scheduler_is_only_set_for_the_call(run, tmp_path):
    write_cube(run, recipe(), tmp_path, scheduler="synchronous")
    assert dask.config.get("scheduler", None) is None


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.filterwarnings("ignore:.*no value for 1 of 6")
@pytest.mark.filterwarnings("ignore:.*is padding")
def test_shots_with_data_where_modules_are_missing_in_turn(bad, tmp_path, no_compute):
    missing = {(0, 10000), (0, 10001), (5, 10002), (0, 10003), (5, 10003)}
    place = tmp_path / "run"
    synth.euxfel.write_run(
        place, n_trains=6, pulses=1, modules=[0, 5], missing=missing, xgm=True
    )
    run = xf.open_run(place)
    (name,) = run.detectors
    frames = run.frames(name, bad_pixels=None).astype("f4")
    frames = frames.where(frames.train != 10004)  # a frame of NaN has no data
    if bad:  # what is left of a shot without the other module is no data
        frames = frames.where(frames.module != frames.module[1])
    source = "SPB_IRU_SAMPLE/MOTOR/X.actualPosition"
    values = run.scalars([source])[source].values
    edges = [-1e9, np.sort(values)[2] + 1e-9, 1e9]
    wanted = np.histogram(values[[2, 5] if bad else [0, 1, 2, 5]], edges)[0].tolist()
    r = recipe(
        2, bins={source: {"edges": edges}}, detectors={name: {}}, filters={},
        variables=[],
    )  # fmt: skip
    with no_compute():
        lazy = xf.make_cube(run, r, frames={name: frames})
    assert lazy[f"{name}_shots"].values.tolist() == wanted
    (made,) = write_cube(run, r, tmp_path / "out", frames={name: frames}).paths
    assert opened(made)[f"{name}_shots"].values.tolist() == wanted


def test_trains_whose_ids_differ_by_one_in_2_to_the_53_are_told_apart(tmp_path):
    n = 40
    ids = (np.uint64(1_700_000_000) << np.uint64(32)) + np.arange(n, dtype=np.uint64)
    path = tmp_path / "xppx_Run0001.h5"
    with h5py.File(path, "w") as file:
        file["timestamp"] = ids
        file["i0"] = np.arange(n, dtype=float)
        file["lightStatus/xray"] = np.ones(n, np.int64)
        file["UserDataCfg/d/ped"] = np.zeros((2, 3))
    frames = xr.DataArray(
        np.arange(n, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 3)),
        dims=("train", "module", "slow_scan", "fast_scan"), coords={"train": ids},
    )  # fmt: skip
    edges = [0, 10, 25, 40]
    r = recipe(
        7, bins={"i0": {"edges": edges}}, detectors={"d": {}}, filters={}, variables=[]
    )
    (made,) = write_cube(
        xf.open_run(path), r, tmp_path / "out", frames={"d": frames}
    ).paths
    cube = opened(made)
    assert cube.d_shots.values.tolist() == [10, 15, 15]
    expected = [sum(range(a, b)) for a, b in pairwise(edges)]
    assert cube.d_sum[:, 0, 0, 0].values.tolist() == expected


@pytest.mark.filterwarnings("ignore:.*is padding")
def test_names_of_files_have_no_blanks_and_tell_the_filter(tmp_path):
    synth.euxfel.write_run(
        tmp_path / "r0007", kind="AGIPD500K", modules=[0], n_trains=4, pulses=2
    )
    run = xf.open_run(tmp_path / "r0007")
    assert " " in run.run_id
    name = "SPB_LAS_PPL/MOTOR/DELAY.actualPosition"
    r = recipe(
        bins={}, detectors={}, variables=[name], filters={"lit-2": [f"`{name}` > -1e9"]}
    )
    r["output"]["formats"] = ["zarr", "lcls_h5"]
    result = write_cube(run, r, tmp_path / "out")
    for path in result.paths:
        assert path.exists()
        assert " " not in path.name
        assert path.stem.endswith("_lit-2")
