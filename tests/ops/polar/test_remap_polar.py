"""Polar maps: labels, laziness, geometries, moving beams, bad input."""

import dask.array
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from xfelred import open_run
from xfelred.errors import GeometryMismatchError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.kernels.polar.grid import q_to_radius, radius_to_q
from xfelred.ops import fit_ring, remap_polar

SHAPE = (31, 37)
CENTRE = (17.4, 14.8)
DIMS = ("train", "slow_scan", "fast_scan")
ON_RINGS = {"centre": CENTRE, "r_min": 3.25, "r_max": 12.0, "n_phi": 29}


def frames(n=7, dtype=np.float32):
    values = np.random.default_rng(1).poisson(50, (n, *SHAPE)).astype(dtype)
    attrs = {"units": "photon", "history": "made {}"}
    return xr.DataArray(values, {"train": 100 + np.arange(n)}, DIMS, attrs=attrs)


def smooth_frames(n=3, shape=SHAPE):
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = [np.sin(x / 9 + i) + np.cos(y / 7 - i) + 3 for i in range(n)]
    return xr.DataArray(np.array(values), {"train": np.arange(n)}, DIMS)


def flat(**options):
    options = {"centre": CENTRE, "distance": 0.05, "pixel_size": 2e-4, **options}
    return Geometry.flat(SHAPE, energy=9e3, **options)


def bad_map(seed=5, share=0.2):
    return np.random.default_rng(seed).random(SHAPE) < share


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
@pytest.mark.parametrize("per_chunk", [1, 3, 7])
def test_result_does_not_depend_on_chunks(method, per_chunk):
    da = frames()
    whole = remap_polar(da, method=method, bad_pixels=bad_map(), **ON_RINGS)
    parts = remap_polar(
        da.chunk(train=per_chunk), method=method, bad_pixels=bad_map(), **ON_RINGS
    )
    xr.testing.assert_identical(parts.compute(), whole.compute())


def test_linear_samples_agree_with_scipy():
    da = frames(2, np.float64)
    out = remap_polar(da, **ON_RINGS)
    x = CENTRE[0] + out.radius * np.cos(out.phi)
    y = CENTRE[1] + out.radius * np.sin(out.phi)
    for got, image in zip(out.values, da.values, strict=True):
        expected = ndimage.map_coordinates(image, [y.values, x.values], order=1)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_building_computes_nothing(no_compute):
    bad = xr.DataArray(dask.array.zeros(SHAPE, dtype=np.uint32), dims=DIMS[1:])
    da = frames().chunk(train=2)
    with no_compute():
        still = remap_polar(da, bad_pixels=bad, **ON_RINGS)
        moving = remap_polar(da, **{**ON_RINGS, "centre": (da.train * 0.01, 4.0)})
    assert still.chunks is not None
    assert moving.chunks is not None


def test_result_is_labelled():
    out = remap_polar(locate(frames(), flat()), **ON_RINGS)
    assert out.dims == ("train", "radius", "phi")
    assert out.shape == (7, 9, 29)
    assert out.dtype == np.float32
    assert out.name == "polar"
    np.testing.assert_array_equal(out.train, frames().train)
    np.testing.assert_allclose(out.radius, 3.25 + np.arange(9))
    np.testing.assert_allclose(out.phi, 2 * np.pi * np.arange(29) / 29 - np.pi)
    tan = out.radius * 2e-4 / 0.05
    np.testing.assert_allclose(out.two_theta, np.arctan(tan), rtol=1e-12)
    wavelength = 12398.419843320026 / 9e3
    q = 4 * np.pi / wavelength * np.sin(np.arctan(tan) / 2)
    np.testing.assert_allclose(out.q, q, rtol=1e-9)
    assert out.attrs["units"] == "photon"
    for name, units in {
        "radius": "pixel", "phi": "rad", "q": "1/angstrom", "two_theta": "rad",
    }.items():  # fmt: skip
        assert out[name].attrs["units"] == units
        assert out[name].attrs["long_name"]
    lines = out.attrs["history"].splitlines()
    assert [line.split()[0] for line in lines] == ["made", "locate", "remap_polar"]
    assert '"method": "linear"' in lines[-1]


def test_both_conventions_hold_the_same_samples():
    chi = remap_polar(frames(), **ON_RINGS)
    loki = remap_polar(frames(), convention="loki", **ON_RINGS)
    np.testing.assert_array_equal(chi, loki)
    np.testing.assert_allclose(loki.phi, chi.phi + np.pi, atol=1e-12)
    assert loki.phi[0] == 0


@pytest.mark.parametrize("convention", ["chi", "loki"])
def test_phi_tells_where_a_spot_is(convention):
    image = np.zeros((41, 41))
    image[12, 27] = 1.0  # 7 columns right of, and 8 rows above, the centre
    da = xr.DataArray(image, dims=DIMS[1:])
    out = remap_polar(
        da, centre=(20, 20), r_min=8, r_max=14, n_phi=360, convention=convention
    ).compute()
    at = out.argmax(...)
    expected = np.arctan2(-8, 7)
    turn = float(out.phi[at["phi"]]) - expected - (np.pi if convention == "loki" else 0)
    assert abs((turn + np.pi) % (2 * np.pi) - np.pi) < np.deg2rad(4)
    assert abs(float(out.radius[at["radius"]]) - np.hypot(8, 7)) < 0.6


def test_default_number_of_azimuths_is_a_pixel_at_the_largest_radius():
    out = remap_polar(frames(1), centre=CENTRE, r_min=2, r_max=11.5)
    assert out.sizes["phi"] == int(2 * np.pi * 11.5)


def test_all_layouts_give_the_same():
    da = frames(6)
    expected = remap_polar(da, **ON_RINGS).values
    module = da.expand_dims(pulse=[0], module=[0]).transpose("train", "pulse", ...)
    out = remap_polar(module, **ON_RINGS)
    assert out.dims == ("train", "pulse", "radius", "phi")
    np.testing.assert_array_equal(out.values[:, 0], expected)
    image = remap_polar(da[0], **ON_RINGS)
    assert image.dims == ("radius", "phi")
    np.testing.assert_array_equal(image, expected[0])
    assembled = da.rename(slow_scan="y", fast_scan="x")
    np.testing.assert_array_equal(remap_polar(assembled, **ON_RINGS), expected)
    last = da.transpose("slow_scan", "train", "fast_scan")
    np.testing.assert_array_equal(remap_polar(last, **ON_RINGS), expected)
    flat_frames = da.rename(train="frame")
    assert remap_polar(flat_frames, **ON_RINGS).dims == ("frame", "radius", "phi")


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
def test_all_ways_to_say_bad_mean_the_same(method):
    bad = bad_map()
    da = frames()
    expected = remap_polar(da.where(~bad), method=method, **ON_RINGS).compute()
    pixels = xr.DataArray(bad, dims=DIMS[1:])
    for given in (
        bad,
        pixels,
        pixels.astype(np.uint32) << 20,
        pixels.chunk(),
        pixels.transpose(),
        pixels.expand_dims(train=da.train),
    ):
        out = remap_polar(da, method=method, bad_pixels=given, **ON_RINGS)
        np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert np.isnan(expected).any()


def test_bad_pixels_may_differ_from_shot_to_shot():
    da = frames()
    rng = np.random.default_rng(8)
    bad = xr.DataArray(rng.random(da.shape) < 0.2, {"train": da.train}, DIMS)
    out = remap_polar(da.chunk(train=3), bad_pixels=bad[::-1], **ON_RINGS)
    expected = remap_polar(da.where(~bad), **ON_RINGS)
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_shots_that_were_not_recorded_are_nan():
    da = frames(4, np.uint16).expand_dims(module=[0]).transpose("train", ...)
    there = np.array([[True], [False], [True], [True]])
    da = da.assign_coords(available=(("train", "module"), there))
    out = remap_polar(da, **ON_RINGS)
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("u2", "f4"),
        ("i4", "f4"),
        ("bool", "f4"),
        ("f4", "f4"),
        ("f8", "f8"),
        (">f4", "f4"),
    ],
)
def test_dtype_of_the_result(dtype, expected):
    da = (frames(2) > 50 if dtype == "bool" else frames(2)).astype(dtype)
    out = remap_polar(da, **ON_RINGS)
    assert out.dtype == out.compute().dtype == np.dtype(expected)
    same = remap_polar(da.astype("f8"), **ON_RINGS)
    np.testing.assert_allclose(out, same, rtol=1e-6, atol=1e-6)


def test_min_weight_asks_for_good_pixels():
    bad = bad_map(share=0.4)
    da = frames(1)
    weight = remap_polar(xr.ones_like(da).where(~bad, 0.0), **ON_RINGS)
    out = remap_polar(da, bad_pixels=bad, min_weight=0.7, **ON_RINGS)
    some = remap_polar(da, bad_pixels=bad, **ON_RINGS)
    np.testing.assert_array_equal(np.isfinite(out), weight > 0.7)
    np.testing.assert_array_equal(np.isfinite(some), weight > 0)


def test_samples_outside_are_nan_and_never_wrap():
    rows, columns = np.indices(SHAPE)
    index = xr.DataArray(rows * 1000.0 + columns, dims=DIMS[1:])
    for centre in ((-3.0, 10.0), (36.8, 30.4), (18.0, -8.0), (500.0, 500.0)):
        out = remap_polar(
            index, centre=centre, r_min=2, r_max=20, n_phi=61, method="nearest"
        )
        x = centre[0] + out.radius * np.cos(out.phi)
        y = centre[1] + out.radius * np.sin(out.phi)
        column, row = np.ceil(x - 0.5), np.ceil(y - 0.5)
        inside = (column >= 0) & (column < 37) & (row >= 0) & (row < 31)
        np.testing.assert_array_equal(out, (row * 1000 + column).where(inside))


def test_radii_are_in_q_with_a_geometry():
    da, geo = frames(), flat()
    wavelength = geo.wavelength
    low, high = radius_to_q(np.array([3.25, 12.0]), 2e-4 / 0.05, wavelength)
    out = remap_polar(da, r_min=low, r_max=high, n_phi=29, geometry=geo)
    expected = remap_polar(da, **ON_RINGS)
    np.testing.assert_allclose(out.radius, expected.radius, rtol=1e-11)
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    located = remap_polar(locate(da, geo), r_min=low, r_max=high, n_phi=29)
    np.testing.assert_array_equal(located, out)
    # A centre of one's own, with distance and energy of the geometry.
    other = remap_polar(
        da, centre=CENTRE, r_min=low, r_max=high, n_phi=29,
        geometry=flat(centre=(3.0, 2.0)),
    )  # fmt: skip
    np.testing.assert_allclose(other, out, rtol=1e-5)
    pixels = remap_polar(da, r_min=3.25, r_max=12, n_phi=29, geometry=geo, unit="pixel")
    np.testing.assert_allclose(pixels, expected, rtol=1e-5)


def turned_geometry(angle=0.0, tilt=0.0, distance=0.05):
    """Two modules, one above the other, on a detector that is turned and tilted."""
    module, row, column = np.indices((2, 30, 60)).astype(float)
    x = (column - 29.2) * 2e-4
    y = (row - 33.0 + 33 * module) * 2e-4
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    z = distance + x * np.sin(tilt)
    return Geometry.from_positions(x * np.cos(tilt), y, z, energy=9e3, modules=(2, 5))


def q_pattern(located):
    """A detector image that depends on q and phi only, in a smooth way."""
    return np.cos(12 * located.q) * (2 + np.sin(3 * located.phi)) + 5


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
@pytest.mark.parametrize("setup", [{}, {"angle": 0.4}, {"tilt": 0.3}])
def test_modules_and_tilts_are_sampled_at_true_q_and_phi(method, setup):
    geo = turned_geometry(**setup)
    blank = xr.DataArray(
        np.zeros((2, 30, 60)), {"module": [2, 5]}, ("module", *DIMS[1:])
    )
    located = locate(blank, geo)
    pattern = located + q_pattern(located)
    options = {"r_min": 0.1, "r_max": 0.5, "n_phi": 90, "method": method}
    out = remap_polar(pattern, **options)
    # Samples beyond the last pixel of a module repeat it: look at whole cells.
    whole = remap_polar(pattern, min_weight=1 - 1e-6, **options)
    expected = np.cos(12 * out.q) * (2 + np.sin(3 * out.phi)) + 5
    found = np.isfinite(out)
    assert 0.7 < found.mean() < 1  # the gap between the modules
    error = np.abs(whole - expected)
    limit = {"nearest": 0.4, "linear": 0.05, "area": 0.2}[method]
    assert float(error.max()) < limit
    # Modules in another order, or one of them, are found by their labels.
    swapped = remap_polar(pattern.isel(module=[1, 0]), **options)
    np.testing.assert_allclose(swapped, out)
    one = remap_polar(pattern.isel(module=[1]), **options)
    seen = np.isfinite(one)
    assert 0.2 < seen.mean() < 0.6
    if method == "nearest" and not setup.get("tilt"):
        np.testing.assert_array_equal(one.where(seen), out.where(seen))


def test_axes_of_a_geometry_may_run_against_the_pixels():
    """x to the left: samples lie where the azimuth of the geometry says."""
    rows, columns = np.indices(SHAPE).astype(float)
    geo = Geometry.from_positions(
        -(columns - 17.4) * 2e-4, -(rows - 14.8) * 2e-4, 0.05, energy=9e3
    )
    located = locate(frames(2, np.float64), geo)
    out = remap_polar(located, r_min=3.0, r_max=9.0, n_phi=29, unit="pixel")
    x = CENTRE[0] - out.radius * np.cos(out.phi)
    y = CENTRE[1] - out.radius * np.sin(out.phi)
    for got, image in zip(out.values, located.values, strict=True):
        expected = ndimage.map_coordinates(image, [y.values, x.values], order=1)
        np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
def test_each_shot_may_have_its_own_centre(method):
    da = smooth_frames(4, (50, 50))
    x = xr.DataArray([20.0, 24.5, 26.1, 30.0], {"train": da.train}, ("train",))
    y = xr.DataArray([22.2, 25.0, 24.5, 19.0], {"train": da.train}, ("train",))
    options = {"r_min": 2, "r_max": 12, "n_phi": 41, "method": method}
    bad = np.zeros((50, 50), bool)
    bad[20:23, 5:40] = True
    for array in (da, da.chunk(train=3)):
        out = remap_polar(
            array, centre=(x[::-1], y[::-1]), bad_pixels=bad, **options
        ).compute()
        for i in range(4):
            one = remap_polar(
                da[i], centre=(float(x[i]), float(y[i])), bad_pixels=bad, **options
            )
            np.testing.assert_allclose(out[i], one, rtol=1e-5)
    fitted = xr.Dataset({"x": x, "y": y})
    np.testing.assert_array_equal(
        remap_polar(da, centre=fitted, bad_pixels=bad, **options), out
    )


def test_shots_of_different_energy_meet_on_a_common_q_axis():
    """The same pattern in q, at three energies, gives the same map."""
    energies = np.array([8.0e3, 9.0e3, 10.0e3, np.nan, 0.0, -5.0])
    shape, images = (101, 103), []
    for energy in np.where(energies > 0, energies, 9e3):
        geo = Geometry.flat(
            shape, centre=(50.3, 49.1), distance=0.05, pixel_size=2e-4, energy=energy
        )
        blank = xr.DataArray(np.zeros(shape), dims=DIMS[1:])
        images.append(np.cos(25 * locate(blank, geo).q.values) + 2)
    da = xr.DataArray(np.array(images), {"train": np.arange(6)}, DIMS).chunk(train=2)
    energy = xr.DataArray(
        energies, {"train": da.train}, ("train",), attrs={"units": "eV"}
    )
    geo = Geometry.flat(
        shape, centre=(50.3, 49.1), distance=0.05, pixel_size=2e-4, energy=9e3
    )
    options = {"r_min": 0.2, "r_max": 0.7, "n_phi": 64, "geometry": geo}
    out = remap_polar(da, energy=energy, **options).compute()
    expected = np.cos(25 * out.q) + 2
    assert float(np.abs(out[:3] - expected).max()) < 0.05
    assert np.isnan(out[3:]).all()
    mixed = remap_polar(da, **options).compute()
    assert float(np.abs(mixed[0] - expected).max()) > 0.3
    np.testing.assert_allclose(out[1], mixed[1], rtol=1e-6)


def test_one_energy_replaces_that_of_the_geometry():
    out = remap_polar(
        frames(1), r_min=0.1, r_max=0.5, n_phi=8, geometry=flat(), energy=4500.0
    )
    radius = q_to_radius(0.1, 2e-4 / 0.05, 12398.419843320026 / 4500)
    assert float(out.radius[0]) == pytest.approx(float(radius))
    assert float(out.q[0]) == pytest.approx(0.1)


def test_a_fitted_ring_is_a_centre():
    y, x = np.mgrid[:61, :63]
    image = 100 * np.exp(-((np.hypot(x - 30.3, y - 29.6) - 20) ** 2) / 8) + 5
    fit = fit_ring(image, (31, 31, 21))
    da = xr.DataArray(image, dims=DIMS[1:])
    out = remap_polar(da, centre=fit, r_min=18, r_max=23, n_phi=60)
    assert float(out.std("phi").max()) < 1.0


def test_frames_from_files_give_what_frames_in_memory_give(agipd_run):
    lazy = open_run(agipd_run.directory).frames().isel(module=[1])
    options = {"centre": (64.2, 250.1), "r_min": 10, "r_max": 50, "n_phi": 77}
    for method in ("nearest", "linear"):
        got = remap_polar(lazy, method=method, **options)
        want = remap_polar(lazy.compute(), method=method, **options)
        np.testing.assert_array_equal(got, want)
        mean = got.mean("train").compute()
        np.testing.assert_allclose(mean, want.compute().mean("train"), rtol=1e-4)


def test_a_centre_outside_the_image_gives_what_rings_reach():
    out = remap_polar(frames(1), centre=(-5.0, 15.0), r_min=7, r_max=20, n_phi=90)
    assert 0.2 < float(np.isfinite(out).mean()) < 0.6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "cubic"}, ValueError, "method='cubic'.*'area'"),
        ({"convention": "pyfai"}, ValueError, "convention='pyfai'"),
        ({"unit": "mm"}, ValueError, "unit='mm'"),
        ({"min_weight": 1.5}, ValueError, "min_weight=1.5"),
        ({"r_min": 12.0}, ValueError, "r_min < r_max"),
        ({"r_min": -1.0}, ValueError, "r_min=-1"),
        ({"r_max": np.nan}, ValueError, "r_max=nan"),
        ({"n_phi": 0}, ValueError, "n_phi=0"),
        ({"n_phi": 12.5}, ValueError, "n_phi=12.5"),
        ({"centre": None}, MissingConstantError, "centre=.*geometry="),
        ({"centre": (1.0,)}, ValueError, "wanted \\(x, y\\)"),
        ({"centre": (np.nan, 3.0)}, ValueError, "coordinate nan"),
        ({"energy": 9e3}, MissingConstantError, "geometry="),
        ({"bad_pixels": np.zeros((3, 3))}, GeometryMismatchError, r"\(3, 3\)"),
        ({"bad_pixels": np.zeros(SHAPE)}, ValueError, "bool or integer"),
    ],
)
def test_wrong_options_are_refused_while_building(change, error, message, no_compute):
    with no_compute(), pytest.raises(error, match=message):
        remap_polar(frames().chunk(), **{**ON_RINGS, **change})


def test_q_beyond_90_degrees_is_refused():
    with pytest.raises(ValueError, match="90 degrees"):
        remap_polar(frames(), r_min=1.0, r_max=7.0, geometry=flat())


def test_modules_without_a_geometry_are_refused():
    da = frames().expand_dims(module=[0, 1]).transpose("train", ...)
    with pytest.raises(GeometryMismatchError, match="2 modules"):
        remap_polar(da, **ON_RINGS)
    with pytest.raises(GeometryMismatchError, match="dims"):
        remap_polar(da.rename(slow_scan="row"), **ON_RINGS)
    blank = xr.DataArray(
        np.zeros((2, 30, 60)), {"module": [2, 5]}, ("module", *DIMS[1:])
    )
    located = locate(blank.expand_dims(train=[1, 2]), turned_geometry())
    energy = xr.DataArray([9e3, 9e3], {"train": [1, 2]}, ("train",))
    with pytest.raises(GeometryMismatchError, match="each shot"):
        remap_polar(located, r_min=0.1, r_max=0.4, energy=energy)


def test_geometry_without_energy_says_what_is_missing():
    geo = Geometry.flat(SHAPE, centre=CENTRE, distance=0.05, pixel_size=2e-4)
    with pytest.raises(MissingConstantError, match="energy="):
        remap_polar(frames(), r_min=0.1, r_max=0.4, geometry=geo)
    out = remap_polar(frames(), r_min=2, r_max=6, n_phi=9, geometry=geo, unit="pixel")
    assert "q" not in out.coords
    assert "two_theta" in out.coords
    energy = xr.DataArray(np.full(7, 9.0), dims="train", attrs={"units": "keV"})
    with pytest.raises(ValueError, match="keV"):
        remap_polar(frames(), r_min=0.1, r_max=0.4, geometry=geo, energy=energy)


def test_no_frames_give_no_maps():
    out = remap_polar(frames()[:0], **ON_RINGS).compute()
    assert out.shape == (0, 9, 29)


@pytest.mark.parametrize("method", ["linear", "area"])
def test_infinite_pixels_are_left_out_like_nan(method):
    da = frames(n=2).copy()
    spoilt, missing = da.copy(), da.copy()
    spoilt[..., 10, 12] = np.inf
    missing[..., 10, 12] = np.nan
    options = {"centre": (12.3, 9.6), "r_min": 1, "r_max": 8, "n_phi": 40}
    np.testing.assert_allclose(
        remap_polar(spoilt, method=method, **options),
        remap_polar(missing, method=method, **options),
        rtol=1e-6,
    )
