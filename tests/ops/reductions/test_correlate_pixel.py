"""Correlation with one pixel: numpy.corrcoef, pixel by pixel."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import STEPS, bad_pixels, frames, plain
from xfelred import GeometryMismatchError, ops


def by_hand(values, at):
    reference = values[(slice(None), *at)]
    out = np.full(values.shape[1:], np.nan)
    for i in np.ndindex(out.shape):
        one = values[(slice(None), *i)]
        good = ~(np.isnan(one) | np.isnan(reference))
        x, y = one[good], reference[good]
        if len(x) > 1 and x.std() > 0 and y.std() > 0:
            out[i] = (np.mean(x * y) - x.mean() * y.mean()) / (x.std() * y.std())
    return out


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
@pytest.mark.parametrize("layout", ["train", "frame"])
def test_all_frames_and_steps(chunks, layout):
    da = frames(chunks, layout=layout)
    found = ops.correlate_pixel(da, (5, 3, 4)).compute()
    x = plain(da)
    assert found.dims == ("module", "slow_scan", "fast_scan")
    np.testing.assert_allclose(found, by_hand(x, (1, 3, 4)), atol=1e-8)
    assert found[1, 3, 4] == pytest.approx(1, abs=1e-12)
    found = ops.correlate_pixel(da, (5, 3, 4), by="step").compute()
    np.testing.assert_array_equal(found.step, [0, 3, 7])
    for i, s in enumerate((0, 3, 7)):
        wanted = by_hand(x[s == STEPS], (1, 3, 4))
        np.testing.assert_allclose(found[i], wanted, atol=1e-8)


def test_offset_and_scale_do_not_matter():
    da = frames(3, np.float64)
    found = ops.correlate_pixel(da, (2, 0, 0))
    np.testing.assert_allclose(
        ops.correlate_pixel(da * -3 + 1e6, (2, 0, 0)), found, atol=1e-9
    )


def test_nan_bad_and_constant_pixels():
    da = frames(3, missing=0.2).copy()
    da[:, :, 0, 0, 0] = 5
    bad = bad_pixels()
    found = ops.correlate_pixel(da, (2, 4, 4), bad_pixels=bad).compute()
    x = plain(da)
    x[:, bad.values[::-1]] = np.nan
    np.testing.assert_allclose(found, by_hand(x, (0, 4, 4)), atol=1e-8)
    assert np.isnan(found[0, 0, 0])


def test_single_module_without_the_dim():
    da = frames(3)[:, 0, 0].drop_vars("module")
    found = ops.correlate_pixel(da, (3, 4))
    np.testing.assert_allclose(found, ops.correlate_pixel(frames(3), (2, 3, 4))[0])


def test_result_is_labelled_and_lazy(no_compute):
    da = frames(3)
    with no_compute():
        out = ops.correlate_pixel(da, (2, 3, 4), by="step")
    assert out.chunks is not None
    assert out.name == "correlation"
    assert out.attrs["units"] == "1"
    assert out.attrs["long_name"] == "correlation with pixel (2, 3, 4)"
    assert [x.split()[0] for x in out.attrs["history"].splitlines()] == [
        "made", "correlate_pixel",
    ]  # fmt: skip


@pytest.mark.parametrize("pixel", [(3, 0, 0), (2, 7, 0), (2, 0, -1), (0, 0)])
def test_pixel_that_is_not_there(pixel):
    with pytest.raises(GeometryMismatchError, match=r"no module 3|outside|numbers"):
        ops.correlate_pixel(frames(3), pixel)
    with pytest.raises(ValueError, match="one frame only"):
        ops.correlate_pixel(
            xr.DataArray(np.ones((3, 4)), dims=("slow_scan", "fast_scan")), (1, 1)
        )
