"""Integer frames of which some were not recorded: a gap never counts as a number."""

import warnings

import numpy as np
import pytest

import xfelred as xf
from xfelred import ops, synth

GAP = {(3, 10002), (5, 10004)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """LPD: modules without some trains."""
    path = tmp_path_factory.mktemp("lpd") / "r1"
    synth.euxfel.write_run(
        path, kind="LPD1M", corrected=False, modules=(3, 5), n_trains=6, pulses=[0, 2],
        missing=GAP, first_train=10000,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def ragged(tmp_path_factory):
    """DSSC: the third train has fewer pulses."""
    path = tmp_path_factory.mktemp("dssc") / "r2"
    synth.euxfel.write_run(
        path, kind="DSSC1M", corrected=False, modules=(0, 1), n_trains=4,
        pulses=[[0, 1, 4], [0, 1, 4], [0, 4], [0, 1, 4]],
    )  # fmt: skip
    return path


@pytest.fixture(params=["raw", "ragged"])
def run(request):
    return xf.open_run(request.getfixturevalue(request.param))


def frames(run, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is padding")
        return run.frames(**options)


def counted(array):
    """What numpy makes of the frames that are there, by a loop over modules."""
    numbers = frames_of(array).astype(np.float64)
    there = np.broadcast_to(array.available.values[:, None], numbers.shape[:3]).copy()
    if "recorded" in array.coords:
        there &= array.recorded.values[..., None]
    return [numbers[:, :, m][there[:, :, m]] for m in range(array.sizes["module"])]


def frames_of(array):
    return array.transpose("train", "pulse", "module", ...).values


@pytest.mark.parametrize("name", ["mean", "std", "min", "max", "sum", "count"])
def test_xarray_reductions_are_those_of_what_was_recorded(run, name):
    array = frames(run)
    if name == "count":

        def wanted(x):
            return np.full(x.shape[1:], len(x))
    else:

        def wanted(x):
            return getattr(np, name)(x, axis=0)

    plain = getattr(array, name)(["train", "pulse"])
    loaded = getattr(array.compute(), name)(["train", "pulse"])
    ours = ops.statistics(array, ["train", "pulse"], which=(name,))[name]
    for m, numbers in enumerate(counted(array)):
        for found in (plain, loaded, ours):
            np.testing.assert_allclose(found.isel(module=m), wanted(numbers), 1e-5)


def test_arithmetic_and_comparisons_do_not_count_gaps(raw):
    array = xf.open_run(raw).frames()
    n = array.sizes["train"] * array.sizes["pulse"]
    shifted = (array - 7).mean(["train", "pulse"])
    low = (array < 1).sum(["train", "pulse"])
    for m, numbers in enumerate(counted(array)):
        assert len(numbers) == n - 2
        np.testing.assert_allclose(
            shifted.isel(module=m), numbers.mean(axis=0) - 7, rtol=1e-5
        )
        np.testing.assert_array_equal(low.isel(module=m), (numbers < 1).sum(axis=0))


def test_a_fill_value_keeps_integers(run):
    stored = frames(run).attrs["stored_dtype"]
    array = frames(run, fill_value=0)
    assert array.dtype == stored == "uint16"
    assert "stored_dtype" not in array.attrs
    filled = frames(run)
    np.testing.assert_array_equal(filled.where(filled.notnull(), 0), array)


def test_an_integer_astype_says_that_gaps_are_zero(raw):
    run = xf.open_run(raw)
    with pytest.warns(UserWarning, match="not recorded is 0 in int32"):
        assert run.frames(astype="int32").dtype == np.int32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.frames(astype="int32", fill_value=-1).dtype == np.int32


def test_without_gaps_integers_stay(raw):
    run = xf.open_run(raw)
    assert run.frames(missing="drop").dtype == np.uint16
    assert run.select_trains(np.s_[:2]).frames().dtype == np.uint16
    assert run.frames(modules=3).dtype == np.float32


def test_gain_bits_of_frames_with_gaps(raw):
    run = xf.open_run(raw)
    array, words = run.frames(), run.frames(fill_value=0)
    there = array.available.values[:, None, :, None, None]
    index = ops.gain_index(array, kind="lpd")
    wanted = np.where(there, (words.values >> 12) & 3, 255)
    np.testing.assert_array_equal(index, np.where(wanted == 3, 255, wanted))
    number = ops.strip_gain_bits(array, detector=1 << 12)
    np.testing.assert_array_equal(number, np.where(there, words.values & 4095, np.nan))
    set_bits = ops.bit_slices(array, ["train", "pulse"], n_bits=12)
    found = (words.values[..., None, :, :] >> np.arange(12)[:, None, None]) & 1
    found = np.where(there[..., None], found, 0).sum(axis=(0, 1))
    np.testing.assert_array_equal(
        set_bits.transpose("module", "bit", "slow_scan", "fast_scan"), found
    )


@pytest.mark.parametrize("touched", [False, True])
def test_calibration_takes_frames_with_gaps(raw, touched):
    run = xf.open_run(raw)
    array, words = run.frames(), run.frames(fill_value=0)
    darks = ops.dark_statistics(array, kind="lpd")
    constants = darks.drop_vars("bad_pixels").fillna(0)
    wanted = ops.calibrate(words, constants, kind="lpd")
    if touched:  # no recipe, no coordinates: NaN alone tells
        array = array.drop_vars("available") + np.float32(0)
    found = ops.calibrate(array, constants, kind="lpd")
    assert found.isnull().any()
    assert "stored_dtype" not in found.attrs
    np.testing.assert_array_equal(found, wanted)
    again = ops.dark_statistics(words, kind="lpd")
    np.testing.assert_array_equal(again["n_frames"], darks["n_frames"])
    np.testing.assert_array_equal(again["pedestal"], darks["pedestal"])


def test_numbers_that_are_no_words_any_more_are_refused(raw):
    array = xf.open_run(raw).frames() / 3
    with pytest.raises(ValueError, match="no whole numbers"):
        ops.gain_index(array, kind="lpd").compute()


def test_files_are_read_as_integers_for_calibration(raw):
    run = xf.open_run(raw)
    constants = ops.dark_statistics(run.frames(), kind="lpd")
    signal = ops.calibrate(run.frames(), constants, kind="lpd")
    whole = ops.calibrate(run.frames(fill_value=0), constants, kind="lpd")
    assert run.plan(signal).bytes_to_read == run.plan(whole).bytes_to_read


def test_bits_of_frames_with_gaps_say_what_to_do(raw):
    array = xf.open_run(raw).frames()
    for attempt in (
        lambda: array & 3, lambda: array >> 12, lambda: 3 & array, lambda: ~array,
        lambda: array ^ 1, lambda: array << 2, lambda: array | 1,
    ):  # fmt: skip
        with pytest.raises(xf.errors.NoBitsError, match=r"frames\(fill_value=0\)"):
            attempt()
    words = xf.open_run(raw).frames(fill_value=0)
    np.testing.assert_array_equal((words >> 12).values, words.values >> 12)


def test_a_cast_to_integers_says_that_gaps_are_lost(run):
    array = frames(run)
    with pytest.warns(UserWarning, match="NaN, which int32 does not have"):
        array.astype("i4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array.astype("f8")
        array.fillna(0).astype("i4")
        frames(run, fill_value=0).astype("i4")


def test_a_region_of_a_frame_that_was_not_recorded_is_no_zero(raw):
    run = xf.open_run(raw)
    found = ops.roi(run.frames(modules=3), [(0, 4), (0, 4)]).compute()
    gone = ~run.frames(modules=3).available.values[:, 0]
    assert gone.any()
    assert np.isnan(found["sum"].values[gone]).all()
    assert np.isnan(found["mean"].values[gone]).all()
    assert np.isfinite(found["sum"].values[~gone]).all()
    both = ops.roi(run.frames(), [(0, 2), (0, 4), (0, 4)])["sum"]
    assert np.isfinite(both).all()  # one of two modules is there
