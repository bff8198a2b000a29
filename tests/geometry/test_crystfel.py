"""CrystFEL geometry files, by hand and against EXtra-geom."""

import warnings

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import (
    GeometryMismatchError,
    InconsistentDataError,
    MissingConstantError,
)
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
        ("dim2 = ss", "dim4 = ss", "line 8: .*fs on dim3 and ss on dim4"),
        ("c/clen = 300 mm", "c/no_index = maybe", "no_index = 'maybe'"),
        ("clen = 0.2 ", "clen = -2 ", "line 2: panel 'b' lies at z = -2 m"),
        ("res = 20000", "mask_edge_pixels = -1\nres = 20000", "mask_edge_pixels = -1"),
        ("res = 20000", "mask_edge_pixels = 1.5\nres = 200", "wanted an integer"),
    ],
)
def test_faults_are_named_with_file_and_line(write, old, new, message):
    text = HEAD + PANELS
    assert old in text
    with pytest.raises(InconsistentDataError, match=message):
        Geometry.from_crystfel(write(text.replace(old, new)))


REGION = "badq/min_fs = 1\nbadq/max_fs = 2\nbadq/min_ss = 0\nbadq/max_ss = 4\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (REGION + "badq/dim1 = 4\n", "badq.*dim1 = 4.*dim1 of panels: 3, 5"),
        (REGION + "badq/dim7 = 1\n", "badq.*dim7 = 1"),
        (REGION + "badq/dim1 = five\n", "dim1 = 'five'; wanted a number"),
        (REGION + "badq/dim1 = 5\nbadq/panel = a\n", "dim1 = 5.*dim1 of panels: 3"),
        (REGION + "badq/min_x = 1\n", "'badq' has min_fs"),
        (
            REGION.replace("= 4", "= -1"),
            "'badq' holds nothing: min_fs = 1, max_fs = 2, min_ss = 0, max_ss = -1",
        ),
        (
            REGION + "badq/min_x = 0\nbadq/max_x = 1\nbadq/min_y = 0\nbadq/max_y = 1",
            "'badq' has",
        ),
    ],
)
def test_bad_regions_that_cannot_be_placed_are_refused(write, lines, message):
    with pytest.raises(InconsistentDataError, match=message):
        Geometry.from_crystfel(write(HEAD + PANELS + lines))


def test_bad_regions_are_confined_to_the_module_that_they_name(write):
    text = HEAD + PANELS + REGION
    every = Geometry.from_crystfel(write(text)).bad_pixels
    one = Geometry.from_crystfel(write(text + "badq/dim1 = 5\nbadq/dim2 = ss\n"))
    plain = Geometry.from_crystfel(write(HEAD + PANELS)).bad_pixels
    expected = plain.copy()
    expected.loc[{"module": 5}][:5, 1:3] = True
    np.testing.assert_array_equal(one.bad_pixels, expected)
    expected.loc[{"module": 3}][:5, 1:3] = True
    np.testing.assert_array_equal(every, expected)


@pytest.mark.parametrize(
    ("value", "bad"),
    [("1", True), ("True", True), ("2", True), ("0", False), ("false", False)],
)
def test_panels_that_are_not_to_be_used_are_bad(write, value, bad):
    geometry = Geometry.from_crystfel(write(HEAD + PANELS + f"b/no_index = {value}\n"))
    expected = Geometry.from_crystfel(write(HEAD + PANELS)).bad_pixels
    expected[0, 4:10] = bad
    np.testing.assert_array_equal(geometry.bad_pixels, expected)


def test_borders_of_panels_are_bad_by_default_and_by_panel(write):
    text = HEAD + "mask_edge_pixels = 1\n" + PANELS + "c/mask_edge_pixels = 2\n"
    bad = Geometry.from_crystfel(write(text + "a/mask_edge_pixels = 0\n")).bad_pixels
    expected = np.ones((2, 10, 8), dtype=bool)
    expected[0, :4] = False  # a: no border
    expected[0, 5:9, 1:7] = False  # b: one pixel of rows 4 to 9
    expected[1, 2:8, 4:6] = False  # c: two pixels of columns 2 to 7
    np.testing.assert_array_equal(bad, expected)
    wide = Geometry.from_crystfel(write(text.replace("= 2\n", "= 3\n")))
    assert wide.bad_pixels.sel(module=5).all()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a/mask = /m\n", r"not read: mask = /m \(line 43\)\. Read"),
        ("a/mask3_badbits = 0x1\n", "mask3_badbits = 0x1"),
        ("a/flag_morethan = 6e4\n", "flag_morethan = 6e4"),
        ("a/cofset = 0.1\n", "a/cofset .line 43. Did you mean 'coffset'"),
        ("a/maks = /m\n", "left out: a/maks"),
        ("badq/panl = a\n" + REGION, "badq/panl .* Did you mean 'panel'"),
        ("photon_enrgy = 3\n", "photon_enrgy .* Did you mean 'photon_energy'"),
        ("coffset = 0.3\n", "coffset .line 43. stand behind all panels"),
    ],
)
def test_a_warning_names_what_is_not_understood_or_not_read(write, lines, said):
    path = write(HEAD + PANELS + lines)
    with pytest.warns(UserWarning, match=said) as seen:
        Geometry.from_crystfel(path)
    assert len(seen) == 1
    assert str(path) in str(seen[0].message)


def test_a_mask_of_all_panels_is_said_once(write):
    text = "mask_file = bad.h5\nmask0_data = /mask\nfoo = 1\n" + HEAD + PANELS
    with pytest.warns(UserWarning, match="geom") as seen:
        Geometry.from_crystfel(write(text))
    unknown, masks = (str(w.message) for w in seen)
    assert unknown.endswith("left out: foo (line 3)")
    assert "mask_file = bad.h5 (line 1), mask0_data = /mask (line 2)" in masks


@pytest.mark.parametrize("shift", [0.58, 0.002])
def test_distance_counts_the_offsets_of_panels(write, shift):
    text = ONE.format(head=f"clen = /encoder\ncoffset = {shift}")
    geometry = Geometry.from_crystfel(write(text), clen=0.7 - shift)
    assert geometry.distance == pytest.approx(0.7)
    same = Geometry.flat((4, 4), (-0.5, -0.5), 0.7, 2e-4)
    da = xr.DataArray(np.zeros((4, 4)), dims=("slow_scan", "fast_scan"))
    found, right = (locate(da, g).solid_angle for g in (geometry, same))
    np.testing.assert_allclose(found, right, rtol=1e-9)
    with pytest.raises(InconsistentDataError, match=r"z = -0.2 m.*clen \+ coffset"):
        Geometry.from_crystfel(write(text), clen=-0.2 - shift)


def test_distance_is_that_of_the_pixels_where_panels_differ(write):
    two = ONE.format(head="clen = 0.1") + ONE.replace("p/", "q/").format(head="")
    text = two.replace("q/min_ss = 0", "q/min_ss = 4").replace(
        "q/max_ss = 3", "q/max_ss = 5"
    )
    path = write(text + "p/coffset = 0.3\nq/coffset = 0.6\nq/fs = 0.6x +0.8z\n")
    geometry = Geometry.from_crystfel(path)
    assert geometry.distance == pytest.approx(float(np.nanmean(geometry.z)), rel=1e-12)
    assert geometry.distance == pytest.approx(0.5, abs=1e-3)


def test_camera_length_that_is_missing_names_the_offset_it_is_added_to(write):
    path = write(ONE.format(head="coffset = 0.58"))
    with pytest.raises(MissingConstantError, match=r"no clen.*coffset = 0.58 is added"):
        Geometry.from_crystfel(path)


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


STACK = "clen = 0.1\nres = 10000\n" + "".join(
    f"m{k}/min_fs = 0\nm{k}/max_fs = 5\nm{k}/min_ss = {4 * k}\n"
    f"m{k}/max_ss = {4 * k + 3}\nm{k}/corner_x = {10 * k}\nm{k}/corner_y = {-k}\n"
    f"badm{k}/panel = m{k}\nbadm{k}/min_fs = {k}\nbadm{k}/max_fs = {k}\n"
    f"badm{k}/min_ss = {4 * k}\nbadm{k}/max_ss = {4 * k + 1}\n"
    for k in range(3)
)


def test_stacked_modules_may_be_numbered(write):
    plain = Geometry.from_crystfel(write(STACK))
    geometry = Geometry.from_crystfel(write(STACK), modules=[4, 7, 2])
    assert geometry.shape == (3, 4, 6)
    assert geometry.modules == (4, 7, 2)
    np.testing.assert_array_equal(geometry.x[1], plain.x[0, 4:8])
    np.testing.assert_array_equal(geometry.bad_pixels.sel(module=2), plain.bad[0, 8:])
    values = np.zeros((2, 4, 6))
    coords = {"module": [2, 4]}
    da = xr.DataArray(values, coords, ("module", "slow_scan", "fast_scan"))
    located = locate(da, geometry)
    whole = locate(da.isel(module=[0, 1, 1]).assign_coords(module=[1, 2, 3]), plain)
    for module, row in ((2, 2), (4, 0)):
        np.testing.assert_array_equal(
            located.two_theta.sel(module=module), whole.two_theta[row]
        )


def test_stacked_modules_without_numbers_need_the_order_of_the_stack(write):
    plain = Geometry.from_crystfel(write(STACK))
    da = xr.DataArray(
        np.zeros((3, 4, 6)),
        {"module": [1, 3, 2]},
        ("module", "slow_scan", "fast_scan"),
    )
    with pytest.raises(GeometryMismatchError, match=r"order 1, 3, 2; .*modules="):
        locate(da, plain)
    with pytest.raises(GeometryMismatchError, match="numbers of all its modules"):
        locate(da.isel(module=[0, 2]), plain)


@pytest.mark.parametrize(("modules", "says"), [(6, "would cut .* m0"), (5, "modules=")])
def test_stack_is_not_cut_through_panels(write, modules, says):
    text = STACK.replace("m0/max_ss = 3", "m0/max_ss = 2") if modules == 5 else STACK
    with pytest.raises(GeometryMismatchError, match=says):
        Geometry.from_crystfel(write(text), modules=range(modules))
