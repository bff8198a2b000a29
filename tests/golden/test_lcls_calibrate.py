"""Raw frames calibrated by psana, against `ops.calibrate` on the same frames.

The arrays were made by psana (README beside them). The one thing not compared is the
pixel of gain code 2 where its two generations differ: each is asked for by name.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xfelred import ops

HERE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "lcls"
if not HERE.is_dir():
    pytest.skip("no golden files beside the checkout", allow_module_level=True)

MODULES = ("module", "slow_scan", "fast_scan")
RANGES = ("gain_range", *MODULES)


def frames(raw, per_chunk):
    da = xr.DataArray(np.stack([raw] * 3), dims=("train", *MODULES))
    return da if per_chunk is None else da.chunk(train=per_chunk)


def check(out, expected):
    for one in out.values:
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("per_chunk", [None, 1, 2])
@pytest.mark.parametrize(
    ("mode", "limit", "least"), [(0, 10, 10), (2, 10, 10), (3, 10, 10), (3, 200, 10)]
)
def test_jungfrau_of_psana1(mode, limit, least, per_chunk):
    z = np.load(HERE / "cm7_jungfrau.npz")
    one = z["gain_number"]
    factor = np.stack([1 / one, *(np.full_like(one, z[f"gfac_g{r}"]) for r in (1, 2))])
    constants = xr.Dataset(
        {"pedestal": (RANGES, z["pedoff"]), "gain_factor": (RANGES, factor),
         "bad_pixels": (MODULES, z["mask"] == 0)}
    )  # fmt: skip
    out = ops.calibrate(
        frames(z["raw"], per_chunk), constants, kind="jungfrau", bad_value=0,
        common_mode=(7, mode, limit, least), bad_gain_code="one",
    )  # fmt: skip
    check(out, z[f"psana1_7_{mode}_{limit}_{least}"])


@pytest.mark.parametrize("per_chunk", [None, 1])
@pytest.mark.parametrize("mode", [0, 2, 3])
def test_epix10ka_of_psana1(mode, per_chunk):
    z = np.load(HERE / "cm7_epix10ka.npz")
    constants = xr.Dataset(
        {"pedestal": (RANGES, z["peds"]),
         "gain_factor": ("gain_range", z["gain_factor_per_range"])}
    )  # fmt: skip
    out = ops.calibrate(
        frames(z["raw"], per_chunk), constants, kind="epix10ka", bad_value=0,
        gain_index=xr.DataArray(z["gain_index"], dims=MODULES),
        common_mode=(7, mode, 100, 10),
        bad_pixels=xr.DataArray(z["mask"] == 0, dims=MODULES),
    )  # fmt: skip
    check(out, z[f"mode{mode}"])


@pytest.mark.parametrize(
    ("key", "common_mode"), [("v0_nocm", None), ("v0_cm_7_3_200_10", (7, 3, 200, 10)),
                             ("default_cversion3", None)]
)  # fmt: skip
def test_jungfrau_of_psana2(key, common_mode):
    """The first event of a public run; 40 pixels were given a bad status."""
    z = np.load(HERE / "psana2_jungfrau_testxtc_calib.npz")
    bad = np.zeros((1, 512, 1024), "u2")
    module, r0, r1, c0, c1 = z["status_bad"]
    bad[module, r0:r1, c0:c1] = 1
    constants = xr.Dataset(
        {"pedestal": ("gain_range", z["pedestal_scalar_per_gain"]),
         "gain": ("gain_range", z["gain_per_range"]), "bad_pixels": (MODULES, bad)}
    )  # fmt: skip
    out = ops.calibrate(
        frames(z["raw"], 1), constants, kind="jungfrau", common_mode=common_mode,
        bad_value=0,
    )  # fmt: skip
    check(out, z[key])
