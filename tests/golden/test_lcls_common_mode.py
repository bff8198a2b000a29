"""Common modes and masks of psana and smalldata_tools on the same frames.

The arrays were made by these programs (README beside them). Their known defects are in
`spec/lcls`; where one of them matters, the test says what is compared instead.
"""

import json

import numpy as np
import pytest
import xarray as xr
from golden_files import Golden

from xfelred import masks, ops

HERE = Golden("lcls")

PIXELS = ("slow_scan", "fast_scan")
MODULES = ("module", *PIXELS)


def golden(name):
    return np.load(HERE / f"{name}.npz")


def frames(images, copies=1):
    """Several trains of the same modules, lazy, one chunk a train."""
    images = images if images.ndim == 3 else images[None]
    stack = np.broadcast_to(images, (copies, *images.shape)).copy()
    da = xr.DataArray(stack, dims=("train", *MODULES), attrs={"units": "adu"})
    return da.chunk({"train": 1})


def on_modules(values):
    return xr.DataArray(values if values.ndim == 3 else values[None], dims=MODULES)


def corrected(da, *args, **kw):
    return ops.subtract_common_mode_lcls(da, *args, **kw)


HELPERS = [
    ("rows", "full_row", 1), ("cols", "full_column", 1), ("all2d", "all", 1),
    ("rows_banks4", "row", 4), ("2d_banks4", "bank", 4),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "banks"), HELPERS)
@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize("limit", [None, 5])
def test_group_medians(name, kind, banks, masked, limit):
    if (name, masked) == ("2d_banks4", 0):
        pytest.skip("the peer takes rows per bank by mistake")
    z = golden("cm_median_helpers")
    bad = on_modules(z["mask"] == 0) if masked else None
    out = ops.subtract_common_mode(
        frames(z["data"]), kind, segment=ops.Segment((64, 96), banks),
        bad_pixels=bad, max_correction=limit,
    )  # fmt: skip
    expected = z[f"{name}_mask{masked}_cormax{limit}"]
    np.testing.assert_array_equal(out.values[0, 0], expected)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize(
    ("mode", "limit", "least"), [(0, 10, 10), (2, 10, 10), (3, 10, 10), (3, 200, 10)]
)
def test_jungfrau_calibrated(mode, limit, least, copies):
    z = golden("cm7_jungfrau")
    raw, gain_range = z["raw"] & 0x3FFF, np.choose(z["raw"] >> 14, [0, 1, 0, 2])
    adu = raw - np.take_along_axis(z["pedoff"], gain_range[None].astype(int), 0)[0]
    out = corrected(
        frames(adu.astype("f4"), copies), detector="jungfrau",
        cmpars=(7, mode, limit, least), bad_pixels=on_modules(z["mask"] == 0),
        gain_range=on_modules(gain_range.astype("u1")),
    )  # fmt: skip
    # psana then multiplies with the gain factor and the mask.
    factor = np.choose(gain_range, [1 / z["gain_number"], z["gfac_g1"], z["gfac_g2"]])
    factor = np.where(z["raw"] >> 14 == 2, 0, factor).astype("f4")
    expected = z[f"psana1_7_{mode}_{limit}_{least}"]
    known = (z["raw"] >> 14 != 2) & (z["mask"] != 0)
    for one in out.values:
        np.testing.assert_array_equal((one * factor)[known], expected[known])


@pytest.mark.parametrize("mode", [0, 2, 3])
def test_epix10ka_calibrated(mode):
    z = golden("cm7_epix10ka")
    index = z["gain_index"].astype(int)
    adu = (z["raw"] & 0x3FFF) - np.take_along_axis(z["peds"], index[None], 0)[0]
    out = corrected(
        frames(adu.astype("f4")), detector="epix10k2M", cmpars=(7, mode, 100, 10),
        bad_pixels=on_modules(z["mask"] == 0), gain_range=on_modules(z["gain_index"]),
    )  # fmt: skip
    factor = z["gain_factor_per_range"][index]
    np.testing.assert_array_equal(out.values[0] * factor * z["mask"], z[f"mode{mode}"])


@pytest.mark.parametrize(
    ("number", "key"), [(4, "alg4_6_30_10"), (34, "alg4_6_100_100")]
)
def test_epix100_by_region(number, key):
    z = golden("cm4_epix100")
    out = corrected(
        frames(z["data"]), number, detector="epix100",
        bad_pixels=on_modules(z["status"] != 0),
    )  # fmt: skip
    np.testing.assert_array_equal(out.values[0, 0], z[f"psana1_{key}"])


@pytest.mark.parametrize("mode", [1, 2, 7])
def test_epix100_medians(mode):
    z = golden("cm4_epix100")
    out = corrected(
        frames(z["data"]), detector="epix100", cmpars=(0, mode, 100, 10),
        bad_pixels=on_modules(z["status"] != 0),
    )  # fmt: skip
    np.testing.assert_array_equal(out.values[0, 0], z[f"psana2_apply_mode{mode}"])


@pytest.mark.parametrize("number", [45, 46])
def test_epix100_without_photons(number):
    z = golden("cm46_epix100")
    data, rms, good = z["data"], z["rms"], z["status_mask"]
    out = corrected(
        frames(data), number, detector="epix100", noise=on_modules(rms),
        bad_pixels=on_modules(~good),
    ).values[0, 0]  # fmt: skip
    expected = z[f"cm{number}"]
    if number == 45:
        np.testing.assert_array_equal(out, expected)
        return
    seed = np.pad(data >= 10 * rms, 1)
    near = seed[1:-1, :-2] | seed[1:-1, 2:] | seed[:-2, 1:-1] | seed[2:, 1:-1]
    kept = good & ~near & ~seed[1:-1, 1:-1] & (np.abs(data) <= 30)
    # The mean is summed up in another order.
    np.testing.assert_allclose(out[kept], expected[kept], atol=2e-5)
    shift = out[~kept] - expected[~kept]
    np.testing.assert_allclose(shift, -data[kept].mean(dtype="f8"), atol=2e-5)


@pytest.mark.parametrize("number", [1, 10, 5])
def test_cspad(number):
    z = golden("cm1_cm5_cm10_cspad")
    # Algorithm 5 of the peer does not look at the status.
    bad = None if number == 5 else on_modules(z["status"] != 0)
    full = corrected(
        frames(z["data"]), number, detector="cspad", bad_pixels=bad, full=True
    )
    np.testing.assert_allclose(full.corrected[0], z[f"cm{number}_out"], atol=2e-5)
    values = z[f"cm{number}_values"]
    np.testing.assert_allclose(
        full.offset[0, :, 0], np.where(values == -10000, np.nan, values), atol=1e-6
    )


@pytest.mark.parametrize("algorithm", [2, 3])
def test_consecutive_pixels(algorithm):
    z = golden("cm2_cm3_runs128")
    full = corrected(
        frames(z["data"]), detector="camera", full=True,
        cmpars=(algorithm, *z["pars_threshold_maxcorr_length"]),
        bad_pixels=on_modules(z["status"] != 0),
    )  # fmt: skip
    expected = z[f"cm{algorithm}_out"]
    np.testing.assert_allclose(full.corrected[0, 0], expected, atol=1e-4)
    offset, values = full.offset.values[0, 0], z[f"cm{algorithm}_values"]
    there = np.isfinite(offset)
    np.testing.assert_allclose(offset[there], values[there], rtol=1e-5, atol=1e-4)
    assert there.sum() > 200


@pytest.mark.parametrize("mode", [1, 5])
def test_pnccd(mode):
    z = golden("cm8_pnccd")
    out = corrected(
        frames(z["data"]), detector="pnccd", cmpars=(8, mode, 500),
        bad_pixels=on_modules(z["mask"] == 0),
    )  # fmt: skip
    np.testing.assert_array_equal(out.values[0], z[f"cm8_mode{mode}"])


def test_uxi():
    z = golden("cm_uxi")
    pars = ("uxi", *z["photonThres_maxCorr_minFrac"], 0)
    full = corrected(frames(z["data"]), detector="uxi", cmpars=pars, full=True)
    full = full.isel(train=0)
    np.testing.assert_array_equal(full.corrected, z["corr_nbr0"])
    np.testing.assert_array_equal(full.offset, z["cm_RowMedsApplied_nbr0"])
    excluded = z["data"].shape[-1] // 2 - full.n_used
    np.testing.assert_array_equal(excluded, z["cm_nPixel_nbr0"])


def per_group(excluded):
    """Numbers of excluded pixels: even columns of all rows, then odd columns."""
    parts = [excluded[..., phase::2].sum(-1) for phase in (0, 1)]
    return np.concatenate(parts, -1)


def test_uxi_neighbours_are_those_in_the_image():
    """The peer takes its neighbours along the first two axes: frames and rows."""
    z = golden("cm_uxi")
    data, pars = z["data"], z["photonThres_maxCorr_minFrac"]
    photons = np.pad(data > pars[0], 1)
    inner = (slice(1, -1),) * 3
    before, after = (slice(None, -2),), (slice(2, None),)
    near = [
        photons[(*inner[:axis], *shift, *inner[axis + 1 :])]
        for axis in range(3) for shift in (before, after)
    ]  # fmt: skip
    peer = photons[inner] | near[0] | near[1] | near[2] | near[3]
    right = photons[inner] | near[2] | near[3] | near[4] | near[5]
    np.testing.assert_array_equal(per_group(peer), z["cm_nPixel_nbr1"])
    full = corrected(
        frames(data), detector="uxi", cmpars=("uxi", *pars, 1), full=True
    ).isel(train=0)  # fmt: skip
    np.testing.assert_array_equal(64 - full.n_used, per_group(right))
    same = per_group(peer) == per_group(right)
    assert same.mean() > 0.8
    alike = np.repeat((per_group(peer ^ right) == 0)[..., None], 64, -1)
    alike = np.stack([alike[:, :256], alike[:, 256:]], -1).reshape(data.shape)
    np.testing.assert_array_equal(full.corrected.values[alike], z["corr_nbr1"][alike])


@pytest.mark.parametrize("segment", ["cspad2x1", "epix100", "epix10ka", "jungfrau"])
def test_masks_of_segments(segment):
    z = golden("masks_segments")
    made = {1: masks.edges(segment), 2: masks.central(segment)}
    made[3] = masks.combine(made[1], made[2])
    if segment == "cspad2x1":
        made[4] = masks.unbonded(segment)
        made[8] = masks.combine(made[4], masks.unbonded(segment, neighbours=4))
        made[16] = masks.unbonded(segment, neighbours=8)
        made[15] = masks.combine(*(made[k] for k in (1, 2, 4, 8)))
    for bits, bad in made.items():
        if f"{segment}_mbits{bits}" in z:
            expected = z[f"{segment}_mbits{bits}"] == 0
            if bits in (8, 15):  # the peer forgets these two
                assert not (expected[0, [0, 194]] & (bits == 8)).any()
                expected[0, [0, 194]] = True
            np.testing.assert_array_equal(bad, expected, err_msg=str(bits))
    assert json.loads(made[1].attrs["history"].split(" ", 1)[1])["width"] == 1
