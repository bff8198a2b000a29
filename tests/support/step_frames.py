"""Small frames in steps, for the tests of per-step operations."""

import numpy as np
import xarray as xr

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
STEPS = np.array([3, 0, 0, 7, 3, 7, 7, 0, 3, 3, 0])
MODULES = (2, 5)


def frames(chunks=3, dtype=np.float32, layout="train", missing=0.0, shape=(2, 7, 9)):
    """Frames (11, 1, 2, 7, 9) of steps that take turns, with a step and a flux."""
    rng = np.random.default_rng(4)
    values = rng.normal(1000, 20, (len(STEPS), 1, *shape))
    values = np.rint(values).astype(dtype)
    if missing:
        values[rng.random(values.shape) < missing] = np.nan
    coords = {
        "train": 50 + np.arange(len(STEPS)),
        "pulse": [0],
        "module": list(MODULES[: shape[0]]),
        "step": ("train", STEPS),
        "step_value": ("train", STEPS * 1.5),
    }
    da = xr.DataArray(
        values, coords, DIMS, attrs={"units": "adu", "history": "made {}"}
    )
    if layout == "frame":
        da = da.isel(pulse=0).swap_dims(train="frame").drop_indexes([], errors="ignore")
    return da.chunk({da.dims[0]: chunks}) if chunks else da


def bad_pixels(shape=(2, 7, 9)):
    """One bad module corner and some pixels; labelled modules in another order."""
    rng = np.random.default_rng(5)
    bad = rng.random(shape) < 0.1
    return xr.DataArray(bad[::-1], {"module": list(MODULES[::-1])}, DIMS[2:])


def plain(da):
    """Values as (frame, module, row, column), float64."""
    return da.values.reshape(-1, *da.shape[-3:]).astype(float)
