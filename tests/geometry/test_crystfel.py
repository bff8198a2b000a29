"""CrystFEL geometry files, by hand and against EXtra-geom."""

import warnings

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import InconsistentDataError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.geometry.crystfel import read_crystfel

HEAD = """\
; two panels of one module, and one of another
clen = 0.2            ; metres
photon_energy = 9300
adu_per_eV = 0.0001
res = 10000
dim0 = %
dim2 = ss
dim3 = fs
data = /entry/data
rigid_group_all = a,b, c
rigid_group_collection_det = all

"""
PANELS = """\
a/dim1 = 3
a/min_fs = 0
a/max_fs = 7
a/min_ss = 0
a/max_ss = 3
a/fs = -0.002x + 1.0y +0.01z
a/ss = -x -0.002 y
a/corner_x = 10.5
a/corner_y = -3.25
a/coffset = 0.001
b/dim1 = 3
b/min_fs = 0
b/max_fs = 7
b/min_ss = 4
b/max_ss = 9
b/fs = y
b/ss = 1e0x
b/corner_x = -10
b/corner_y = 2
res = 20000
c/dim1 = 5
c/min_fs = 2
c/max_fs = 7
c/min_ss = 0
c/max_ss = 9
c/fs = x
c/ss = -.5y+0.5y-y
c/corner_x = 4
c/corner_y = -6
c/clen = 300 mm
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text):
        path = tmp_path / "test.geom"
        path.write_text(text)
        return path

    return write_file


def test_positions_follow_from_corner_and_steps(write):
    geometry = Geometry.from_crystfel(write(HEAD + PANELS))
    assert geometry.shape == (2, 10, 8)
    assert geometry.modules == (3, 5)
    assert geometry.energy == 9300
    for i in range(4):
        for j in range(8):
            fs, ss = j + 0.5, i + 0.5
            assert geometry.x[0, i, j] == pytest.approx(
                (10.5 - 0.002 * fs - ss) / 10000
            )
            assert geometry.y[0, i, j] == pytest.approx(
                (-3.25 + fs - 0.002 * ss) / 10000
            )
            assert geometry.z[0, i, j] == pytest.approx(0.201 + 0.01 * fs / 10000)
    assert geometry.x[0, 6, 1] == pytest.approx((-10 + 2.5) / 10000)
    assert geometry.y[0, 6, 1] == pytest.approx((2 + 1.5) / 10000)


def test_default_reaches_only_panels_named_after_it(write):
    file = read_crystfel(write(HEAD + PANELS))
    assert file.resolution == {"a": 10000, "b": 10000, "c": 20000}
    geometry = Geometry.from_crystfel(write(HEAD + PANELS))
    assert geometry.x[1, 0, 2] == pytest.approx(4.5 / 20000)
    assert geometry.y[1, 0, 2] == pytest.approx(-6.5 / 20000)
    assert geometry.z[1, 0, 2] == pytest.approx(0.3)


def test_pixels_in_no_panel_are_bad_and_have_no_position(write):
    geometry = Geometry.from_crystfel(write(HEAD + PANELS))
    bad = geometry.bad_pixels
    assert bad.dims == ("module", "slow_scan", "fast_scan")
    assert bad.module.values.tolist() == [3, 5]
    expected = np.zeros((2, 10, 8), dtype=bool)
    expected[1, :, :2] = True
    np.testing.assert_array_equal(bad, expected)
    np.testing.assert_array_equal(np.isnan(geometry.x), expected)


def test_groups_and_other_values_are_kept(write):
    file = read_crystfel(write(HEAD + PANELS))
    assert file.groups == {"all": ("a", "b", "c")}
    assert file.collections == {"det": ("all",)}
    assert file.values["adu_per_eV"] == "0.0001"
    assert file.values["data"] == "/entry/data"


BAD = """\
badcorner/panel = b
badcorner/min_fs = 6
badcorner/max_fs = 7
badcorner/min_ss = 8
badcorner/max_ss = 9
badbeam/min_x = 4.4
badbeam/max_x = 8.5
badbeam/min_y = -9
badbeam/max_y = 0
"""


def test_bad_regions_are_inclusive(write):
    """By a loop over pixels: data coordinates on a panel, x and y in pixels of any."""
    geometry = Geometry.from_crystfel(write(HEAD + PANELS + BAD))
    expected = np.isnan(geometry.x)
    expected[0, 8:10, 6:8] = True
    for m, resolution in ((0, 10000), (1, 20000)):
        for i in range(10):
            for j in range(8):
                x = geometry.x[m, i, j] * resolution
                y = geometry.y[m, i, j] * resolution
                expected[m, i, j] |= 4.4 <= x <= 8.5 and -9 <= y <= 0
    assert 4 < expected.sum() - np.isnan(geometry.x).sum() < 60
    np.testing.assert_array_equal(geometry.bad_pixels, expected)


ONE = """\
{head}
res = 5000
p/min_fs = 0
p/max_fs = 3
p/min_ss = 0
p/max_ss = 3
p/corner_x = 0
p/corner_y = 0
"""


def test_camera_length_in_the_data_must_be_given(write):
    path = write(ONE.format(head="clen = /LCLS/detector_1/EncoderValue"))
    with pytest.raises(MissingConstantError, match=r"EncoderValue.*clen="):
        Geometry.from_crystfel(path)
    geometry = Geometry.from_crystfel(path, clen=0.15)
    assert (geometry.z == 0.15).all()
    assert geometry.distance == 0.15


@pytest.mark.parametrize(
    ("line", "energy"),
    [
        ("photon_energy = 9.3 keV", 9300),
        ("photon_energy = 9300 eV", 9300),
        ("photon_energy = /LCLS/photon_energy_eV", None),
        ("photon_energy = /LCLS/photon_energy_eV eV", None),
        ("wavelength = 1.44 A", 12398.4198 / 1.44),
        ("wavelength = 1.44e-10 m", 12398.4198 / 1.44),
        ("", None),
    ],
)
def test_photon_energy(write, line, energy):
    path = write(ONE.format(head=f"clen = 0.1\n{line}"))
    found = Geometry.from_crystfel(path).energy
    assert found == (energy if energy is None else pytest.approx(energy, rel=1e-7))
    assert Geometry.from_crystfel(path, energy=8000).energy == 8000


def test_shift_of_the_detector_moves_all_panels(write):
    head = "clen = 0.1\ndetector_shift_x = 2 mm\ndetector_shift_y = -0.001 m"
    geometry = Geometry.from_crystfel(write(ONE.format(head=head)))
    assert geometry.x[0, 0, 0] == pytest.approx(0.0001 + 0.002)
    assert geometry.y[0, 0, 0] == pytest.approx(0.0001 - 0.001)


def test_modules_may_lie_under_different_paths(write):
    text = ONE.format(head="clen = 0.1\ndata = /first") + ONE.format(
        head="data = /second"
    ).replace("p/", "q/")
    geometry = Geometry.from_crystfel(write(text), modules=[8, 2])
    assert geometry.shape == (2, 4, 4)
    assert geometry.modules == (8, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a/min_fs = 0", "a/min_fs = zero", r"test\.geom, line 14: min_fs = 'zero'"),
        ("a/min_fs = 0", "a/min_fs 0", "line 14: .*name = value"),
        ("a/min_fs = 0", "a/min_fs = 9", "spans fs 9 to 7"),
        ("a/min_fs = 0", "a/min_fs = 0.5", "line 14: .*integer"),
        ("b/corner_x = -10\n", "", "panel 'b' lacks corner_x"),
        ("b/fs = y", "b/fs = 1.0q", "line 28: '1.0q' is not a direction"),
        ("b/fs = y", "b/fs = 1.0", "'1.0' is not a direction"),
        ("res = 10000", "res = 0", "line 5: res = 0"),
        ("clen = 0.2 ", "clen = 0.2 ft ", "line 2: clen has unit 'ft'"),
        ("clen = 0.2 ", "clen = far ", "line 2: clen = 'far'"),
        ("dim2 = ss", "dim2 = ss\ndetector_shift_x = 3", "line 8: .*with its unit"),
        ("b/dim1 = 3", "b/dim1 = 4\nb/dim0 = 1", "differ in dim0, dim1"),
        ("c/clen", "badx/min_x = 3\nc/clen", "bad region 'badx' has min_x"),
        ("c/clen", BAD.replace("= b", "= z") + "c/clen", "unknown panel 'z'"),
    ],
)
def test_faults_are_named_with_file_and_line(write, old, new, message):
    text = HEAD + PANELS
    assert old in text
    with pytest.raises(InconsistentDataError, match=message):
        Geometry.from_crystfel(write(text.replace(old, new)))


def test_file_without_panels_is_refused(write):
    with pytest.raises(InconsistentDataError, match=r"test\.geom: no panel"):
        Geometry.from_crystfel(write("clen = 0.1\n"))


@pytest.mark.parametrize("shifted", [False, True])
def test_files_of_extra_geom_are_read_as_it_reads_them(tmp_path, shifted):
    eg = pytest.importorskip("extra_geom")
    theirs = eg.AGIPD_1MGeometry.from_quad_positions(
        [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
    )
    if shifted:
        theirs = theirs.offset((1e-3, -2e-3, 5e-4)).rotate([0.01, 0.02, 0.5])
    path = tmp_path / "agipd.geom"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.write_crystfel_geom(path, clen=0.2, photon_energy=9300, adu_per_ev=0.1)
        again = eg.AGIPD_1MGeometry.from_crystfel_geom(path)
    ours = Geometry.from_crystfel(path)
    expected = np.moveaxis(again.get_pixel_positions(), -1, 0)
    np.testing.assert_allclose(ours.centres[:2], expected[:2], rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.z - 0.2, expected[2], rtol=0, atol=1e-10)
    assert ours.modules == tuple(range(16))
    assert len(ours.groups["q0"]) == 32


def test_modules_glued_along_slow_scan_are_taken_apart(shared):
    """The golden file holds 8 modules as one array (1024, 64).

    Its corners are the first pixel's centre in the golden positions (Kameshima's
    convention), so both differ by half a pixel along both axes.
    """
    folder = shared / "golden" / "sacla"
    geometry = Geometry.from_crystfel(folder / "run206178.geom")
    assert geometry.shape == (1, 1024, 64)
    assert len(geometry.groups["q0"]) == 8
    data = xr.DataArray(
        np.zeros((8, 128, 64)),
        dims=("module", "slow_scan", "fast_scan"),
        coords={"module": range(1, 9)},
    )
    located = locate(data, geometry)
    assert located.q.shape == (8, 128, 64)
    golden = np.load(folder / "run206178_positions.npz")
    apart = geometry.with_shape((8, 128, 64))
    for panel in apart.panels:
        m = panel.module
        half = (np.array(panel.slow_step) + np.array(panel.fast_step)) / 2
        for axis, name in ((0, "x_um"), (1, "y_um")):
            ours = apart.centres[axis, m] - half[axis]
            np.testing.assert_allclose(ours * 1e6, golden[name][m], rtol=0, atol=0.5)
