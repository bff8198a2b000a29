"""What is wrong with real small-data files, and what becomes of it."""

import contextlib
import shutil
import subprocess
import sys
import time
import warnings

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.errors import (
    BrokenFileError,
    InconsistentDataError,
    MultiRunError,
    PropertyNameError,
    SelectionEmptyError,
    UnknownFormatError,
)
from xfelred.readers.lcls_smalldata import recognises
from xfelred.readers.lcls_smalldata.rows import pick_of
from xfelred.synth import faults
from xfelred.synth.lcls import write_smalldata

pytestmark = pytest.mark.slow

DETECTOR = "jungfrau1M"
TABLE = "epix_2/var_droplet_sparse"


def written(tmp_path, name="xpptest01_Run0047.h5", **options):
    fields = {"n_events": 40, "shape": (2, 6, 8), **options}
    return write_smalldata(tmp_path / name, **fields)


def change(truth, name, values):
    """Replace a dataset."""
    with changed(truth.path) as file:
        if name in file:
            del file[name]
        file[name] = values


@contextlib.contextmanager
def changed(path):
    """A copy of a file, open for writing, that takes its place at the end."""
    copy = path.with_suffix(".tmp")
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        yield file
    copy.replace(path)


def check(run, truth):
    """Compare everything that rows belong to."""
    np.testing.assert_array_equal(run.ids, truth.ids)
    fill = 0 if truth.frames.dtype.kind in "iu" else None
    frames = run.frames(bad_pixels=None, fill_value=fill)
    np.testing.assert_array_equal(frames[:, 0], truth.frames)
    found = run.scalars(["ipm2/channels"])["ipm2/channels"]
    np.testing.assert_array_equal(found, truth.columns["ipm2/channels"])
    table = run.table(TABLE)
    np.testing.assert_array_equal(table["row"], truth.tables["row"])
    np.testing.assert_array_equal(
        table.train, np.repeat(truth.ids, truth.shots.n_droplets)
    )


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("flavour", ["LCLS1", "LCLS2"])
def test_rows_in_any_order(tmp_path, flavour, compression):
    truth = written(tmp_path, flavour=flavour, unsorted=True, compression=compression)
    check(xf.open_run(truth.path), truth)


def test_repeated_rows_count_once(tmp_path):
    truth = written(tmp_path, unsorted=True, repeats=3)
    change(truth, "ipm2/sum", np.arange(43.0))
    with pytest.warns(UserWarning, match="3 rows repeat.*of 43 event rows 40") as said:
        run = xf.open_run(truth.path)
    assert len(said) == 1
    check(run, truth)
    # The first row of each is the one that counts.
    assert run.scalars(["ipm2/sum"])["ipm2/sum"].max() == 39
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(run.select_trains(np.s_[:]), truth)


@pytest.mark.parametrize("flavour", ["LCLS1", "LCLS2"])
def test_parts_joined_by_virtual_datasets(tmp_path, flavour):
    truth = written(tmp_path, flavour=flavour, parts=3, key="raw")
    run = xf.open_run(truth.path)
    assert len(run.files) == 1
    check(run, truth)


def test_parts_alone(tmp_path):
    """A list or a glob of parts is the run, in the order of time."""
    truth = written(tmp_path, flavour="LCLS2", parts=3, unsorted=True)
    parts = sorted(tmp_path.glob("*_part*.h5"))
    for source in (parts, parts[::-1], str(tmp_path / "*_part*.h5")):
        run = xf.open_run(source)
        assert run.run_id == "xpptest01_Run0047"
        assert len(run.files) == 3
        check(run, truth)
    whole = xf.open_run(str(tmp_path / "xpptest01_Run0047*.h5"))
    assert len(whole.files) == 1  # the one that joins them
    some = xf.open_run(parts[:2])
    assert len(some.ids) == 27
    one = xf.open_run(parts[1])
    assert one.run_id == "xpptest01_Run0047"


def test_a_column_that_one_part_lacks(tmp_path):
    truth = written(tmp_path, flavour="LCLS2", parts=2)
    parts = sorted(tmp_path.glob("*_part*.h5"))
    with changed(parts[1]) as file:
        for name in ("ipm2/sum", "ipm3/n_photons", f"{DETECTOR}/calib"):
            del file[name]
        del file["tt/ttCorr"]
        file["tt/ttCorr"] = np.zeros((20, 2))
    with pytest.raises(InconsistentDataError, match="tt/ttCorr has different shapes"):
        xf.open_run(parts).scalars(["ipm2/sum"])
    with changed(parts[1]) as file:
        del file["tt/ttCorr"]
    run = xf.open_run(parts)
    found = run.scalars(["ipm2/sum", "ipm3/n_photons"])
    for values in found.values():
        assert np.isnan(values[1::2]).all()
    np.testing.assert_array_equal(
        found["ipm2/sum"][::2], truth.columns["ipm2/sum"][::2]
    )
    frames = run.frames(bad_pixels=None)
    assert not frames.available[1::2].any()
    np.testing.assert_array_equal(frames[::2, 0], truth.frames[::2])


def test_a_part_that_is_gone(tmp_path):
    truth = written(tmp_path, parts=2)
    next(tmp_path.glob("*_part1.h5")).unlink()
    with pytest.raises((BrokenFileError, UnknownFormatError), match="part1"):
        xf.open_run(truth.path).scalars(["ipm2/sum"])


def test_files_of_several_runs(tmp_path):
    written(tmp_path)
    written(tmp_path, "xpptest01_Run0048.h5")
    with pytest.raises(MultiRunError, match="not parts of one run"):
        xf.open_run(tmp_path)
    with pytest.raises(MultiRunError, match="Run0048"):
        xf.open_run(sorted(tmp_path.glob("*.h5")))


def test_a_lone_file_in_a_directory(tmp_path):
    truth = written(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    check(xf.open_run(tmp_path), truth)


def test_truncated_file(tmp_path):
    truth = written(tmp_path)
    faults.truncate(truth.path)
    with pytest.raises(UnknownFormatError, match="truncated"):
        xf.open_run(truth.path)
    with pytest.raises(BrokenFileError, match="truncated"):
        xf.open_run(truth.path, facility="lcls")


def test_file_of_an_unfinished_writer(tmp_path):
    truth = written(tmp_path)
    code = (
        "import h5py, sys, time\n"
        f"file = h5py.File({str(truth.path)!r}, 'r+')\n"
        "print('open', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        try:
            for facility in (None, "lcls"):
                with pytest.raises(BrokenFileError, match="another process"):
                    xf.open_run(truth.path, facility=facility)
        finally:
            writer.kill()
    time.sleep(0.1)
    check(xf.open_run(truth.path), truth)


def test_no_column_of_ids(tmp_path):
    truth = written(tmp_path, without={"event_time"})
    with pytest.raises(UnknownFormatError, match=r"event_time with fiducials"):
        xf.open_run(truth.path)
    with pytest.raises(UnknownFormatError, match=r"event_time with fiducials"):
        xf.open_run(truth.path, facility="lcls")


@pytest.mark.parametrize(
    "content",
    [
        {"binVar_bins": np.arange(3.0), "nEntries": np.arange(3.0)},  # a cube
        {"timestamp": np.arange(5)},
        {"timestamp": np.arange(5.0), "scan/x": np.arange(5)},
        {"timestamp": np.arange(5), "frames": np.zeros((1, 5, 1, 2, 2))},
        {"x": np.zeros(3)},
        {},
    ],
)
def test_other_files_are_not_small_data(tmp_path, content):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values
    assert not recognises(str(path))
    if "frames" not in content:
        with pytest.raises(UnknownFormatError, match="LCLS small data"):
            xf.open_run(path)


def test_ids_that_are_not_those_of_the_data(tmp_path):
    truth = written(tmp_path)
    change(truth, "event_time", truth.ids[:30].astype(np.int64))
    with pytest.raises(InconsistentDataError, match="30 rows of event_time"):
        xf.open_run(truth.path)
    change(truth, "fiducials", np.arange(30))
    with pytest.raises(InconsistentDataError, match="does not belong to them"):
        xf.open_run(truth.path).scalars(["ipm2/sum"])
    change(truth, "event_time", truth.ids.astype(np.float64))
    with pytest.raises(InconsistentDataError, match="whole numbers"):
        xf.open_run(truth.path)
    change(truth, "event_time", np.zeros((40, 3), np.int64))
    with pytest.raises(InconsistentDataError, match="one ID per row"):
        xf.open_run(truth.path)


def test_rows_without_an_id_are_left_out(tmp_path):
    truth = written(tmp_path)
    ids = truth.ids.astype(np.int64)
    ids[[3, 7]] = -99999
    change(truth, "event_time", ids)
    with pytest.warns(UserWarning, match="2 rows have no ID"):
        run = xf.open_run(truth.path)
    keep = np.delete(np.arange(40), [3, 7])
    np.testing.assert_array_equal(run.ids, truth.ids[keep])
    found = run.scalars(["ipm2/sum"])["ipm2/sum"]
    np.testing.assert_array_equal(found, truth.columns["ipm2/sum"][keep])


def test_columns_of_the_wrong_length(tmp_path):
    truth = written(tmp_path)
    change(truth, "ipm2/sum", np.arange(39.0))
    change(truth, "other/table", np.zeros((5, 2)))
    change(truth, "other/number", 3.5)
    run = xf.open_run(truth.path)
    with pytest.raises(InconsistentDataError, match="ipm2/sum has shape"):
        run.scalars(["ipm2/sum"])
    assert "ipm2/sum" not in run.scalars("ipm2/*")
    with pytest.raises(InconsistentDataError, match="other/table"):
        run.scalars(["other/table"])
    with pytest.raises(PropertyNameError):
        run.scalars("other/*")
    assert run["other", "table"].shape == (5, 2)
    change(truth, f"{DETECTOR}/calib", np.zeros((39, 2, 6, 8)))
    with pytest.raises(InconsistentDataError, match=r"\.h5: it has no image for"):
        xf.open_run(truth.path).frames(key="calib")
    change(truth, f"damage/{DETECTOR}", np.ones(12))
    assert xf.open_run(truth.path).absent(DETECTOR) is None


def test_tables_that_are_too_short(tmp_path):
    truth = written(tmp_path)
    change(truth, f"{TABLE}/row", truth.tables["row"][:-1])
    with pytest.raises(InconsistentDataError, match="_len asks for"):
        xf.open_run(truth.path).table(TABLE)
    change(truth, f"{TABLE}_len", truth.shots.n_droplets[:-1])
    with pytest.raises(InconsistentDataError, match="has 39 rows"):
        xf.open_run(truth.path).table(TABLE)


def test_run_without_events(tmp_path):
    truth = written(tmp_path, n_events=0)
    run = xf.open_run(truth.path)
    assert run.train_ids == []
    assert run.scalars("ipm2/*").sizes["train"] == 0
    assert run.frames().compute().shape == (0, 1, 2, 6, 8)
    assert run.table(TABLE).sizes["entry"] == 0
    assert "0" in repr(run)


def test_missing_images(tmp_path):
    truth = written(tmp_path, without_image=0.3)
    run = xf.open_run(truth.path)
    n = int(truth.available.sum())
    assert 0 < n < 40
    np.testing.assert_array_equal(run.frames().available[:, 0], truth.available)
    assert run.frames(missing="drop").sizes["train"] == n
    assert run.frames(layout="frame").sizes["frame"] == n
    with pytest.raises(InconsistentDataError, match=f"{40 - n} of 40 shots"):
        run.frames(missing="raise")
    none = run.select_trains(~truth.available)
    with pytest.raises(SelectionEmptyError):
        none.frames(missing="drop")


def test_text_and_flags_per_event(tmp_path):
    truth = written(tmp_path, unsorted=True)
    with changed(truth.path) as file:
        kind = h5py.string_dtype()
        ids = file["event_time"][()].astype(str)
        file.create_dataset("note/text", data=ids.astype(object), dtype=kind)
        file["note/fixed"] = ids.astype("S")
        file["note/flag"] = file["lightStatus/laser"][()] == 1
        file["note/big_endian"] = file["ipm2/sum"][()].astype(">f8")
        file["note/small"] = np.full(40, -99, np.int8)
    found = xf.open_run(truth.path).scalars("note/*")
    assert found["note/text"].values.tolist() == truth.ids.astype(str).tolist()
    assert found["note/fixed"].values.tolist() == truth.ids.astype(str).tolist()
    np.testing.assert_array_equal(found["note/flag"], truth.laser_on)
    np.testing.assert_array_equal(found["note/big_endian"], truth.columns["ipm2/sum"])
    assert found["note/small"].dtype == np.int8


def test_damaged_values_are_an_error(tmp_path):
    truth = written(tmp_path, compression="gzip")
    faults.damage_chunk(truth.path, f"{DETECTOR}/calib", 4)
    with pytest.raises(BrokenFileError, match="calib"):
        xf.open_run(truth.path).frames().compute()


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_picked_as_numpy_does(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=6000)
    size = int(rng.integers(0, 60))
    row = rng.choice(6000, size, replace=False)
    pick = pick_of(row if seed % 2 else np.sort(row))
    buffer = np.concatenate(
        [
            values[s : s + n]
            for s, n in zip(pick.runs.start, pick.runs.count, strict=True)
        ]
        or [np.zeros(0)]
    )
    found = buffer if pick.take is None else buffer[pick.take]
    np.testing.assert_array_equal(found, values[row if seed % 2 else np.sort(row)])


def parts(tmp_path, columns):
    """Write parts of one run, each with the columns given for it."""
    for i, part in enumerate(columns):
        with h5py.File(tmp_path / f"rixtest01_Run0001_part{i}.h5", "w") as file:
            ids = (1_100_000_000 << 32) + 2 * np.arange(4) + i
            file["timestamp"] = ids.astype("u8")
            for name, values in part.items():
                file[name] = values
    return sorted(str(p) for p in tmp_path.iterdir())


def test_parts_with_other_types_are_promoted(tmp_path):
    whole, half = np.arange(4, dtype="i4"), np.arange(4) + 0.5
    frames = [
        whole[:, None, None] * np.ones((3, 3), "i2"),
        half[:, None, None] * np.ones((3, 3)),
    ]
    run = xf.open_run(parts(tmp_path, [
        {"a/b": whole, "det/calib": frames[0].astype("i2")},
        {"a/b": half, "det/calib": frames[1].astype("f4")},
    ]))  # fmt: skip
    want = np.stack([whole, half], axis=1).ravel()
    np.testing.assert_array_equal(run.scalars("a/b")["a/b"], want)
    got = run.frames("det")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[:, 0, 0, 0, 0], want)


@pytest.mark.parametrize(
    "kinds", [("i8", "f8"), ("u8", "i8"), ("f4", "S3")], ids=lambda k: "-".join(k)
)
def test_parts_whose_types_do_not_go_together_name_both_files(tmp_path, kinds):
    columns = [{"a/b": np.arange(4).astype(k)} for k in kinds]
    with pytest.raises(xf.InconsistentDataError, match=r"part0\.h5.*part1\.h5"):
        xf.open_run(parts(tmp_path, columns)).scalars("a/b")


def test_tables_of_one_column_in_every_place(tmp_path):
    path = tmp_path / "xpptest01_Run0001.h5"
    n = np.arange(5)
    with h5py.File(path, "w") as file:
        file["event_time"] = ((1_600_000_000 << 32) + n)[:, None]
        file["fiducials"] = (n * 3)[:, None]
        file["lightStatus/laser"] = (n % 2)[:, None]
        file["scan/x"] = (n // 2 * 1.0)[:, None]
        file["damage/det"] = np.array([1, 1, 0, -99999, 1])[:, None]
        file["det/calib"] = np.ones((5, 2, 3)) * n[:, None, None]
        file["det/var_d_len"] = np.array([0, 2, 0, 1, 0])[:, None]
        file["det/var_d/data"] = np.arange(3.0)
    run = xf.open_run(path)
    assert len(run.ids) == 5
    frames = run.frames("det")
    np.testing.assert_array_equal(frames.available[:, 0], [1, 1, 0, 0, 1])
    np.testing.assert_array_equal(frames.fiducials, n * 3)
    np.testing.assert_array_equal(run.table("det/var_d").train, run.ids[[1, 1, 3]])
    recipe = {
        "schema_version": 1, "kind": "cube", "laser": "split",
        "bins": {"scan/x": {"unique": True}}, "detectors": {"det": {}},
        "variables": ["scan/x"], "filters": {"f": ["lightStatus/laser >= 0"]},
    }  # fmt: skip
    cube = xf.make_cube(run, recipe)
    np.testing.assert_array_equal(cube.det_shots, [[1, 0, 0], [1, 0, 1]])
    np.testing.assert_array_equal(
        cube.det_mean.sel(laser_on=False)[:, 0, 0, 0], [0, np.nan, 4]
    )
