"""`ops.gain_index` against the table of control words."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import GeometryMismatchError, MissingConstantError

PIXELS = ("slow_scan", "fast_scan")


def index_of(c):
    """The rules for a control word, in their order."""
    for mask, value, index in [
        (28, 28, 0), (28, 12, 1), (12, 8, 2), (60, 16, 3), (60, 0, 4), (60, 48, 5),
        (60, 32, 6),
    ]:  # fmt: skip
        if c & mask == value:
            return index
    return 255


@pytest.mark.parametrize("kind", ["epix10ka", "epix10kQuad", "epixhr"])
@pytest.mark.parametrize("trbit", [None, 0, 1])
def test_every_control_word(kind, trbit, no_compute):
    config, bit = np.meshgrid(np.arange(32), [0, 1])
    da = xr.DataArray((bit << 14 | 77).astype("u2"), dims=PIXELS)
    with no_compute():
        out = ops.gain_index(da.chunk(), kind=kind, config=config, trbit=trbit)
    word = (config if trbit is None else config & 15 | trbit << 4) | bit << 5
    assert out.dtype == np.uint8
    assert out.attrs["units"] == "1"
    assert out.attrs["history"].startswith("gain_index")
    want = [[index_of(c) for c in row] for row in word]
    np.testing.assert_array_equal(out.values, want)


def test_codes_of_other_detectors():
    raw = np.arange(8, dtype="u2")[None] << 12
    da = xr.DataArray(raw, dims=PIXELS)
    got = ops.gain_index(da, kind="lpd").values
    np.testing.assert_array_equal(got, [[0, 1, 2, 255, 0, 1, 2, 255]])
    da = xr.DataArray(raw << 2, dims=PIXELS)
    got = ops.gain_index(da, kind="jungfrau").values
    np.testing.assert_array_equal(got, [[0, 1, 255, 2, 0, 1, 255, 2]])


def test_configuration_is_looked_up_by_module():
    da = xr.DataArray(
        np.zeros((2, 4, 6), "u2"), dims=("module", *PIXELS), coords={"module": [3, 1]}
    )
    config = xr.DataArray(
        np.full((2, 4, 6), [[[8]], [[12]]]), dims=("module", *PIXELS),
        coords={"module": [1, 3]},
    )  # fmt: skip
    got = ops.gain_index(da, kind="epix10ka", config=config, trbit=np.array([1, 0]))
    assert got.values[:, 0, 0].tolist() == [0, 2]
    asics = np.array([[1, 0], [0, 1]])
    got = ops.gain_index(da, kind="epix10ka", config=config, trbit=asics).values[0]
    np.testing.assert_array_equal(got, 1 - asics.repeat(2, 0).repeat(3, 1))


def test_what_is_missing_or_wrong_is_an_error():
    da = xr.DataArray(np.zeros((4, 6), "u2"), dims=PIXELS)
    with pytest.raises(MissingConstantError, match="config="):
        ops.gain_index(da, kind="epix10ka")
    with pytest.raises(GeometryMismatchError, match="config has shape"):
        ops.gain_index(da, kind="epix10ka", config=np.zeros((3, 6), int))
    with pytest.raises(ValueError, match="integer bits"):
        ops.gain_index(da, kind="epix10ka", config=np.zeros((4, 6)))
    with pytest.raises(ValueError, match="calibrated already"):
        ops.gain_index(da.astype("f4"), kind="jungfrau")
    with pytest.raises(ValueError, match="hold no gain bits"):
        ops.gain_index(da, kind="camera")
    with pytest.raises(ValueError, match="Did you mean 'jungfrau'"):
        ops.gain_index(da, kind="jungfau")
