"""Gain flags and bits of raw words, and common mode below a cut: numpy."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import STEPS, bad_pixels, frames, plain
from xfelred import GeometryMismatchError, ops
from xfelred.ops import GainSwitch, Segment

CUTS = {
    "epixM": 1 << 15, "epixUHR": 1 << 11, "epixHR": 1 << 14, "epix100": 1 << 15,
    "jungfrau": 1 << 14, "epix10k": 1 << 14,
}  # fmt: skip


def words(dtype=np.uint16, chunks=3):
    rng = np.random.default_rng(6)
    da = frames(None, dtype).copy()
    top = min(np.iinfo(dtype).max, 65535)
    da.values[...] = rng.integers(0, top, da.shape, endpoint=True)
    da[0] = 0
    return da.chunk(train=chunks) if chunks else da


@pytest.mark.parametrize("detector", CUTS)
def test_switched_pixels_and_numbers(detector):
    da, cut = words(), CUTS[detector]
    flags = ops.switched_pixels(da, detector=detector)
    assert flags.dtype == bool
    np.testing.assert_array_equal(flags, da.values >= cut)
    numbers = ops.strip_gain_bits(da, detector=detector.upper())
    assert numbers.dtype == np.uint16
    np.testing.assert_array_equal(numbers, da.values % cut)
    np.testing.assert_array_equal(ops.switched_pixels(da, detector=cut), flags)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_negative_gain(dtype):
    da = words(dtype)
    found = ops.invert_negative_gain(da, detector="epixM").compute()
    raw = da.values.astype(int)
    mask = (1 << 15) - 1
    wanted = (raw & ~mask) + (mask - (raw & mask))
    np.testing.assert_array_equal(found, np.where(raw == 0, 0, wanted))
    assert found.dtype == dtype
    same = ops.invert_negative_gain(da, detector="jungfrau")
    np.testing.assert_array_equal(same, da)
    own = ops.invert_negative_gain(da, detector=GainSwitch((4, 4), 1 << 15, True))
    np.testing.assert_array_equal(own, found)


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
def test_bits_are_counted(chunks):
    da = words(chunks=chunks)
    found = ops.bit_slices(da, ("train", "pulse"), by="step").compute()
    assert found.dims == ("step", "bit", "module", "slow_scan", "fast_scan")
    raw = plain(da).astype(int)
    for i, s in enumerate((0, 3, 7)):
        for bit in (0, 7, 15):
            wanted = ((raw[s == STEPS] >> bit) & 1).sum(axis=0)
            np.testing.assert_array_equal(found[i].sel(bit=bit), wanted)
    whole = ops.bit_slices(da, ("train", "pulse"), n_bits=4).compute()
    np.testing.assert_array_equal(whole, found.sum("step")[:4])
    assert whole.dtype == np.int64


def test_raw_words_only():
    with pytest.raises(ValueError, match="raw integers"):
        ops.switched_pixels(frames(3), detector="epixM")
    with pytest.raises(ValueError, match="hold no gain flag 32768"):
        ops.strip_gain_bits(words(np.int16), detector="epixM")
    with pytest.raises(ValueError, match="Did you mean 'epixm'"):
        ops.switched_pixels(words(), detector="epixN")
    with pytest.raises(ValueError, match="power of two"):
        ops.switched_pixels(words(), detector=1000)
    with pytest.raises(ValueError, match="17 bits"):
        ops.bit_slices(words(), n_bits=17)


def test_building_computes_nothing(no_compute):
    da = words()
    with no_compute():
        out = [
            ops.switched_pixels(da, detector="epixM"),
            ops.strip_gain_bits(da, detector="epixM"),
            ops.invert_negative_gain(da, detector="epixM"),
            ops.bit_slices(da, by="step"),
            ops.subtract_common_mode_below(
                da, ("row", "region"), cut=5, switched=da > 9
            ),
        ]
    for array in out:
        assert array.chunks is not None
        assert array.attrs["units"]
        assert array.attrs["history"].startswith("made {}\n")


# -- common mode below a cut -----------------------------------------------------------


def below_by_hand(frame, group, cut, ignored):
    out, (h, w) = frame.copy(), group
    for m in range(len(frame)):
        for r in range(0, frame.shape[1], h):
            for c in range(0, frame.shape[2], w):
                at = (m, slice(r, r + h), slice(c, c + w))
                some = frame[at][(frame[at] < cut) & ~ignored[at]]
                if some.size:
                    out[at] -= np.median(some)
    return out


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
@pytest.mark.parametrize(
    ("kind", "group"), [("row", (1, 4)), ("column", (3, 1)), ("region", (6, 8))]
)
def test_common_mode_below_a_cut(chunks, kind, group):
    da = frames(chunks, shape=(2, 6, 8), missing=0.05)
    rng = np.random.default_rng(1)
    flags = xr.DataArray(rng.random(da.shape) < 0.2, da.coords, da.dims)
    bad = bad_pixels((2, 6, 8))
    found = ops.subtract_common_mode_below(
        da, kind, cut=1002, switched=flags, bad_pixels=bad,
        segment=None if kind == "region" else Segment((6, 8), banks=2, halves=2),
    )  # fmt: skip
    assert found.dtype == np.float32
    assert found.dims == da.dims
    ignored = np.broadcast_to(bad.values[::-1], da.shape)
    ignored = ignored if kind == "row" else ignored | flags.values
    masks = ignored.reshape(-1, 2, 6, 8)
    for got, frame, mask in zip(plain(found), plain(da), masks, strict=True):
        np.testing.assert_allclose(
            got, below_by_hand(frame, group, 1002, mask), atol=1e-4
        )


def test_region_is_taken_from_everything():
    da = frames(3)
    found = ops.subtract_common_mode_below(da, "region", region=[(1, 3), (2, 9)])
    x = plain(da)
    wanted = x - np.median(x[:, :, 1:3, 2:], axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(plain(found), wanted, atol=1e-4)


def test_empty_groups_stay():
    da = frames(3)
    same = ops.subtract_common_mode_below(da, ("row", "column", "region"), cut=0)
    np.testing.assert_array_equal(same, da)


def test_wrong_groups():
    with pytest.raises(ValueError, match="groups is empty"):
        ops.subtract_common_mode_below(frames(3), ())
    with pytest.raises(ValueError, match="region="):
        ops.subtract_common_mode_below(frames(3), "row", region=[(0, 1), (0, 1)])
    with pytest.raises(ValueError, match="kind='rows' must be one of 'row'"):
        ops.subtract_common_mode_below(frames(3), "rows")
    with pytest.raises(GeometryMismatchError):
        ops.subtract_common_mode_below(frames(3), "row", segment=(5, 5))
