"""One table of names: what is known of a detector is known by each of its names."""

import numpy as np
import pytest
import xarray as xr

from xfelred import detector_names, masks, ops
from xfelred.ops.calibration.gain_bits import gain_switch
from xfelred.ops.calibration_kinds import KINDS, kind_of
from xfelred.ops.lcls_common_modes import DETECTORS, detector_of
from xfelred.recipes.common_modes import lcls_kind

ALL = [n for kind, others in detector_names.NAMES.items() for n in (kind, *others)]


def test_no_name_stands_for_two_kinds():
    plain = [detector_names.plain(n) for n in ALL]
    assert len(plain) == len(set(plain))
    for table in (KINDS, DETECTORS, masks.segments):
        assert {*table} <= {*detector_names.NAMES}


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
        ("jungfrau_euxfel", "jungfrau_euxfel", "jungfrau", (512, 1024)),
        ("Opal8000", "camera", "camera", None),
        ("uxi", "uxi", "uxi", None),
        ("Andor3D", "andor3d", "andor3d", None),
        ("Rayonix", "camera", "camera", None),
    ],
)
def test_all_tables_know_the_same_names(name, kind, mode, segment):
    assert kind_of(name)[0] == kind
    assert detector_of(name)[0] == mode
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
    assert detector_names.told_by(name) == kind
    if kind in DETECTORS:
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
