"""Centres of rings in every frame: where the rings were put."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.geometry import Geometry

CENTRES = np.array([[39.0, 41.0], [40.5, 38.2], [42.3, 40.0], [np.nan, np.nan]])
DIMS = ("train", "slow_scan", "fast_scan")
GUESS = (40, 40, 22)


def rings(chunks=None, shape=(80, 84)):
    rng = np.random.default_rng(3)
    rows, columns = np.indices(shape)
    frames = [
        np.exp(-0.5 * ((np.hypot(columns - x, rows - y) - 22) / 1.5) ** 2)
        if np.isfinite(x) else np.zeros(shape)
        for x, y in CENTRES
    ]  # fmt: skip
    values = np.array(frames) + rng.normal(0, 0.02, (len(frames), *shape))
    da = xr.DataArray(values, {"train": [4, 5, 8, 9]}, DIMS)
    return da if chunks is None else da.chunk(train=chunks)


@pytest.mark.parametrize("chunks", [None, 1, 4])
def test_centres_are_where_the_rings_are(chunks, no_compute):
    da = rings(chunks)
    bad = xr.zeros_like(da[0], bool).drop_vars("train")
    bad[20:30, 20:40] = True
    da = da.where(~bad, 1e6)
    with no_compute():
        found = ops.fit_centre(da, GUESS, bad_pixels=bad)
    np.testing.assert_allclose(found["x"][:3], CENTRES[:3, 0], atol=0.03)
    np.testing.assert_allclose(found["y"][:3], CENTRES[:3, 1], atol=0.03)
    np.testing.assert_allclose(found["r"][:3], 22, atol=0.03)
    assert np.isnan(found["x"][3])
    assert found["coverage"][3] == 0


def test_one_frame_and_modules_that_are_assembled():
    da = rings()
    one = ops.fit_centre(da[1], GUESS)
    assert one["x"].dims == ()
    np.testing.assert_allclose(one["x"], 40.5, atol=0.03)
    # The same image, cut into two modules.
    halves = np.stack([da.values[:, :40], da.values[:, 40:]], 1)
    modules = xr.DataArray(halves, da.coords, ("train", "module", *DIMS[1:]))
    y, x = np.indices((80, 84)) * 1e-4
    places = [v.reshape(2, 40, 84) for v in (x, y, np.full_like(x, 0.1))]
    geometry = Geometry.from_positions(*places, energy=9e3)
    found = ops.fit_centre(modules, GUESS, geometry=geometry)
    near = [found[k].values[:3] for k in ("x", "y")]
    image = ops.assemble(modules, geometry)
    assert image.shape[1:] == (80, 84)
    flipped = [np.allclose(v, CENTRES[:3, i], atol=0.03) for i, v in enumerate(near)]
    assert all(flipped)


def test_mistakes():
    with pytest.raises(ArgumentError, match="guess"):
        ops.fit_centre(rings(), (1, 2))
    with pytest.raises(GeometryMismatchError, match="modules"):
        ops.fit_centre(rings().expand_dims(module=2), GUESS)
