"""Frames of simulated runs against the truth, frame by frame and pixel by pixel."""

import os
import pickle
import warnings

import dask
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xfelred import by_id, by_index, open_run
from xfelred.errors import InconsistentDataError, SelectionEmptyError
from xfelred.synth.euxfel import write_run

KINDS = {
    "AGIPD1M corrected": {"modules": (0, 5)},
    "AGIPD500K raw": {"kind": "AGIPD500K", "corrected": False, "modules": (1, 7)},
    "LPD1M corrected": {"kind": "LPD1M", "modules": (0, 9)},
    "LPDSolo raw": {"kind": "LPDSolo", "corrected": False},
    "DSSC1M corrected": {"kind": "DSSC1M", "modules": (1,)},
    "JUNGFRAU raw": {"kind": "JUNGFRAU", "corrected": False, "modules": (1, 2)},
    "old corrected source": {
        "modules": (0, 3), "source": "{detector}/DET/{module}CH0:xtdf",
    },
    "old index": {"modules": (0, 3), "format_version": "0.5"},
    "legacy links": {"modules": (0, 3), "legacy_sources": True},
    "garbage rows": {"modules": (0,), "gap_rows": 2, "tail_rows": 3, "padding": 5},
}  # fmt: skip


def frames_of(truth, **options):
    """Frames as they are in the files; what padding says is no matter here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is padding", UserWarning)
        return open_run(truth.directory).frames(**{"bad_pixels": None} | options)


def check_flat(truth, flat):
    """Compare every frame of a flat array to the truth."""
    values = flat.values
    nothing = np.nan if values.dtype.kind == "f" else 0
    for i in range(flat.sizes["frame"]):
        gain = int(flat.gain[i]) if "gain" in flat.coords else 0
        train, pulse = int(flat.train[i]), int(flat.pulse[i])
        for j, module in enumerate(flat.module.values):
            there = truth.recorded(train, int(module))
            assert bool(flat.available[i, j]) == there
            if there:
                assert_array_equal(
                    values[i, j], truth.frame(train, pulse, int(module), gain)
                )
            else:
                assert_array_equal(values[i, j], np.full(values.shape[2:], nothing))


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_every_kind_equal_the_truth_in_both_layouts(kind, tmp_path):
    truth = write_run(tmp_path, n_trains=2, pulses=2, **KINDS[kind])
    dense, flat = frames_of(truth), frames_of(truth, layout="frame")
    pixel = ("data_gain", "slow_scan", "fast_scan")[-len(truth.stored[0]) :]
    assert dense.dims == ("train", "pulse", "module", *pixel)
    assert dense.dtype == truth.stored[1]
    assert dense.module.values.tolist() == list(truth.modules)
    assert_array_equal(dense.values, truth.frames())
    assert flat.dims == ("frame", "module", *pixel)
    assert flat.sizes["frame"] == 4
    assert {"train", "pulse", "cell", "available"} <= set(flat.coords)
    check_flat(truth, flat)


def test_ragged_trains_with_holes_equal_the_truth(ragged_run):
    with pytest.warns(UserWarning, match="padding"):
        dense = open_run(ragged_run.directory).frames(bad_pixels=None)
    held = [t for t in ragged_run.train_ids.tolist() if len(ragged_run.pulse_ids(t))]
    rows = dense.sel(train=held)
    assert_array_equal(rows.values, ragged_run.frames())
    for i, train in enumerate(dense.train.values):
        ids = ragged_run.pulse_ids(int(train))
        assert int(dense.n_pulses[i]) == len(ids)
        assert_array_equal(dense.recorded[i], np.isin(dense.pulse, ids))
        for j, module in enumerate(dense.module.values):
            there = ragged_run.recorded(int(train), int(module))
            assert bool(dense.available[i, j]) == there


def test_ragged_trains_need_no_padding_as_single_frames(ragged_run):
    flat = frames_of(ragged_run, layout="frame")
    trains = ragged_run.train_ids.tolist()
    ids = [(t, p) for t in trains for p in ragged_run.pulse_ids(t).tolist()]
    assert list(zip(flat.train.values, flat.pulse.values, strict=True)) == ids
    cells = np.concatenate([ragged_run.cell_ids(t) for t in trains])
    assert_array_equal(flat.cell, cells)
    assert "recorded" not in flat.coords
    check_flat(ragged_run, flat)


def test_pulses_by_position_are_counted_in_each_train(ragged_run):
    dense = frames_of(ragged_run, pulses=by_index[1:3], roi=np.s_[:2, :2])
    for i, train in enumerate(dense.train.values):
        ids = ragged_run.pulse_ids(int(train))[1:3]
        assert_array_equal(dense.pulse[dense.recorded.values[i]], ids)
    flat = frames_of(ragged_run, pulses=np.s_[1:3], layout="frame")
    check_flat(ragged_run, flat)


@pytest.mark.parametrize("chosen", [4, [0, 10], slice(2, 11)])
def test_pulses_by_id_equal_a_selection_afterwards(chosen, ragged_run):
    full = frames_of(ragged_run, roi=np.s_[:4, :4])
    few = frames_of(ragged_run, pulses=by_id[chosen], roi=np.s_[:4, :4])
    labels = chosen if isinstance(chosen, slice) else np.atleast_1d(chosen)
    if isinstance(chosen, slice):
        labels = full.pulse.values[(full.pulse.values >= 2) & (full.pulse.values < 11)]
    assert_array_equal(few.pulse, labels)
    assert_array_equal(few.values, full.sel(pulse=labels).values)


def test_trains_modules_pulses_and_pixels_chosen_before_or_after(agipd_run):
    run = open_run(agipd_run.directory)
    before = run.select_trains(by_id[[10001, 10003]]).frames(
        bad_pixels=None, modules=[3, 15], pulses=by_id[[0, 8]], roi=np.s_[3:9, 5:70:2]
    )
    full = run.frames(bad_pixels=None)
    after = full.sel(train=[10001, 10003], module=[3, 15], pulse=[0, 8])
    after = after.isel(slow_scan=slice(3, 9), fast_scan=slice(5, 70, 2))
    truth = agipd_run.frames()[[1, 3]][:, [0, 2]][:, :, [1, 3]][..., 3:9, 5:70:2]
    assert_array_equal(before.values, truth)
    assert_array_equal(after.values, truth)
    assert before.slow_scan.values.tolist() == list(range(3, 9))
    assert before.fast_scan.values.tolist() == list(range(5, 70, 2))
    assert_array_equal(full.sel(train=10002, pulse=4).values, agipd_run.frames()[2, 1])


@pytest.mark.parametrize("seed", range(4))
def test_random_indexing_equals_numpy(seed, ragged_run):
    rng = np.random.default_rng(seed)
    lazy = frames_of(ragged_run, chunk_size=["1MiB", "128MiB"][seed % 2])
    want = lazy.values
    for axis, dim in enumerate(lazy.dims):
        n = lazy.sizes[dim]
        start, stop = np.sort(rng.integers(0, n + 1, 2)).tolist()
        picked = (slice(start, stop, 2), rng.integers(0, n, 3))[int(rng.integers(2))]
        lazy = lazy.isel({dim: picked})
        want = np.take(want, np.arange(n)[picked], axis=axis)
    assert_array_equal(lazy.compute().values, want)


def bytes_read(array):
    def total():
        with open("/proc/self/io") as io:
            return int(io.readline().split()[1])

    with dask.config.set(scheduler="synchronous"):
        array.compute()
        before = total()
        array.compute()
    return total() - before


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="counts with procfs")
@pytest.mark.parametrize(
    "pick",
    [
        lambda x: x.isel(module=0),
        lambda x: x.isel(train=2),
        lambda x: x.isel(train=[0, 4], module=[1, 2]),
        lambda x: x.isel(pulse=1),
    ],
)
def test_a_selection_reads_only_its_bytes(pick, agipd_run):
    picked = pick(frames_of(agipd_run))
    assert bytes_read(picked) < 1.1 * picked.nbytes + 100_000


def test_missing_trains_are_filled_dropped_or_refused(ragged_run):
    roi = np.s_[:2, :2]
    # Train 10002 has no pulse in any module.
    filled = frames_of(ragged_run, roi=roi)
    assert filled.train.values.tolist() == [10000, 10001, 10003, 10004]
    assert not filled.available.sel(module=3).values[[1, 2]].any()
    dropped = frames_of(ragged_run, roi=roi, missing="drop")
    assert dropped.train.values.tolist() == [10000, 10004]
    assert bool(dropped.available.all())
    few = frames_of(ragged_run, roi=roi, missing="drop", modules=[0, 15])
    assert few.train.values.tolist() == [10000, 10001, 10003, 10004]
    with pytest.raises(InconsistentDataError, match="module 3"):
        frames_of(ragged_run, roi=roi, missing="raise")


def test_fill_value_stands_where_nothing_was_recorded(ragged_run):
    got = frames_of(ragged_run, fill_value=-7)
    held = [t for t in ragged_run.train_ids.tolist() if len(ragged_run.pulse_ids(t))]
    assert_array_equal(got.sel(train=held).values, ragged_run.frames(fill_value=-7))


def test_bad_pixels_are_nan_kept_or_left_alone(agipd_run):
    run, bits = open_run(agipd_run.directory), agipd_run.bad_pixels
    plain = agipd_run.frames()
    assert bits.any()
    applied = run.frames()
    assert applied.dtype == np.float32
    assert_array_equal(applied.values, np.where(bits != 0, np.nan, plain))
    kept = run.frames(bad_pixels="keep")
    assert_array_equal(kept.values, plain)
    assert kept.bad_pixels.dtype.kind == "u"
    assert_array_equal(
        kept.bad_pixels.values, np.broadcast_to(bits, kept.bad_pixels.shape)
    )
    untouched = run.frames(bad_pixels=None)
    assert_array_equal(untouched.values, plain)
    assert "bad_pixels" not in untouched.coords


def test_kept_bits_follow_derived_data_and_selections(agipd_run):
    kept = open_run(agipd_run.directory).frames(bad_pixels="keep", roi=np.s_[:64, :64])
    double = (kept * 2).isel(module=[3, 0]).compute()
    bits = agipd_run.bad_pixels[[3, 0], :64, :64]
    assert_array_equal(double[0, 0], agipd_run.frames()[0, 0, [3, 0], :64, :64] * 2)
    assert_array_equal(double.bad_pixels[0, 0], bits)


def test_integers_cannot_hold_nan_for_bad_pixels(agipd_run):
    with pytest.raises(ValueError, match="keep"):
        frames_of(agipd_run, astype="i4", bad_pixels="apply")
    got = frames_of(agipd_run, astype="i4", roi=np.s_[:8, :8])
    assert got.dtype == np.int32
    assert_array_equal(got.values, agipd_run.frames()[..., :8, :8].astype("i4"))


def test_half_precision_is_cast_while_reading(agipd_run):
    got = frames_of(agipd_run, astype="f2", roi=np.s_[:8, :8])
    assert_array_equal(got.values, agipd_run.frames()[..., :8, :8].astype("f2"))


def test_raw_agipd_has_signal_and_gain(agipd_raw_run):
    got = frames_of(agipd_raw_run)
    assert got.dims[-3:] == ("data_gain", "slow_scan", "fast_scan")
    assert got.dtype == np.uint16
    assert_array_equal(got.values, agipd_raw_run.frames())
    signal = frames_of(agipd_raw_run, roi=np.s_[0])
    assert signal.dims == ("train", "pulse", "module", "slow_scan", "fast_scan")
    assert_array_equal(signal.values, agipd_raw_run.frames()[:, :, :, 0])
    gain = frames_of(agipd_raw_run, roi=np.s_[1, 3:5], layout="frame")
    assert_array_equal(gain[0, 0], agipd_raw_run.frame(10000, 0, 0)[1, 3:5])
    check_flat(agipd_raw_run, frames_of(agipd_raw_run, layout="frame"))


def test_parallel_gain_of_lpd_has_an_axis_of_stages(lpd_parallel_run):
    got = frames_of(lpd_parallel_run, parallel_gain=True)
    dims = ("train", "pulse", "gain", "module", "slow_scan", "fast_scan")
    assert got.dims == dims
    assert got.gain.values.tolist() == [0, 1, 2]
    assert_array_equal(got.values, lpd_parallel_run.frames())
    flat = frames_of(lpd_parallel_run, parallel_gain=True, layout="frame")
    assert flat.sizes["frame"] == 3 * 2 * 3
    check_flat(lpd_parallel_run, flat)


def test_dssc_frames_equal_the_truth(dssc_run):
    assert_array_equal(frames_of(dssc_run).values, dssc_run.frames())


def test_memory_cells_of_jungfrau_are_pulses(jungfrau_run):
    got = frames_of(jungfrau_run)
    assert_array_equal(got.values, jungfrau_run.frames())
    assert_array_equal(got.cell, jungfrau_run.cell_ids(10000))
    check_flat(jungfrau_run, frames_of(jungfrau_run, layout="frame"))
    cell = int(jungfrau_run.cell_ids(10000)[1])
    one = frames_of(jungfrau_run, pulses=by_id[cell])
    assert_array_equal(one.values, jungfrau_run.frames()[:, 1:])


def test_jungfrau_cells_that_change_cannot_be_named(tmp_path):
    cells = [[15, 0, 1], [0, 1, 2]]
    truth = write_run(
        tmp_path, kind="JUNGFRAU", modules=(1,), n_trains=2, pulses=3, cells=cells
    )
    assert frames_of(truth).cell.values.tolist() == cells
    with pytest.raises(InconsistentDataError, match="different cells"):
        frames_of(truth, pulses=by_id[1])


@pytest.mark.parametrize("layout", ["train", "frame"])
def test_keys_with_a_row_per_train_are_refused(layout, agipd_run, jungfrau_run):
    for truth, key in (
        (agipd_run, "header.pulseCount"),
        (jungfrau_run, "data.trainId"),
    ):
        with pytest.raises(ValueError, match="per train"):
            frames_of(truth, key=key, layout=layout)


def test_other_keys_of_frames_are_read_alike(agipd_run):
    stage = frames_of(agipd_run, key="image.gain")
    assert_array_equal(stage[2, 1], agipd_run.gain_stage)
    bits = frames_of(agipd_run, key="image.mask")
    assert_array_equal(bits[4, 2], agipd_run.bad_pixels)
    cells = frames_of(agipd_run, key="image.cellId")
    assert_array_equal(cells[:, :, 1], [agipd_run.cell_ids(t) for t in cells.train])


@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize(
    "options", [{"pulses": []}, {"modules": []}, {"roi": np.s_[0:0]}]
)
def test_an_empty_selection_is_an_empty_array_or_an_error(options, layout, agipd_run):
    try:
        got = frames_of(agipd_run, layout=layout, **options)
    except SelectionEmptyError:
        return
    assert 0 in got.compute().shape


@pytest.mark.parametrize("chunk_size", ["128MiB", "1MiB", "100kB", 1])
def test_blocks_of_any_size_hold_the_same_pixels(chunk_size, ragged_run):
    got = frames_of(ragged_run, chunk_size=chunk_size)
    assert_array_equal(got.values, frames_of(ragged_run, chunk_size="1GiB").values)


def test_building_computes_nothing(agipd_run, no_compute):
    with no_compute():
        for layout in ("train", "frame"):
            frames_of(agipd_run, layout=layout, bad_pixels="keep")


def test_frames_survive_pickling_and_keep_their_names(agipd_run):
    got = frames_of(agipd_run, roi=np.s_[:8, :8])
    assert pickle.loads(pickle.dumps(got)).equals(got)
    assert frames_of(agipd_run, roi=np.s_[:8, :8]).data.name == got.data.name
