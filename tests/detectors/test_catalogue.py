"""The catalogue: what is known of a detector is known by each of its names."""

import numpy as np
import pytest
import xarray as xr

from xfelred import masks, ops
from xfelred.detectors import CATALOGUE, find, told_by
from xfelred.detectors.catalogue import BY_NAME, SOURCES
from xfelred.ops.calibration.gain_bits import gain_switch
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.lcls_common_modes import completed, detector_of
from xfelred.recipes.cube_recipe import lcls_kind
from xfelred.synth import euxfel as synth

EACH = pytest.mark.parametrize("detector", CATALOGUE.values(), ids=lambda d: d.name)


@EACH
def test_every_name_of_a_detector_finds_it_alone(detector):
    for name in (detector.name, *detector.aliases):
        inside = [] if "_" in name else [f"XppGon.0:{name}", f"my_{name}_1"]
        for spelling in (name, name.upper(), *inside):
            assert find(spelling) is detector
    names = [name for name, d in BY_NAME.items() if d is detector]
    assert len(names) == 1 + len(detector.aliases)


@EACH
def test_what_is_known_of_a_detector_fits_together(detector):
    n, rows, columns = detector.shape
    rule, modes, layout = detector.gain.rule, detector.modes, detector.layout
    assert CATALOGUE[detector.kind].kind == detector.kind
    assert min(detector.pitch) >= 0
    assert (detector.gain.tells == "nothing") == (rule.n_ranges == 1)
    assert len(rule.codes) == rule.n_ranges
    assert not (rule.code_bits << rule.shift) & rule.adu_bits
    assert {*detector.gain.used_ranges} <= {*range(rule.n_ranges)}
    if modes is not None:
        assert modes.default in modes.numbers
        assert {*modes.lcls2} <= {*modes.numbers}
    for cmpars in [] if modes is None else [*modes.numbers.values()]:
        head = cmpars[:1]
        if head not in ((), ("dark_roi",), ("dark_columns",)):
            numbers = (128 if p == "columns" else p for p in cmpars)  # of the frame
            assert completed(tuple(numbers)[head == ("banks",) :])
    if layout is not None:
        assert rows % layout.tile[0] == columns % layout.tile[1] == 0
        assert n > 0
        assert min(detector.pitch) > 0
    if detector.sources is not None and detector.sources.kind in synth.KINDS:
        kind = synth.KINDS[detector.sources.kind]
        assert kind.module_shape == (rows, columns)
        assert kind.n_modules == (n or kind.n_modules)
        assert kind.first_module == detector.sources.first_number
        name = kind.default_detector
        for corrected in (False, True):
            source = kind.source(name, kind.first_module, corrected=corrected)
            found = detector.sources.match(source)
            assert found == (name, kind.first_module, corrected)
            assert find(source) is detector


def test_sources_of_all_simulated_detectors_are_known():
    assert {*synth.KINDS} <= {*SOURCES}


@pytest.mark.parametrize(
    ("name", "kind", "mode", "segment"),
    [
        ("Jungfrau8M", "jungfrau", "jungfrau", (512, 1024)),
        ("jungfrau_0.5M", "jungfrau", "jungfrau", (512, 1024)),
        ("epix10kaQuad", "epix10ka", "epix10ka", (352, 384)),
        ("epix10k135", "epix10ka", "epix10ka", (352, 384)),
        ("epixHR 2x2", "epixhr", "epixhr", (288, 384)),
        ("ePix100a", "epix100", "epix100", (704, 768)),
        ("epixUHR3x2", "epixuhr", "epixuhr", (168, 192)),
        ("ePixM", "epixm", "epixm", (192, 384)),
        ("CsPad2x2", "cspad2x2", "cspad2x2", (185, 388)),
        ("cs140k", "cspad2x2", "cspad2x2", (185, 388)),
        ("cspad2x1", "cspad", "cspad", (185, 388)),
        ("epix10k2M_1", "epix10ka", "epix10ka", (352, 384)),
        ("epix_2", "epix100", "epix100", (704, 768)),
        ("jungfrau_euxfel", "jungfrau_euxfel", "jungfrau_euxfel", (512, 1024)),
        ("Opal8000", "camera", "camera", None),
        ("uxi", "uxi", "uxi", None),
        ("Andor3D", "andor3d", "andor3d", None),
        ("Rayonix", "camera", "camera", None),
    ],
)
def test_all_tables_know_the_same_names(name, kind, mode, segment):
    assert kind_of(name).kind == kind
    if mode is not None:
        assert detector_of(name).kind == mode
    if segment is not None:
        assert masks.segment_of(name).shape == segment


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("epix10k2M_1", "epix10ka"), ("XppEndstation.0:Epix100a.3", "epix100"),
        ("jungfrau1M_alcove", "jungfrau"), ("epix_2", "epix100"), ("my_cspad", "cspad"),
        ("intg/archon", "archon"), ("flux_i0", ""), ("det", ""), ("ipm2", ""),
        ("epix_alc3", "epix100"), ("epixNew", ""), ("epix2020", ""),
    ],
)  # fmt: skip
def test_the_name_of_a_detector_in_a_run_tells_its_kind(name, kind):
    found = told_by(name)
    assert (found.kind if found else "") == kind
    if kind:
        assert lcls_kind(name, 1) == kind


@pytest.mark.parametrize("find", [kind_of, detector_of, masks.segment_of, gain_switch])
def test_what_is_not_known_is_an_error_that_names_what_is_near(find):
    with pytest.raises(ValueError, match="Did you mean 'jungfrau'"):
        find("jungfrow")


def test_a_number_needs_a_detector_that_has_numbers():
    with pytest.raises(ValueError, match="does not tell the detector"):
        lcls_kind("flux_i0", 7)


@pytest.mark.parametrize(("kind", "flag"), [("epixM320", 15), ("epixUHR", 11)])
def test_detectors_of_the_suite_have_two_ranges_told_by_one_bit(kind, flag):
    rng = np.random.default_rng(2)
    shape = (1, *masks.segment_of(kind).shape)
    value, switched = rng.integers(0, 1 << flag, shape), rng.random(shape) < 0.3
    dims = ("module", "slow_scan", "fast_scan")
    raw = xr.DataArray((value | switched << flag).astype("u2"), dims=dims)
    constants = xr.Dataset(
        {"pedestal": ("gain_range", [10.0, 20.0]),
         "gain": ("gain_range", [2.0, 0.5], {"units": "adu/keV"})}
    )  # fmt: skip
    out = ops.calibrate(raw, constants, kind=kind)
    want = np.where(switched, (value - 20) / 0.5, (value - 10) / 2)
    np.testing.assert_allclose(out, want)
    index = ops.gain_index(raw, kind=kind)
    np.testing.assert_array_equal(index, switched)
