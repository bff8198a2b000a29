"""Files and modules of one run that differ: nothing of one of them holds for all."""

import warnings

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.support.euxfel_files import (
    LPD,
    Fast,
    Slow,
    jungfrau,
    lpd,
    write_file,
)
from xfelred import open_run
from xfelred.errors import BrokenFileError, InconsistentDataError

CAMERA = "HED_EXP/CAM/SIDE:daqOutput"
IMAGE = "data.image.pixels"


def sequence(directory, *datasets, key="image.pixels", counts=1):
    """A run of sequence files with two trains each; only `datasets` differ."""
    for i, values in enumerate(datasets):
        data = {"other": np.arange(len(values), dtype="i4")}
        if values.dtype != object:
            data[key] = values
        part = Fast(CAMERA, "data", [counts] * 2, data)
        trains = [700 + 2 * i, 701 + 2 * i]
        write_file(directory / f"RAW-R0001-DA01-S{i:05}.h5", trains, part)
    return open_run(directory)


def full(shape, value, dtype):
    return np.full((2, *shape), value, dtype)


READ = {
    "ndarray": lambda run: run[CAMERA, IMAGE].ndarray(),
    "xarray": lambda run: run[CAMERA, IMAGE].xarray(),
    "dask_array": lambda run: run[CAMERA, IMAGE].dask_array().compute(),
    "union": lambda run: (run.select_trains(np.s_[2:]) | run.select_trains(np.s_[:2]))[
        CAMERA, IMAGE
    ].ndarray(),
}


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (5, 6), (4,), (1, 4, 6)])
def test_another_shape_in_a_later_file_is_refused_and_both_are_named(
    shape, read, tmp_path
):
    run = sequence(tmp_path, full((4, 5), 7, "u2"), full(shape, 9, "u2"))
    with pytest.raises(InconsistentDataError) as caught:
        READ[read](run)
    for word in ("S00000.h5", "S00001.h5", str((4, 5)), str(shape), "select_trains"):
        assert word in str(caught.value)
    # What the message advises works.
    for part, size, value in ((np.s_[:2], (4, 5), 7), (np.s_[2:], shape, 9)):
        got = run.select_trains(part)[CAMERA, IMAGE].ndarray()
        assert_array_equal(got, full(size, value, "u2"))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("u1", "u2", "u2"), ("u2", "f4", "f4"), ("i4", "f4", "f8"), ("i2", "u2", "i4"),
        ("f4", "f8", "f8"), ("i8", "u4", "i8"), ("bool", "u1", "u1"),
    ],
)  # fmt: skip
def test_other_dtypes_are_widened_to_what_holds_both(one, other, both, tmp_path):
    big = {d: 1 if d == "bool" else np.array(2**30 + 1).astype(d) for d in (one, other)}
    run = sequence(tmp_path, full((2,), big[one], one), full((2,), big[other], other))
    key = run[CAMERA, IMAGE]
    assert key.dtype == both
    want = np.repeat([big[one], big[other]], 4).reshape(4, 2).astype(both)
    assert_array_equal(key.ndarray(), want)
    assert_array_equal(key.dask_array().compute(), want)


@pytest.mark.parametrize(
    ("one", "other"), [("i8", "f8"), ("u8", "i8"), ("u8", "f4"), ("S3", "i4")]
)
def test_dtypes_that_nothing_holds_exactly_are_refused(one, other, tmp_path):
    run = sequence(tmp_path, full((2,), 1, one), full((2,), 1, other))
    with pytest.raises(InconsistentDataError, match="not stored alike"):
        run[CAMERA, IMAGE].ndarray()


def test_a_column_of_length_one_and_a_plain_one_are_the_same(tmp_path):
    run = sequence(
        tmp_path, np.array([[1], [2]], "u4"), np.array([3, 4], "u4"), key="image.pixels"
    )
    assert_array_equal(run[CAMERA, IMAGE].ndarray(), [1, 2, 3, 4])
    got = run.scalars([(CAMERA, IMAGE)])[f"{CAMERA}.{IMAGE}"]
    assert got.dims == ("train",)
    assert_array_equal(got, [1, 2, 3, 4])


def test_vectors_of_two_lengths_are_no_scalars(tmp_path):
    run = sequence(tmp_path, full((6,), 1, "u4"), full((9,), 2, "u4"))
    with pytest.raises(InconsistentDataError, match=r"\(6,\).*\(9,\)"):
        run.scalars([(CAMERA, IMAGE)])


def test_a_key_that_comes_later_is_found_and_missing_before(tmp_path):
    gone = np.zeros(2, object)
    run = sequence(tmp_path, gone, np.array([5.0, 6.0]))
    assert IMAGE in run.keys(CAMERA)
    with pytest.warns(UserWarning, match="S00000.h5"):
        got = run.scalars([(CAMERA, IMAGE)])[f"{CAMERA}.{IMAGE}"]
    assert_array_equal(got, [np.nan, np.nan, 5, 6])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said
        key = run[CAMERA, IMAGE]
        assert_array_equal(key.ndarray(), [5, 6])
        assert_array_equal(key.train_id_coordinates(), [702, 703])
        assert [len(v) for v in (key.train_values(np.uint64(t)) for t in (700, 702))]
    trains = dict(run.select(CAMERA).trains())
    assert IMAGE not in trains[700][CAMERA]
    assert trains[703][CAMERA][IMAGE] == 6


def test_a_slow_property_may_become_wider(tmp_path):
    for i, values in enumerate((np.array([1, 2], "i4"), np.array([0.5, 2.5]))):
        slow = Slow("HED_MOTOR/X/1", {"position": values})
        write_file(
            tmp_path / f"RAW-R0001-DA01-S{i:05}.h5", [10 + 2 * i, 11 + 2 * i], slow
        )
    got = open_run(tmp_path).scalars(["HED_MOTOR/X/1.position"])
    assert_array_equal(got["HED_MOTOR/X/1.position"], [1, 2, 0.5, 2.5])


# Modules of a detector.


def lpd_run(directory, parts, sequences=1):
    """Trains 100, 101, ... two in a file; `parts(module, sequence)` for 3 modules."""
    for s in range(sequences):
        for m in range(3):
            name = f"CORR-R0001-LPD{m:02}-S{s:05}.h5"
            write_file(directory / name, [100 + 2 * s, 101 + 2 * s], parts(m, s))
    return open_run(directory)


def test_modules_with_other_dtypes_are_read_as_what_holds_them(tmp_path):
    kinds = ["f4", "f8", "f2"]
    run = lpd_run(
        tmp_path, lambda m, s: lpd(m, [1, 1], [3, 3], m + 0.25, dtype=kinds[m])
    )
    frames = run.frames()
    assert frames.dtype == "f8"
    assert_array_equal(frames[0, 0, :, 5, 5], [0.25, 1.25, 2.25])
    assert run.frames(modules=[0, 2]).dtype == "f4"
    det = run.detector()
    assert_array_equal(det["image.data"].ndarray()[:, 1, 0, 0], [0.25, 1.25, 2.25])
    assert_array_equal(det.get_array("image.data")[:, 1, 0, 0, 0], [0.25, 1.25, 2.25])


def test_a_module_with_another_shape_is_refused_unless_it_is_left_out(tmp_path):
    run = lpd_run(
        tmp_path,
        lambda m, s: lpd(m, [1, 1], [3, 3], shape=(256, 128 if m == 1 else 256)),
    )
    with pytest.raises(InconsistentDataError, match=r"LPD00.*LPD01"):
        run.frames()
    assert run.frames(modules=[0, 2]).shape == (2, 1, 2, 256, 256)


def test_labels_of_another_dtype_and_shape_label_the_same(tmp_path):
    def part(m, s):
        one = lpd(m, [1, 2], [4, 4, 9], [1, 2, 3])
        if (m + s) % 2:
            one.data["pulseId"] = one.data["pulseId"].astype("u2")[:, None]
            one.data["cellId"] = one.data["cellId"].astype("i4")[:, None]
        return one

    frames = lpd_run(tmp_path, part, 2).frames(layout="frame")
    assert_array_equal(frames.pulse, [4, 4, 9, 4, 4, 9])
    assert_array_equal(frames[:, :, 0, 0], np.repeat([[1, 2, 3] * 2], 3, axis=0).T)


def masked(m, s, without=(), mask_shape=(256, 256), dtype="u4"):
    one = lpd(m, [1, 1], [0, 0], 5.0)
    one.data["data"][:, 7, 8] = 1e9
    if (m, s) not in without:
        mask = np.zeros((2, *mask_shape), dtype)
        mask[:, 7, 8] = 4
        one.data["mask"] = mask
    return one


@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize(
    "without", [{(0, 0)}, {(2, 0), (2, 1)}, {(0, 1), (1, 1), (2, 1)}]
)
def test_masks_apply_wherever_there_are_some(without, layout, tmp_path):
    run = lpd_run(tmp_path, lambda m, s: masked(m, s, without), 2)
    with pytest.warns(UserWarning, match=r"image.mask") as said:
        frames = run.frames(layout=layout)
    assert len(said) == 1
    hot = frames[..., 7, 8].values.reshape(4, 3)
    for s in range(2):
        for m in range(3):
            want = 1e9 if (m, s) in without else np.nan
            assert_array_equal(hot[2 * s : 2 * s + 2, m], want)
    assert (frames[..., 0, 0] == 5).all()
    kept = run.frames(layout=layout, bad_pixels="keep").bad_pixels
    assert_array_equal(kept[..., 7, 8].values.reshape(4, 3) > 0, np.isnan(hot))
    data = run.detector().masked_data().ndarray()
    assert_array_equal(data[:, :, 7, 8].T, hot)


def test_masks_may_have_other_dtypes_but_not_other_shapes(tmp_path):
    run = lpd_run(
        tmp_path / "a", lambda m, s: masked(m, s, dtype=["u1", "u4", "u2"][m])
    )
    assert np.isnan(run.frames()[..., 7, 8]).all()
    run = lpd_run(tmp_path / "b", lambda m, s: masked(m, s, mask_shape=(256, 128)))
    with pytest.raises(InconsistentDataError, match="bad_pixels=None"):
        run.frames()
    assert (run.frames(bad_pixels=None)[..., 7, 8] == 1e9).all()


def test_a_file_without_the_pixels_has_nothing_recorded(tmp_path):
    def part(m, s):
        one = lpd(m, [1, 1], [0, 0], 5.0)
        if (m, s) == (1, 1):
            del one.data["data"]
        return one

    run = lpd_run(tmp_path, part, 2)
    with pytest.warns(UserWarning, match="LPD01-S00001"):
        frames = run.frames()
    assert frames.available.values.tolist() == [[1, 1, 1]] * 2 + [[1, 0, 1]] * 2
    assert_array_equal(np.isnan(frames[:, 0, :, 0, 0]), ~frames.available)


@pytest.mark.filterwarnings("ignore:image.* is not in")
def test_trains_are_dropped_for_each_key_alone(tmp_path):
    def part(m, s):
        one = lpd(m, [1, 1], [0, 0], gain=np.zeros((2, 256, 256), "u1"))
        if (m, s) in ((1, 1), (0, 0)):
            del one.data["data" if s else "gain"]
        return one

    run = lpd_run(tmp_path, part, 2)
    for _ in range(2):
        assert run.frames(missing="drop").train.values.tolist() == [100, 101]
        gains = run.frames(key="image.gain", missing="drop")
        assert gains.train.values.tolist() == [102, 103]


def test_jungfrau_modules_may_have_other_dtypes_but_not_other_cells(tmp_path):
    for m, dtype in ((1, "f4"), (2, "f8")):
        write_file(
            tmp_path / f"a/J{m}.h5", [1, 2], jungfrau(m, 2, value=m, dtype=dtype)
        )
        write_file(tmp_path / f"b/J{m}.h5", [1, 2], jungfrau(m, 2, cells=m))
    frames = open_run(tmp_path / "a").frames()
    assert frames.dtype == "f8"
    assert_array_equal(frames[:, 0, :, 3, 3], [[1, 2], [1, 2]])
    with pytest.raises(InconsistentDataError, match=r"not stored alike.*J1.h5.*J2.h5"):
        open_run(tmp_path / "b").frames()
    assert open_run(tmp_path / "b").frames(modules=[2]).sizes["pulse"] == 2


def test_jungfrau_modules_with_other_memory_cells_are_named(tmp_path):
    for m in (1, 2, 3):
        part = jungfrau(m, 2, cells=2)
        if m == 2:
            part.data["memoryCell"][1] = [7, 8]
        write_file(tmp_path / f"J{m}.h5", [1, 2], part)
    run = open_run(tmp_path)
    with pytest.raises(InconsistentDataError, match=r"train 2: module 2 .*\[1, 3\]"):
        run.frames()
    assert run.frames(modules=[1, 3]).cell.values.tolist() == [0, 1]


def test_two_entries_of_jungfrau_in_a_train_are_not_dropped(tmp_path):
    part = jungfrau(1, 3)
    part.counts = [1, 2]
    write_file(tmp_path / "J.h5", [1, 2], part)
    with pytest.raises(InconsistentDataError, match="2 entries in train 2"):
        open_run(tmp_path).frames()


def test_raw_and_corrected_files_of_one_name_are_not_mixed(tmp_path):
    for i, dtype in enumerate(("u2", "f4")):
        part = lpd(0, [1], [0], 3, dtype=dtype)
        part.source = f"{LPD}/DET/0CH0:xtdf"
        write_file(tmp_path / f"S{i}.h5", [10 + i], part)
    run = open_run(tmp_path)
    with pytest.raises(InconsistentDataError, match=r"raw data in.*S0.*corrected.*S1"):
        run.frames()
    assert run.select_trains([1]).frames().dtype == "f4"


# Order and position.


def test_labels_go_with_trains_that_stand_out_of_order_in_several_files(tmp_path):
    """Trains interleave between files, are ragged, and decrease within a file."""
    trains = {0: [30, 10, 21], 1: [20, 31, 11]}
    counts = {10: 2, 11: 1, 20: 3, 21: 1, 30: 2, 31: 4}
    for s, ids in trains.items():
        n = [counts[t] for t in ids]
        pulses = [100 * t + i for t in ids for i in range(counts[t])]
        for m in (0, 4):
            part = lpd(m, n, pulses, [p + 0.5 * (m > 0) for p in pulses])
            write_file(tmp_path / f"LPD{m}-S{s}.h5", ids, part)
    run = open_run(tmp_path)
    want = [100 * t + i for t in sorted(counts) for i in range(counts[t])]
    flat = run.frames(layout="frame")
    assert_array_equal(flat.pulse, want)
    assert_array_equal(flat.train, np.array(want) // 100)
    assert_array_equal(flat[:, 0, 0, 0], want)
    assert_array_equal(flat[:, 1, 0, 0], np.array(want) + 0.5)
    part = run.select_trains([1, 4]).frames(layout="frame")
    assert_array_equal(part[:, 0, 0, 0], part.pulse)
    stacked = run.detector().get_array("image.data", unstack_pulses=False)
    assert_array_equal(stacked[0, :, 0, 0], stacked.pulse)


# One module that does not agree.


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_the_module_with_another_count_is_named_and_can_be_left_out(odd, tmp_path):
    run = lpd_run(
        tmp_path,
        lambda m, s: lpd(m, [1, 1 + (m == odd)], [3, 3, 5][: 2 + (m == odd)], m),
    )
    with pytest.raises(InconsistentDataError, match=f"/{odd}CH0:output has 2"):
        run.frames()
    good = [m for m in range(3) if m != odd]
    assert_array_equal(run.frames(modules=good)[:, 0, :, 0, 0], [good, good])
    alone = run.frames(modules=odd, layout="frame")
    assert_array_equal(alone.pulse, [3, 3, 5])
    with pytest.raises(InconsistentDataError):
        run.detector()


@pytest.mark.parametrize("odd", [0, 1])
def test_of_two_modules_the_one_that_changes_is_named(odd, tmp_path):
    for m in (0, 1):
        counts = [2, 1 if m == odd else 2, 2]
        pulses = [p for n in counts for p in (4, 9)[:n]]
        write_file(tmp_path / f"L{m}.h5", [1, 2, 3], lpd(m, counts, pulses, m))
    run = open_run(tmp_path)
    with pytest.raises(InconsistentDataError, match=f"train 2 .*/{odd}CH0:output has"):
        run.frames()
    det = run.detector(modules=[1 - odd])
    assert_array_equal(det["image.data"].ndarray()[0, :, 0, 0], [1 - odd] * 6)


@pytest.mark.parametrize("odd", [0, 2])
def test_the_module_with_junk_pulses_is_named_and_can_be_left_out(odd, tmp_path):
    run = lpd_run(
        tmp_path, lambda m, s: lpd(m, [2, 2], [0] * 4 if m == odd else [1, 6] * 2, m)
    )
    good = [m for m in range(3) if m != odd]
    with pytest.raises(InconsistentDataError) as caught:
        run.frames()
    assert f"module {odd} has [0, 0]" in str(caught.value)
    assert f"modules={good}" in str(caught.value)
    assert_array_equal(run.frames(modules=good).pulse, [1, 6])


def test_a_train_that_only_other_modules_have_keeps_its_place(tmp_path):
    def part(m, s):
        counts = [2, 0] if m == 1 else [2, 2]
        return lpd(m, counts, [1, 6] * (sum(counts) // 2), m + 1)

    frames = lpd_run(tmp_path, part).frames(modules=1)
    assert frames.train.values.tolist() == [100, 101]
    assert_array_equal(frames[:, :, 0, 0, 0], [[2, 2], [np.nan, np.nan]])


# An index that points elsewhere.

FAR = {
    "2**63": np.array([0, 2**63, 2], np.uint64),
    "2**64 - 1": np.array([0, 2**64 - 1, 2], np.uint64),
    "negative": np.array([0, -1, 2], np.int64),
    "beyond the end": np.array([0, 3, 2], np.uint64),
    "far beyond": np.array([0, 2**40, 2], np.uint64),
    "2**63 / 16": np.array([0, 2**59, 2], np.uint64),
}


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("far", FAR)
def test_rows_that_are_not_there_are_never_others(far, cells, tmp_path):
    part = jungfrau(1, 3, cells=cells, first=FAR[far])
    path = write_file(tmp_path / "J.h5", [1, 2, 3], part)
    run = open_run(tmp_path)
    reads = (
        lambda: run.frames().compute(),
        lambda: run.frames(layout="frame").compute(),
        lambda: run[part.source, "data.adc"].ndarray(),
        lambda: run.scalars([(part.source, "data.memoryCell")]),
        lambda: run.train_from_id(2)[1][part.source]["data.adc"],
        lambda: run.detector().write_virtual_cxi(tmp_path / "x.cxi"),
    )
    for read in reads:
        with pytest.raises(BrokenFileError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert part.source in str(caught.value)
    good = run.select_trains([0, 2])
    assert (good.frames().compute() == 1).all()


@pytest.mark.parametrize("far", ["2**63", "negative", "beyond the end"])
@pytest.mark.parametrize("which", ["first", "count"])
def test_labels_of_rows_that_are_not_there_are_refused(which, far, tmp_path):
    part = lpd(0, [1, 1, 1], [3, 4, 5])
    path = write_file(tmp_path / "L.h5", [1, 2, 3], part)
    with h5py.File(path, "r+") as f:
        index = f[f"INDEX/{part.source}/image"]
        del index[which]
        index[which] = FAR[far] if which == "first" else FAR[far][[1, 1, 1]]
    with pytest.raises(BrokenFileError, match=part.source):
        open_run(tmp_path).frames().compute()


def test_counts_that_fill_the_memory_are_refused_at_once(tmp_path):
    slow = Slow("A/B/C", {"v": np.arange(3)})
    path = write_file(tmp_path / "S.h5", [1, 2, 3], slow)
    with h5py.File(path, "r+") as f:
        f["INDEX/A/B/C/count"][1] = 2**45
    with pytest.raises(BrokenFileError, match="trains: 2"):
        open_run(tmp_path)["A/B/C", "v"].ndarray()


@pytest.mark.parametrize("last", [2**63 + 1, 2**64 - 1])
def test_the_old_index_is_checked_too(last, tmp_path):
    part = Fast(CAMERA, "data", [1, 1, 1], {"v": np.arange(3.0)})
    path = write_file(tmp_path / "C.h5", [1, 2, 3], part, version="0.5")
    with h5py.File(path, "r+") as f:
        index = f[f"INDEX/{CAMERA}/data"]
        del index["count"]
        index["last"] = np.array([0, last, 2], np.uint64)
        index["status"] = np.array([1, 1, 1], np.uint32)
    with pytest.raises(BrokenFileError, match=r"C.h5"):
        open_run(tmp_path)[CAMERA, "data.v"].ndarray()


def test_an_old_index_of_trains_without_data_may_hold_anything(tmp_path):
    part = Fast(CAMERA, "data", [1, 0, 0, 1], {"v": np.arange(2.0)})
    path = write_file(tmp_path / "C.h5", [1, 2, 3, 4], part, version="0.5")
    with h5py.File(path, "r+") as f:
        index = f[f"INDEX/{CAMERA}/data"]
        del index["count"], index["first"]
        index["first"] = np.array([0, 0, 2**63, 1], np.uint64)
        index["last"] = np.array([0, 2**64 - 1, 5, 1], np.uint64)
        index["status"] = np.array([1, 0, 0, 1], np.uint32)
    assert_array_equal(open_run(tmp_path)[CAMERA, "data.v"].ndarray(), [0, 1])


@pytest.mark.parametrize(
    "labels",
    [np.array([-1, -1]), np.array([1.5, 1.5]), np.array([b"a", b"b"]), np.ones((2, 2))],
)
def test_labels_that_are_no_numbers_are_refused(labels, tmp_path):
    def part(m, s):
        one = lpd(m, [1, 1], [3, 3])
        if m == 1:
            one.data["pulseId"] = labels
        return one

    run = lpd_run(tmp_path, part)
    with pytest.raises(InconsistentDataError, match=r"/1CH0.*modules=\[0, 2\]"):
        run.frames()
    assert run.frames(modules=[0, 2]).pulse.values.tolist() == [3]


@pytest.mark.parametrize("layout", ["train", "frame"])
def test_a_jungfrau_module_without_a_mask(layout, tmp_path):
    for m in (1, 2):
        part = jungfrau(m, 2, cells=2)
        if m == 2:
            part.data["mask"] = np.full((2, 2, 512, 1024), 9, "u4")
        write_file(tmp_path / f"J{m}.h5", [1, 2], part)
    run = open_run(tmp_path)
    with pytest.warns(UserWarning, match=r"data.mask.*module 1"):
        frames = run.frames(layout=layout)
    assert np.isnan(frames.sel(module=2)).all()
    assert (frames.sel(module=1) == 1).all()


# What is written of such data.


def test_a_virtual_cxi_shows_modules_as_they_are(tmp_path):
    """Other dtypes, an absent module, one without a mask."""

    def part(m, s):
        one = lpd(m, [1, 1], [4, 4], m + 0.5, dtype=["f4", "f8", "f4"][m])
        one.data["gain"] = np.full((2, 256, 256), m, "u1")
        if m != 2:
            one.data["mask"] = np.full((2, 256, 256), 7 + m, ["u4", "u2"][m])
        if m == 1:
            one.data["cellId"] = one.data["cellId"][:, None]
        return one

    run = lpd_run(tmp_path / "run", part)
    with pytest.warns(UserWarning, match="image.mask"):
        run.detector().write_virtual_cxi(tmp_path / "x.cxi")
    with h5py.File(tmp_path / "x.cxi") as f:
        detector = f["entry_1/instrument_1/detector_1"]
        data, mask = detector["data"][()], detector["mask"][()]
        assert f["entry_1/pulseId"][()].tolist() == [4, 4]
        assert f["entry_1/cellId"][:, :3].tolist() == [[4, 4, 4]] * 2
    assert data.shape == (2, 16, 256, 256)
    assert data.dtype == "f8"
    assert_array_equal(data[:, :4, 9, 9], [[0.5, 1.5, 2.5, np.nan]] * 2)
    assert_array_equal(mask[:, :4, 9, 9], [[7, 8, 0, 2**32 - 1]] * 2)


def test_memory_cells_of_a_virtual_cxi_follow_the_trains(tmp_path):
    part = jungfrau(1, 2, cells=2)
    part.data["memoryCell"][1] = [5, 6]
    write_file(tmp_path / "J.h5", [1, 2], part)
    open_run(tmp_path).detector().write_virtual_cxi(tmp_path / "x.cxi")
    with h5py.File(tmp_path / "x.cxi") as f:
        assert f["entry_1/memoryCell"][()].tolist() == [0, 1, 5, 6]
        assert f["entry_1/trainId"][()].tolist() == [1, 1, 2, 2]


def test_frames_are_copied_from_files_that_differ(tmp_path):
    def part(m, s):
        one = lpd(m, [2, 2], [1, 6] * 2, 10 * s + m, dtype=["f4", "f8"][s])
        if s:
            one.data["pulseId"] = one.data["pulseId"][:, None]
        return one

    run = lpd_run(tmp_path / "run", part, 2)
    run.detector().write_frames(tmp_path / "out.h5", [101, 102], [6, 1])
    copy = open_run(tmp_path / "out.h5")
    frames = copy.frames(layout="frame")
    assert frames.train.values.tolist() == [101, 102]
    assert frames.pulse.values.tolist() == [6, 1]
    assert_array_equal(frames[..., 0, 0], [[0, 1, 2], [10, 11, 12]])


def test_trains_of_a_detector_leave_out_modules_that_lack_a_key(tmp_path):
    run = lpd_run(tmp_path, lambda m, s: masked(m, s, {(1, 0)}))
    with pytest.warns(UserWarning, match="module 1"):
        ((_, first), _) = run.detector().trains()
    assert first["image.mask"].module.values.tolist() == [0, 2]
    assert first["image.data"].module.values.tolist() == [0, 1, 2]


# Units.


@pytest.mark.parametrize("symbols", [("J", "m"), ("J", None), ("J", "J")])
def test_a_unit_that_changes_is_refused(symbols, tmp_path):
    for i, symbol in enumerate(symbols):
        slow = Slow("HED_X/Y/Z", {"energy": np.array([1.0 * i])})
        path = write_file(tmp_path / f"S{i}.h5", [10 + i], slow)
        with h5py.File(path, "r+") as f:
            if symbol is not None:
                f["CONTROL/HED_X/Y/Z/energy"].attrs["unitSymbol"] = symbol
    run = open_run(tmp_path)
    if symbols == ("J", "m"):
        with pytest.raises(InconsistentDataError, match=r"in J in.*in m in"):
            run.scalars(["HED_X/Y/Z.energy"])
        run = run.select_trains([0])
    assert run.scalars(["HED_X/Y/Z.energy"])["HED_X/Y/Z.energy"].attrs["units"] == "J"


def test_what_differs_is_still_described(tmp_path, capsys):
    run = sequence(tmp_path, full((6,), 1, "u4"), full((9,), 2, "u4"))
    run.info("*")
    assert "differs between files" in capsys.readouterr().out


# Trains and pulses as axes of their own.


@pytest.mark.parametrize(
    ("dtype", "want"),
    [
        ("u1", "f4"),
        ("i2", "f4"),
        ("u2", "f4"),
        ("i4", "f8"),
        ("u8", "f8"),
        ("f4", "f4"),
    ],
)
def test_missing_combinations_promote_as_xarray_does(dtype, want, tmp_path):
    def part(m, s):
        top = 2**53 - 1 if dtype == "u8" else 100
        return lpd(m, [2, 1], [3, 8, 3], [1, 2, 3], extra=np.full(3, top, dtype))

    det = lpd_run(tmp_path, part).detector()
    got = det.get_array("image.extra")
    assert got.dtype == want
    assert np.isnan(got[:, 1, 1]).all()
    whole = det.get_array("image.extra", unstack_pulses=False)
    assert whole.dtype == dtype
    assert_array_equal(got[:, 0, 0], whole[:, 0])
    full = det.select_trains([1]).get_array("image.extra")
    assert full.dtype == dtype


def test_rounding_of_large_integers_is_told(tmp_path):
    run = lpd_run(
        tmp_path,
        lambda m, s: lpd(m, [2, 1], [3, 8, 3], extra=np.full(3, 2**60 + 1, "u8")),
    )
    with pytest.warns(UserWarning, match="image.extra .*rounded"):
        run.detector().get_array("image.extra")
    got = run.detector().get_array("image.extra", unstack_pulses=False)
    assert (got == np.uint64(2**60 + 1)).all()
