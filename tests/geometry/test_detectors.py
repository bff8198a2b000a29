"""Layouts of the European XFEL detectors, against EXtra-geom."""

import numpy as np
import pytest

from xfelred.geometry import Geometry
from xfelred.geometry.detectors import with_layout

pytestmark = pytest.mark.slow

eg = pytest.importorskip("extra_geom")

AGIPD_QUADS = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
LPD_QUADS = [(11.4, 299), (-11.5, 8), (254.5, -16), (278.5, 275)]
DSSC_QUADS = [(-130, 5), (-130, -125), (5, -125), (5, 5)]
OFFSETS = [(-1050, -550.5), (20, 33), (5, 600), (-1100, 700)]
ORIENTATIONS = [(1, 1), (-1, 1), (1, -1), (-1, -1)]


def assert_same_positions(ours, theirs):
    expected = np.moveaxis(theirs.get_pixel_positions(), -1, 0)
    assert ours.centres.shape == expected.shape
    np.testing.assert_allclose(ours.centres, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gaps", [{}, {"asic_gap": 3, "panel_gap": 20}])
def test_agipd1m_tiles_lie_where_extra_geom_puts_them(gaps):
    ours = Geometry.from_quad_positions("AGIPD1M", AGIPD_QUADS, **gaps)
    theirs = eg.AGIPD_1MGeometry.from_quad_positions(AGIPD_QUADS, **gaps)
    assert_same_positions(ours, theirs)
    assert len(ours.panels) == 16 * 8
    assert ours.modules == tuple(range(16))


@pytest.mark.parametrize("gaps", [{}, {"asic_gap": 1.5, "panel_gap": 3.0}])
def test_lpd1m_tiles_lie_where_extra_geom_puts_them(gaps):
    ours = Geometry.from_quad_positions("LPD1M", LPD_QUADS, **gaps)
    theirs = eg.LPD_1MGeometry.from_quad_positions(LPD_QUADS, **gaps)
    assert_same_positions(ours, theirs)


@pytest.mark.parametrize("gaps", [{}, {"asic_gap": 1.5, "panel_gap": 3.0}])
def test_dssc1m_hexagons_lie_where_extra_geom_puts_them(gaps):
    ours = Geometry.from_quad_positions("DSSC1M", DSSC_QUADS, **gaps)
    theirs = eg.DSSC_1MGeometry.from_quad_positions(DSSC_QUADS, **gaps)
    assert_same_positions(ours, theirs)
    slow, fast = ours.pixel_size
    assert (slow, fast) == pytest.approx((204.38e-6, 236e-6), abs=1e-8)


def test_dssc_pixel_corners_are_those_of_extra_geom():
    ours = Geometry.from_quad_positions("DSSC1M", DSSC_QUADS)
    theirs = eg.DSSC_1MGeometry.from_quad_positions(DSSC_QUADS).to_distortion_array(
        allow_negative_xy=True
    )
    panel = ours.panels[0]
    expected = theirs.reshape(16, 128, 512, 6, 3)[0, :, :256]  # (z, y, x)
    corners = panel.corners()  # (corner, xyz, slow, fast)
    for i, j in [(0, 0), (1, 0), (5, 17), (127, 255)]:
        found = sorted(map(tuple, np.round(corners[:, :2, i, j] * 1e6, 1)))
        wanted = sorted(map(tuple, np.round(expected[i, j, :, :0:-1] * 1e6, 1)))
        np.testing.assert_allclose(found, wanted, atol=0.2)


def test_agipd500k2g_is_placed_by_the_beam():
    ours = Geometry.from_quad_positions("HED_DET_AGIPD500K2G", [(10, 20.5)])
    assert_same_positions(ours, eg.AGIPD_500K2GGeometry.from_origin((10, 20.5)))
    ours = Geometry.from_quad_positions(
        "AGIPD500K2G", [(1, 2)], unit=1e-3, asic_gap=0.3, panel_gap=(3, 5)
    )
    theirs = eg.AGIPD_500K2GGeometry.from_origin(
        (1, 2), unit=1e-3, asic_gap=0.3, panel_gap=(3, 5)
    )
    assert_same_positions(ours, theirs)


def test_jungfrau_modules_may_be_turned():
    ours = Geometry.from_module_positions(OFFSETS, ORIENTATIONS, asic_gap=2.5)
    theirs = eg.JUNGFRAUGeometry.from_module_positions(
        OFFSETS, ORIENTATIONS, asic_gap=2.5
    )
    assert_same_positions(ours, theirs)
    assert ours.modules is None


def test_jungfrau_offsets_may_be_in_another_unit():
    """By hand: EXtra-geom 1.17 mixes pixels and the unit for turned modules."""
    pixels = Geometry.from_module_positions(OFFSETS, ORIENTATIONS, asic_gap=2)
    factor = 75e-6 / 1e-3
    offsets = [(x * factor, y * factor) for x, y in OFFSETS]
    mm = Geometry.from_module_positions(
        offsets, ORIENTATIONS, asic_gap=2 * factor, unit=1e-3
    )
    np.testing.assert_allclose(mm.centres, pixels.centres, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "theirs",
    [
        eg.AGIPD_1MGeometry.from_quad_positions(AGIPD_QUADS),
        pytest.param(
            eg.LPD_1MGeometry.from_quad_positions(LPD_QUADS), marks=pytest.mark.nightly
        ),
        eg.DSSC_1MGeometry.from_quad_positions(DSSC_QUADS),
        eg.JUNGFRAUGeometry.from_module_positions(OFFSETS, ORIENTATIONS),
    ],
    ids=lambda g: g.detector_type_name,
)
def test_geometry_of_extra_geom_keeps_its_positions_and_tiles(theirs):
    ours = Geometry.from_extra_geom(theirs, distance=0.2)
    expected = np.moveaxis(theirs.get_pixel_positions(), -1, 0)
    np.testing.assert_array_equal(ours.centres[:2], expected[:2])
    np.testing.assert_allclose(ours.z, expected[2] + 0.2)
    assert len(ours.lattice) == sum(len(tiles) for tiles in theirs.modules)
    is_1m = "1M" in theirs.detector_type_name
    assert ours.modules == (tuple(range(16)) if is_1m else None)


def test_any_object_with_pixel_positions_is_taken():
    class Plain:
        def get_pixel_positions(self):
            i, j = np.mgrid[:4, :5]
            return np.stack([j * 1e-4, i * 1e-4, 0.0 * i], axis=-1)[None]

    ours = Geometry.from_extra_geom(Plain(), distance=0.1, modules=[7])
    assert ours.shape == (1, 4, 5)
    assert ours.modules == (7,)
    assert ours.x[0, 0, 4] == pytest.approx(4e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SPB_DET_AGIPD1M-1", "AGIPD1M"),
        ("agipd-1m", "AGIPD1M"),
        ("FXE_DET_LPD1M-1", "LPD1M"),
        ("SCS_DET_DSSC1M-1", "DSSC1M"),
        ("AGIPD500K2G", "AGIPD500K2G"),
    ],
)
def test_detector_is_known_by_source_name(name, expected):
    assert with_layout(name)[0].name == expected


def test_unknown_detector_is_named_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"LPD2M.*AGIPD1M"):
        Geometry.from_quad_positions("LPD2M", LPD_QUADS)


def test_wrong_number_of_quadrants_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        Geometry.from_quad_positions("AGIPD1M", AGIPD_QUADS[:3])


def test_jungfrau_has_no_quadrants():
    with pytest.raises(ValueError, match="from_module_positions"):
        Geometry.from_quad_positions("JUNGFRAU", AGIPD_QUADS)


@pytest.mark.parametrize("orientations", [[(1, 1)], [(1, 1), (1, 0)]])
def test_orientations_must_fit(orientations):
    with pytest.raises(ValueError, match="orientations"):
        Geometry.from_module_positions(OFFSETS[:2], orientations)
