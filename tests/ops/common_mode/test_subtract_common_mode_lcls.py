"""The numbers of LCLS common modes; the golden tests compare them with the peers."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import GeometryMismatchError, MissingConstantError
from xfelred.ops.lcls_common_modes import detector_of

PIXELS = ("slow_scan", "fast_scan")
SHAPES = {
    "jungfrau": (512, 1024), "epix10ka": (352, 384), "epixhr": (288, 384),
    "epix100": (704, 768), "cspad": (185, 388), "cspad2x2": (185, 388),
    "pnccd": (512, 512), "uxi": (20, 30), "icarus": (40, 300), "andor3d": (30, 256),
    "princeton": (60, 70), "camera": (9, 11), "epixm": (192, 384),
    "epixuhr": (168, 192),
}  # fmt: skip
cm = ops.subtract_common_mode_lcls


def frames(shape, n=3, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.normal(3, 2, (n, 1, *shape)).astype("f4")
    data[rng.random(data.shape) < 0.01] += 300
    return xr.DataArray(data, dims=("train", "module", *PIXELS), attrs={"units": "adu"})


def numbers():
    return [(k, n) for k in SHAPES for n in (*detector_of(k).modes.numbers, None)]


@pytest.mark.parametrize(("detector", "number"), numbers())
def test_every_number_of_every_detector(detector, number, no_compute):
    da = frames(SHAPES[detector], 1)
    noise = xr.full_like(da[0], 2.0)
    options = {"noise": noise}
    if detector in ("uxi", "icarus"):
        options["dark_roi"] = ((0, 5), (0, 9))
    with no_compute():
        full = cm(da.chunk(), number, detector=detector, full=True, **options)
        plain = cm(da.chunk(), number, detector=detector, **options)
    np.testing.assert_array_equal(full.corrected, plain)
    assert plain.dtype == np.float32
    assert full.offset.shape == full.n_used.shape
    assert full.sizes["group"] == full.kind.size
    assert '"number": ' in plain.attrs["history"]
    nothing = np.isnan(full.offset).all()
    unchanged = np.array_equal(plain, da)
    assert nothing == unchanged or (detector, number) == ("icarus", 98)


@pytest.mark.parametrize(
    ("detector", "number", "kinds"),
    [
        ("jungfrau", 7, ["row", "column"]),
        ("jungfrau", 71, ["row"]),
        ("jungfrau", 72, ["column"]),
        ("jungfrau", None, []),
        ("epix10ka", 84, ["column"]),
        ("epix10ka", 85, ["row", "column"]),
        ("epix10ka", 83, ["row"]),
        ("epix10k2M", None, []),
        ("epix100", 34, ["row", "column"]),
        ("epix100", None, ["all", "column", "row"]),
        ("epix100", 36, ["column", "row"]),
        ("epix100", 47, ["bank", "column", "row"]),
        ("cspad", None, ["zero_peak"]),
        ("cs140k", 5, ["unbonded"]),
        ("pnccd", None, ["row", "full_column"]),
        ("pnccd", 30, ["run"]),
        ("icarus", 99, ["dark_columns"]),
        ("camera", None, []),
    ],
)
def test_numbers_stand_for_these_groups_in_this_order(detector, number, kinds):
    da = frames(
        SHAPES.get(detector, {"epix10k2M": (352, 384)}.get(detector, (185, 388)))
    )
    noise = xr.full_like(da[0], 2.0)
    full = cm(da, number, detector=detector, noise=noise, full=True)
    assert list(dict.fromkeys(full.kind.values.tolist())) == kinds


def test_banks_come_before_rows_before_columns():
    full = cm(frames((512, 1024)), detector="jungfrau", cmpars=(7, 7, 50), full=True)
    assert list(dict.fromkeys(full.kind.values.tolist())) == ["bank", "row", "column"]
    assert full.sizes["group"] == 32 + 512 * 16 + 2 * 1024


@pytest.mark.parametrize("frames_per_chunk", [1, 3, 4])
@pytest.mark.parametrize("number", [1, 10, 5])
def test_result_does_not_depend_on_chunks(frames_per_chunk, number):
    da = frames((185, 388), 4)
    out = cm(da.chunk({"train": frames_per_chunk}), number, detector="cspad")
    for t in range(4):
        one = cm(da[t, 0], number, detector="cspad")
        np.testing.assert_array_equal(out[t, 0], one)


@pytest.mark.parametrize(
    ("detector", "good"), [("jungfrau", [0]), ("epix10ka", [0, 1, 3, 4])]
)
def test_gain_ranges_change_from_frame_to_frame(detector, good):
    da = frames(SHAPES[detector], 2)
    gain = np.random.default_rng(1).integers(0, 5, da.shape).astype("u1")
    labelled = xr.DataArray(gain, dims=da.dims)
    out = cm(da, detector=detector, cmpars=(7, 1, 100, 10), gain_range=labelled.chunk())
    use = xr.DataArray(np.isin(gain, good), dims=da.dims)
    expected = ops.subtract_common_mode(
        da, "row", segment=detector, use=use, max_correction=100
    )
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(out.values[~use.values], da.values[~use.values])
    assert (out != da).any()


def test_bad_pixels_take_no_part_and_stay():
    da = frames((352, 384))
    bad = xr.DataArray(np.random.default_rng(2).random((352, 384)) < 0.1, dims=PIXELS)
    out = cm(da, 85, detector="epix10ka", bad_pixels=bad)
    loud = cm(da.where(~bad, 1e6), 85, detector="epix10ka", bad_pixels=bad)
    np.testing.assert_array_equal(loud.where(~bad), out.where(~bad))
    np.testing.assert_array_equal(out.where(bad), da.where(bad))
    nothing = cm(da, 85, detector="epix10ka", bad_pixels=xr.ones_like(bad))
    np.testing.assert_array_equal(nothing, da)


@pytest.mark.parametrize("number", [6, 46])
def test_the_mean_is_taken_from_photons_too(number):
    da = frames((704, 768), 1)
    noise = xr.full_like(da[0, 0], 2.0)
    out = cm(da, number, detector="epix100", noise=noise)
    shifted = cm(da + 2, number, detector="epix100", noise=noise)
    photons = da > 200
    rest = (da - out).where(photons).mean()
    assert rest == pytest.approx(3, abs=0.1)
    assert ((shifted - out).where(photons).mean()) == pytest.approx(0, abs=0.1)


def test_dark_region_and_dark_columns():
    da = frames((40, 300))
    dark = np.median(da.values[..., 2:9, 5:50], axis=(-2, -1), keepdims=True)
    out = cm(da, 80, detector="icarus", dark_roi=((2, 9), (5, 50)))
    np.testing.assert_array_equal(out, da - dark)
    columns = np.median(da.values[..., 255:257], axis=(-2, -1), keepdims=True)
    np.testing.assert_array_equal(cm(da, 99, detector="icarus"), da - columns)
    noted = cm(da, 98, detector="icarus", full=True)
    np.testing.assert_array_equal(noted.corrected, da)
    np.testing.assert_array_equal(noted.offset[..., 0], columns[..., 0, 0])
    both = cm(da, 81, detector="uxi", dark_roi=((2, 9), (5, 50)))
    again = cm(da - dark, detector="uxi", cmpars=("uxi", 30, 30))
    np.testing.assert_array_equal(both, again)


def test_a_group_of_uxi_needs_its_share_of_pixels():
    da = xr.DataArray(np.full((2, 40), 50.0, "f4"), dims=PIXELS)
    da[0, :4] = 2.0  # 2 of the 20 pixels of each group are dark
    out = cm(da, detector="uxi", cmpars=("uxi", 30, 30, 0.1))
    assert (out[0, :4] == 0).all()
    np.testing.assert_array_equal(out[1], da[1])
    np.testing.assert_array_equal(
        cm(da, detector="uxi", cmpars=("uxi", 30, 30, 0.11)), da
    )


@pytest.mark.parametrize("frames_per_chunk", [1, 2, 5])
def test_ghosts_of_the_previous_frame(frames_per_chunk, no_compute):
    da = frames((352, 384), 5)
    p1 = xr.DataArray(np.random.default_rng(3).random((352, 384)), dims=PIXELS)
    with no_compute():
        out = cm(
            da.chunk({"train": frames_per_chunk}), 184, detector="epix10k2M",
            ghost=(1.5, p1),
        )  # fmt: skip
    plain = cm(da, 84, detector="epix10ka").values
    before = np.concatenate([np.zeros_like(da.values[:1]), da.values[:-1]])
    expected = plain - (1.5 + p1.values.astype("f4") * before)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    given = cm(da, 184, detector="epix10ka", ghost=(0, 0.5), previous=da * 0 + 4)
    np.testing.assert_allclose(given, plain - 2, atol=1e-5)


def test_lcls2_has_wider_limits():
    da = frames((352, 384), 1) + 20
    assert np.array_equal(cm(da, 84, detector="epix10ka"), da)
    assert np.median(cm(da, 84, detector="epix10ka", lcls2=True)) < 3


@pytest.mark.parametrize(
    ("detector", "number", "options", "message"),
    [
        ("jungfrua", 7, {}, "Did you mean 'jungfrau'"),
        ("jungfrau", 46, {}, "46 belongs to epix100"),
        ("jungfrau", 184, {}, "no common mode 184"),
        ("epix100", 46, {}, "pass noise="),
        ("epix100", None, {}, "pass noise="),
        ("epix100", None, {"cmpars": (9, 1)}, "no algorithm 9"),
        ("epix100", None, {"cmpars": (4, 6)}, "half_range"),
        ("epix100", None, {"cmpars": (4, 6, 30, 10, 2)}, "half_range"),
        ("epix100", None, {"cmpars": (4, 9, 30, 10)}, "bits=9"),
        ("epix100", None, {"cmpars": (5, 100)}, "CsPad"),
        ("jungfrau", None, {"cmpars": (7, 8, 10)}, "mode=8"),
        ("jungfrau", None, {"cmpars": (7, 1.5, 10)}, "mode=1.5"),
        ("jungfrau", None, {"cmpars": (7, "1", 10)}, "all numbers"),
        ("uxi", 80, {}, "pass dark_roi="),
        ("uxi", 80, {"dark_roi": (1, 2)}, "wanted"),
        ("uxi", 80, {"dark_roi": ((0, 5), (0, 99))}, "not inside"),
        ("camera", 0, {"dark_roi": ((0, 5), (0, 9))}, "for uxi and icarus"),
        ("epix10ka", 184, {}, "pass ghost="),
        ("jungfrau", 7, {"ghost": (0, 1)}, "for epix10ka"),
        ("epix100", 4, {"gain_range": xr.DataArray(0)}, "does not switch"),
    ],
)
def test_bad_input_is_found_while_building(
    detector, number, options, message, no_compute
):
    da = frames(SHAPES.get(detector, (5, 5)), 1).chunk()
    with no_compute(), pytest.raises((ValueError, MissingConstantError), match=message):
        cm(da, number, detector=detector, **options)


def test_pixels_and_constants_must_fit():
    da = frames((352, 384), 1)
    with pytest.raises(GeometryMismatchError, match=r"\(512, 1024\)"):
        cm(da, 7, detector="jungfrau")
    wrong = xr.DataArray(np.ones((351, 384)), dims=PIXELS)
    with pytest.raises(GeometryMismatchError, match="noise"):
        cm(frames((704, 768), 1), 46, detector="epix100", noise=wrong)
    with pytest.raises(GeometryMismatchError, match="gain_range"):
        cm(da, 84, detector="epix10ka", gain_range=wrong.astype("u1"))
    da, noise = frames((704, 768), 1), np.ones((704, 768))
    with pytest.raises(GeometryMismatchError, match="noise is ndarray of shape"):
        cm(da, 46, detector="epix100", noise=noise[1:])
    labelled = cm(da, 46, detector="epix100", noise=xr.DataArray(noise, dims=PIXELS))
    plain = cm(da, 46, detector="epix100", noise=noise)
    np.testing.assert_array_equal(plain, labelled)
