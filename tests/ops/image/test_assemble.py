"""Assembled images, against EXtra-geom and by hand."""

import numpy as np
import pytest
import xarray as xr
from golden_files import Golden

from xfelred.errors import GeometryMismatchError
from xfelred.geometry import Geometry
from xfelred.ops.image.assemble import assemble, unassemble

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
AGIPD_QUADS = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
LPD_QUADS = [(11.4, 299), (-11.5, 8), (254.5, -16), (278.5, 275)]
DSSC_QUADS = [(-130, 5), (-130, -125), (5, -125), (5, 5)]
OFFSETS = [(-1050, -550.5), (20, 33), (5, 600)]
ORIENTATIONS = [(1, 1), (-1, 1), (1, -1)]


def pair(name):
    """(our geometry, that of EXtra-geom) of a detector."""
    eg = pytest.importorskip("extra_geom")
    return {
        "AGIPD": lambda: (
            Geometry.from_quad_positions("AGIPD1M", AGIPD_QUADS),
            eg.AGIPD_1MGeometry.from_quad_positions(AGIPD_QUADS),
        ),
        "LPD": lambda: (
            Geometry.from_quad_positions("LPD1M", LPD_QUADS),
            eg.LPD_1MGeometry.from_quad_positions(LPD_QUADS),
        ),
        "DSSC": lambda: (
            Geometry.from_quad_positions("DSSC1M", DSSC_QUADS),
            eg.DSSC_1MGeometry.from_quad_positions(DSSC_QUADS),
        ),
        "AGIPD500K": lambda: (
            Geometry.from_quad_positions("AGIPD500K2G", [(3.3, 9)]),
            eg.AGIPD_500K2GGeometry.from_origin((3.3, 9)),
        ),
        "JUNGFRAU": lambda: (
            Geometry.from_module_positions(OFFSETS, ORIENTATIONS),
            eg.JUNGFRAUGeometry.from_module_positions(OFFSETS, ORIENTATIONS),
        ),
    }[name]()


def whole(geometry, n=2):
    values = np.random.default_rng(0).random((n, *geometry.shape), dtype=np.float32)
    coords = {"module": list(geometry.modules or range(geometry.shape[0]))}
    return xr.DataArray(values, coords, DIMS[:1] + DIMS[2:])


# Tiles alone, hexagons, and modules that are turned; the others are tiles, too.
@pytest.mark.parametrize(
    "name",
    [
        *("AGIPD500K", "DSSC", "JUNGFRAU"),
        *(pytest.param(n, marks=pytest.mark.nightly) for n in ("AGIPD", "LPD")),
    ],
)
def test_images_equal_those_of_extra_geom(name):
    ours, theirs = pair(name)
    da = whole(ours)
    expected, (row, column) = theirs.position_modules(da.values)
    for geometry in (ours, Geometry.from_extra_geom(theirs)):
        image = assemble(da, geometry)
        np.testing.assert_array_equal(image, expected)
        assert np.searchsorted(image.y, 0) == row
        assert np.searchsorted(image.x, 0) == column
        np.testing.assert_array_equal(unassemble(image, geometry), da)


def test_golden_agipd_image_has_its_gaps_where_extra_geom_has_them():
    golden = np.load(Golden("sacla") / "extra_geom_agipd.npz")
    geometry = Geometry.from_quad_positions("AGIPD1M", golden["quad_pos_px"])
    np.testing.assert_allclose(
        np.moveaxis(geometry.centres[:, :, ::8, ::8], 0, -1),
        golden["pixel_positions_every8"],
        rtol=0,
        atol=1e-7,
    )
    image = assemble(whole(geometry, 1), geometry)[0]
    assert image.shape == tuple(golden["assembled_shape"])
    np.testing.assert_array_equal(
        np.isnan(image[::4, ::4]), np.isnan(golden["assembled_every4"])
    )
    centre = np.searchsorted(image.y, 0), np.searchsorted(image.x, 0)
    assert centre == tuple(golden["centre_yx"])


def test_flat_detector_is_its_own_image():
    geometry = Geometry.flat((6, 7), (2.0, 3.5), 0.1, 1e-4)
    da = xr.DataArray(np.arange(42.0).reshape(6, 7), dims=DIMS[3:])
    image = assemble(da, geometry)
    assert image.dims == ("y", "x")
    np.testing.assert_array_equal(image, da)
    assert "upper" in image.attrs["display"]


def small():
    """Two modules of 2 x 3 pixels: one upright, one turned by a right angle."""
    y, x = np.mgrid[:2, :3] * 1e-3 + 5e-4
    xs, ys = np.stack([x, 7e-3 - y]), np.stack([y, x - 1e-3])
    return Geometry.from_positions(xs, ys, 0.1, modules=[4, 9])


def lazy(dtype=np.float32, modules=(4, 9)):
    values = np.arange(1, 5 * 2 * 2 * 6 + 1).reshape(5, 2, 2, 2, 3).astype(dtype)
    coords = {"train": range(5), "pulse": [0, 8], "module": [4, 9]}
    attrs = {"units": "adu", "history": "made {}"}
    da = xr.DataArray(values, coords, DIMS, attrs=attrs)
    return da.sel(module=list(modules)).chunk(train=2)


def test_places_follow_from_positions():
    """By a loop: the image pixel that holds the centre of a pixel."""
    geometry, da = small(), lazy()
    image = assemble(da, geometry).compute()
    expected = np.full((5, 2, image.sizes["y"], image.sizes["x"]), np.nan)
    for m, i, j in np.ndindex(2, 2, 3):
        row = np.argmin(np.abs(image.y.values - geometry.y[m, i, j]))
        column = np.argmin(np.abs(image.x.values - geometry.x[m, i, j]))
        expected[:, :, row, column] = da.values[:, :, m, i, j]
    assert np.isfinite(expected[0, 0]).sum() == 12
    np.testing.assert_array_equal(image, expected)
    assert image.attrs["snap_distance"] < 1e-6


@pytest.mark.parametrize("chunks", [1, 3, 5])
def test_result_does_not_depend_on_chunks(chunks):
    expected = assemble(lazy(), small()).values
    image = assemble(lazy().chunk(train=chunks), small())
    np.testing.assert_array_equal(image, expected)


def test_image_is_lazy_and_labelled(no_compute):
    da = lazy()
    with no_compute():
        image = assemble(da, small())
    assert image.dims == ("train", "pulse", "y", "x")
    assert image.dtype == da.dtype
    assert image.attrs["units"] == "adu"
    assert image.y.attrs["units"] == image.x.attrs["units"] == "m"
    np.testing.assert_array_equal(image.pulse, da.pulse)
    lines = image.attrs["history"].splitlines()
    assert [line.split()[0] for line in lines] == ["made", "assemble"]


def test_absent_modules_leave_the_image_as_large():
    both, one = assemble(lazy(), small()), assemble(lazy(modules=(9,)), small())
    assert one.shape == both.shape
    same = ~np.isnan(one.values)
    assert same[0, 0].sum() == 6
    np.testing.assert_array_equal(one.values[same], both.values[same])


def test_order_of_modules_does_not_matter():
    turned = lazy().isel(module=[1, 0])
    np.testing.assert_array_equal(assemble(turned, small()), assemble(lazy(), small()))


def test_gaps_of_integers_are_0_unless_a_value_is_given():
    image = assemble(lazy(np.uint16), small())
    assert image.dtype == np.uint16
    gaps = np.isnan(assemble(lazy(), small()).values)
    assert gaps.any()
    assert (image.values[gaps] == 0).all()
    filled = assemble(lazy(np.uint16), small(), fill_value=65535)
    assert (filled.values[gaps] == 65535).all()
    assert (assemble(lazy(), small(), fill_value=-1).values[gaps] == -1).all()
    with pytest.raises(ValueError, match="fill_value=nan"):
        assemble(lazy(np.uint16), small(), fill_value=np.nan)


def test_irregular_pixels_go_to_the_nearest_place_and_the_first_one_wins():
    x = np.array([[0.4, 1.4, 2.6, 2.7, 4.5]]) * 1e-3
    geometry = Geometry.from_positions(x, x * 0 + 5e-4, 0.1)
    assert geometry.lattice == ()
    da = xr.DataArray(np.arange(1.0, 6.0)[None], dims=DIMS[3:])
    image = assemble(da, geometry)
    pitch = float(image.x[1] - image.x[0])
    expected = np.floor(np.round(x[0] / pitch, 6)).astype(int)
    expected -= expected.min()
    for value, column in zip(da.values[0], expected, strict=True):
        if column != expected[list(da.values[0]).index(value) - 1] or value == 1:
            assert float(image[0, column]) == value


def test_slightly_turned_panel_keeps_its_rows():
    angle = 0.02
    i, j = np.mgrid[:40, :60] + 0.5
    x = (j * np.cos(angle) - i * np.sin(angle)) * 1e-4
    y = (j * np.sin(angle) + i * np.cos(angle)) * 1e-4
    da = xr.DataArray(np.random.default_rng(0).random((40, 60)), dims=DIMS[3:])
    image = assemble(da, Geometry.from_positions(x, y, 0.1))
    np.testing.assert_array_equal(image, da)
    assert 0.5 < image.attrs["snap_distance"] < 2


def test_panel_at_45_degrees_is_placed_pixel_by_pixel():
    i, j = np.mgrid[:20, :30] + 0.5
    x, y = (j - i) / np.sqrt(2) * 1e-4, (j + i) / np.sqrt(2) * 1e-4
    da = xr.DataArray(np.ones((20, 30)), dims=DIMS[3:])
    image = assemble(da, Geometry.from_positions(x, y, 0.1))
    assert image.attrs["snap_distance"] < 0.71
    assert 0.7 * 600 < np.isfinite(image).sum() <= 600


def test_mask_drawn_on_an_image_comes_back_to_the_modules(no_compute):
    geometry = small()
    image = assemble(lazy(), geometry)
    mask = xr.zeros_like(image.isel(train=0, pulse=0), dtype=bool).compute()
    mask[{"x": slice(0, 3)}] = True
    back = unassemble(mask, geometry)
    assert back.dims == DIMS[2:]
    assert back.dtype == bool
    np.testing.assert_array_equal(back.module, [4, 9])
    np.testing.assert_array_equal(back, geometry.x < image.x.values[3] - 5e-4)
    assert unassemble(mask, geometry, modules=[9]).shape == (1, 2, 3)
    with no_compute():
        assert unassemble(image, geometry).dims == DIMS
    with pytest.raises(GeometryMismatchError, match="y="):
        unassemble(mask[1:], geometry)


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(GeometryMismatchError, match="modules 5"):
        assemble(lazy().assign_coords(module=[4, 5]), small())
    with pytest.raises(GeometryMismatchError, match="fast_scan=2"):
        assemble(lazy()[..., :2], small())
