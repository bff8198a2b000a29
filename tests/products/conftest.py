from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr

N_TRAINS, N_PULSES, N_MODULES, N_SLOW, N_FAST = 7, 4, 3, 8, 5


@pytest.fixture
def frames():
    """Lazy frames with every kind of coordinate that a run can have."""
    rng = np.random.default_rng(1)
    shape = (N_TRAINS, N_PULSES, N_MODULES, N_SLOW, N_FAST)
    values = rng.normal(size=shape).astype("float32")
    values[2, :, 1] = np.nan
    available = np.ones((N_TRAINS, N_MODULES), bool)
    available[2, 1] = False
    moment = np.datetime64("2024-01-01T00:00:00.123456789", "ns")
    coords = {
        "train": ("train", np.arange(2**63, 2**63 + N_TRAINS, dtype="uint64")),
        "pulse": ("pulse", np.arange(N_PULSES, dtype="int64") * 4),
        "module": ("module", [0, 3, 7]),
        "cell": ("pulse", np.arange(N_PULSES, dtype="uint16")),
        "available": (("train", "module"), available),
        "n_pulses": ("train", np.full(N_TRAINS, N_PULSES)),
        "time": ("train", moment + np.arange(N_TRAINS)),
        "label": ("module", ["a", "bb", "é"]),
        "bad_pixels": (
            ("module", "slow_scan", "fast_scan"),
            (rng.random(shape[2:]) > 0.9).astype("uint32"),
        ),
    }
    return xr.DataArray(
        dask.array.from_array(values, chunks=(2, N_PULSES, N_MODULES, N_SLOW, N_FAST)),
        dims=("train", "pulse", "module", "slow_scan", "fast_scan"),
        coords=coords,
        name="frames",
        attrs={
            "units": "adu",
            "long_name": "intensity",
            "history": "frames {}\ncalibrate {}",
            "source_fingerprint": "abc",
            "gains": [1.5, 2.0],
            "names": ["x", "y"],
            "setting": {"a": [1, None]},
        },
    )


@pytest.fixture
def dataset(frames):
    """A Dataset whose variables have different axes."""
    return xr.Dataset(
        {
            "frames": frames,
            "n_shots": ("train", dask.array.arange(N_TRAINS, chunks=3)),
            "ipm2/sum": ("train", np.linspace(0, 1, N_TRAINS)),
            "laser_on": ("train", np.arange(N_TRAINS) % 2 == 0),
            "total": ((), dask.array.from_array(frames.values).astype("float64").sum()),
        }
    )


@pytest.fixture
def only():
    """A function that tells whether a directory holds just these names."""

    def check(directory: Path, *names: str) -> bool:
        return sorted(p.name for p in directory.iterdir()) == sorted(names)

    return check
