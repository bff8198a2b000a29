"""Slips of units: what is refused, what is warned of, what must stay accepted."""

import warnings

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops, synth
from xfelred.errors import UnitsError, XfelredError
from xfelred.geometry import (
    Geometry,
    energy_to_wavelength,
    locate,
    q_to_radius,
    radius_to_q,
    wavelength_to_energy,
)

AGIPD = np.array([(-525, 625), (-550, -10), (520, -160), (542.5, 475)])
LPD = np.array([(11.4, 299), (-11.5, 8), (254.5, -16), (278.5, 275)])
DSSC = np.array([(-130, 5), (-130, -125), (5, -125), (5, 5)])
SETUP = {"distance": 0.1, "pixel_size": 1e-4, "wavelength": 1.4}
ROWS, COLUMNS = np.mgrid[:6, :8] * 2e-4


def flat(**changed):
    options = {"centre": (4, 3), "distance": 0.1, "pixel_size": 1e-4, **changed}
    return Geometry.flat((6, 8), **options)


def placed(x=COLUMNS, y=ROWS, z=0.1, **options):
    return Geometry.from_positions(x, y, z, **options)


def lcls(x=COLUMNS, y=ROWS, z=0.0, **changed):
    options = {"centre": (7e-4, 5e-4), "distance": 0.1, **changed}
    return Geometry.lcls(x, y, z, **options)


def quads(detector, positions, **options):
    return Geometry.from_quad_positions(detector, positions, **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: flat(energy=9.3), "energy=9.3 eV .* 9300 eV, which is 9.3 keV"),
        (lambda: flat(energy=0.0093), "energy=0.0093 eV"),
        (lambda: flat(energy=1.49e-15), "which is 1.49e-15 J"),
        (lambda: flat(wavelength=1.4e-10), "1.4 angstrom, which is 1.4e-10 m"),
        (lambda: flat(wavelength=9300), "wavelength=9300 angstrom"),
        (lambda: flat(distance=100), "0.1 m, which is 100 mm"),
        (lambda: flat(pixel_size=75), "7.5e-05 m, which is 75 um"),
        (lambda: flat(pixel_size=(1e-4, 0.2)), "0.0002 m, which is 0.2 mm"),
        (lambda: placed(COLUMNS * 1e3, ROWS * 1e3), "distance of neighbours"),
        (lambda: placed(COLUMNS * 1e6, ROWS * 1e6, 1e5), "distance of neighbours"),
        (lambda: placed(COLUMNS + 250), "x and y of the pixels=250.*which is 250"),
        (lambda: placed(z=150.0), "z of the pixels=150 m.* 150 mm"),
        (lambda: placed(distance=150), "distance=150 m"),
        (lambda: placed(energy=7.1), "7.1 keV"),
        (lambda: lcls(COLUMNS * 1e6, ROWS * 1e6), "which is 200 um"),
        (lambda: lcls(distance=85.0), "distance=85 m"),
        (lambda: lcls(centre=(700, 500)), "centre=700 m .*700 um"),
        (lambda: lcls(tilt=(0, -12)), "tilt=12 rad .*12 degree"),
        (lambda: quads("AGIPD1M", AGIPD * 0.2), "quadrant 1 and 2 .*pixels of 0.2 mm"),
        (lambda: quads("LPD1M", LPD * 1e-3), "are the positions in mm"),
        (lambda: quads("DSSC1M", DSSC * 1e3), "quadrants lie far apart"),
        (lambda: quads("AGIPD1M", AGIPD, distance=200), "200 mm"),
        (lambda: quads("AGIPD1M", AGIPD, distance=0.2, energy=9.3), "9.3 keV"),
        (
            lambda: Geometry.from_module_positions([(0, 0), (0, 40.0)]),
            "module 1 and 2 lie on each other, by .*pixels of 0.075 mm",
        ),
        (
            lambda: Geometry.from_module_positions([(0, 0), (8000, 0)], unit=1.0),
            "modules lie far apart, .* in m",
        ),
        (lambda: energy_to_wavelength(9.3), "9.3 keV"),
        (lambda: wavelength_to_energy(1.4e-10), "1.4e-10 m"),
        (lambda: radius_to_q(3, **{**SETUP, "distance": 100}), "100 mm"),
        (lambda: radius_to_q(3, **{**SETUP, "pixel_size": 75}), "75 um"),
        (lambda: q_to_radius(1, **{**SETUP, "wavelength": 1.4e-10}), "1.4e-10 m"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(make, says):
    with pytest.raises(UnitsError, match=says) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, XfelredError)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: flat(energy=24.0), "24 eV .*24000 eV, which is 24 keV"),
        (lambda: flat(wavelength=0.02), "0.2 angstrom, which is 0.02 nm"),
        (lambda: flat(distance=31), "distance=31 m .*0.031 m, which is 31 mm"),
        (lambda: flat(pixel_size=0.013), "1.3e-05 m, which is 0.013 mm"),
        (lambda: quads("LPD1M", LPD * 2), "far apart.* in mm"),
        (lambda: quads("DSSC1M", DSSC / 0.236), "far apart.* in mm"),
    ],
)
def test_numbers_that_are_unusual_are_warned_of(make, says):
    with pytest.warns(UserWarning, match=says):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: flat(energy=92.0),
        lambda: flat(energy=50.0),
        lambda: flat(energy=120e3),
        lambda: flat(wavelength=135.0),
        lambda: flat(wavelength=0.1),
        lambda: flat(distance=0.004, energy=9e3),
        lambda: flat(distance=12.5),
        lambda: flat(pixel_size=5e-6),
        lambda: flat(pixel_size=(8e-4, 2e-3)),
        lambda: placed(COLUMNS * 100, ROWS * 100, 2.0),
        lambda: placed(z=-0.05),
        lambda: lcls(centre=(0, 0), tilt=(0.3, -0.6)),
        lambda: quads("AGIPD1M", AGIPD * 1.1),
        lambda: quads("LPD1M", LPD + 40),
        lambda: quads("LPD1M", LPD * 1e3, unit=1e-6, panel_gap=2e3),
        lambda: Geometry.from_module_positions([(0, 0), (2500, 3000)]),
    ],
)
def test_unusual_numbers_that_are_possible_pass_in_silence(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_only_positive_numbers_will_do(value):
    for name in ("energy", "wavelength", "distance", "pixel_size"):
        with pytest.raises(UnitsError, match=f"{name}=.* wanted a positive number"):
            flat(**{name: value})


PONI = """\
Detector: Detector
Detector_config: {{"pixel1": {pixel}, "pixel2": 1e-4}}
Distance: {distance}
Poni1: 0
Poni2: 0
Rot1: {rot}
Wavelength: {wavelength}
"""


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"wavelength": 1.44}, r"a\.poni: Wavelength=1.44 m .*which is 1.44 angstrom"),
        ({"distance": 150.0}, r"a\.poni: Distance=150 m .*150 mm"),
        ({"pixel": 100}, "pixel size=100 m .*100 um"),
        ({"rot": 45}, "Rot1=45 rad .*45 degree"),
    ],
)
def test_slips_in_poni_files_name_the_file(tmp_path, changed, says):
    values = {"pixel": 1e-4, "distance": 0.1, "rot": 0.1, "wavelength": 1e-10}
    path = tmp_path / "a.poni"
    path.write_text(PONI.format(**values))
    Geometry.from_poni(path)
    path.write_text(PONI.format(**{**values, **changed}))
    with pytest.raises(UnitsError, match=says):
        Geometry.from_poni(path)


GEOM = """\
photon_energy = {energy}
clen = {clen}
res = {res}
p/min_fs = 0
p/max_fs = 3
p/min_ss = 0
p/max_ss = 3
p/corner_x = 0
p/corner_y = 0
"""


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"energy": 9.3}, r"a\.geom: photon_energy=9.3 eV .*9.3 keV"),
        ({"clen": 120}, r"a\.geom: clen \+ coffset=120 m .*120 mm"),
        ({"res": 75e-6}, r"a\.geom: p: 1 / res=13333"),
    ],
)
def test_slips_in_crystfel_files_name_the_file(tmp_path, changed, says):
    values = {"energy": 9300, "clen": 0.1, "res": 13333.3}
    path = tmp_path / "a.geom"
    path.write_text(GEOM.format(**{**values, **changed}))
    with pytest.raises(UnitsError, match=says):
        Geometry.from_crystfel(path)


def test_operations_refuse_them_too():
    image = xr.DataArray(np.ones((6, 8)), dims=("slow_scan", "fast_scan"))
    located = locate(image, flat(energy=9300))
    options = {"r_min": 1, "r_max": 3, "n_phi": 12, "unit": "pixel"}
    with pytest.raises(UnitsError, match=r"9\.3 keV"):
        ops.remap_polar(located, energy=9.3, **options)
    shots = xr.DataArray([9.3, 9.4], {"train": [1, 2]}, ("train",))
    frames = located.expand_dims(train=[1, 2])
    with pytest.raises(UnitsError, match=r"9\.35 keV"):
        ops.remap_polar(frames, energy=shots, **options)
    with pytest.raises(UnitsError, match=r"9\.3 keV"):
        ops.adu_to_photons(frames, gain=17.0, energy=9.3)
    polar = ops.remap_polar(located, **options)
    with pytest.raises(UnitsError, match=r"1\.4e-10 m"):
        ops.correct_polarization(polar, wavelength=1.4e-10)
    result = ops.correlate_angular(polar)
    with pytest.raises(UnitsError, match="wavelength=9300"):
        ops.to_cos_psi(result, wavelength=9300)


def test_bins_that_no_pixel_is_in_are_warned_of():
    image = xr.DataArray(np.ones((6, 8)), dims=("slow_scan", "fast_scan"))
    located = locate(image, flat(energy=9300))
    with pytest.warns(UserWarning, match="from 5 to 50 1/angstrom, the pixels from 0"):
        ops.integrate_azimuthally(located, np.linspace(5, 50, 4))
    with pytest.warns(UserWarning, match="all bins will be empty"):
        ops.integrate_azimuthally(located, 3, q_range=(5, 50))


@pytest.mark.parametrize(
    ("line", "text"),
    [("Poni1: 50.0", "Poni1=50 m is far"), ("Poni2: 512.3", "Poni2=512.3 m")],
)
def test_points_of_a_poni_file_are_in_metres(tmp_path, line, text):
    values = {"Poni1": "Poni1: 0.05", "Poni2": "Poni2: 0.05"}
    values[line.split(":")[0]] = line
    path = tmp_path / "a.poni"
    path.write_text(
        'poni_version: 2.1\nDetector: Detector\nDetector_config: {"pixel1": 1e-4,'
        ' "pixel2": 1e-4}\nDistance: 0.2\n' + "\n".join(values.values())
        + "\nRot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1e-10\n"
    )  # fmt: skip
    with pytest.raises(UnitsError, match=text):
        Geometry.from_poni(path)


def test_pixels_in_the_plane_of_the_sample_are_refused():
    with pytest.raises(UnitsError, match="add the distance"):
        placed(z=0.0)
    with pytest.raises(UnitsError, match="z of the pixels"):
        Geometry.lcls(
            COLUMNS, ROWS, 5e4 * np.ones_like(COLUMNS), centre=(0, 0), distance=0.1
        )


@pytest.mark.parametrize("energy", [10.0, 1.6e-15])
def test_energies_in_a_sacla_file_are_in_ev(tmp_path, energy):
    truth = synth.sacla.write_run(
        tmp_path / "5.h5", shape=(8, 8), n_images=4, n_darks=1
    )
    with h5py.File(truth.path, "r+") as file:
        for name in found_by_name(file, "photon_energy_in_eV"):
            file[name][...] = energy
    with pytest.raises(UnitsError, match="photon energy of the run"):
        Geometry.sacla(xf.open_run(truth.path), distance=0.05)


def found_by_name(file, word):
    names = []
    file.visit(lambda name: names.append(name) if name.endswith(word) else None)
    return names
