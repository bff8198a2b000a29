"""Raw frames to signal: pedestal, common mode and gain in one task with the read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.detectors import CATALOGUE, Detector
from xfelred.detectors.description import Gain
from xfelred.detectors.lcls import CSPAD_LOW_GAIN
from xfelred.entries import entry
from xfelred.errors import ArgumentError, InconsistentDataError, listing, warn
from xfelred.kernels.calibration import calibrate as kernel
from xfelred.kernels.calibration.calibrate import Calibration
from xfelred.lazy import map_frames
from xfelred.names import (
    BAD_PIXELS,
    DATA_GAIN,
    DATA_KIND,
    FAST,
    GAIN,
    GAIN_FACTOR,
    LONG_NAME,
    SLOW,
    STORED_DTYPE,
    UNITS,
)
from xfelred.ops.calibration.common_mode import stages_for
from xfelred.ops.calibration.constants import (
    bad_pixels_apart,
    check_detector,
    check_ranges,
    chosen_constants,
    noise_of,
    on_pixels,
)
from xfelred.ops.calibration.gain_index import check_switching
from xfelred.ops.calibration.gains import told_by, with_configuration
from xfelred.ops.calibration.packing import packed
from xfelred.ops.calibration.raw_words import raw_words
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.companions import matching
from xfelred.provenance import history_of, record

CommonMode = int | Sequence[Any] | Mapping[str, Any]


@entry(own=("constants", "common_mode"))
def calibrate(
    da: xr.DataArray,
    constants: xr.Dataset,
    *,
    kind: str,
    common_mode: CommonMode | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    bad_value: float = np.nan,
    gain_index: xr.DataArray | None = None,
    gain_plane: xr.DataArray | None = None,
    bad_gain_code: Literal["zero", "one"] = "zero",
    adu_per_photon: float | None = None,
) -> xr.DataArray:
    """Turn raw frames into signal: pedestal, common mode and gain in one pass.

    Parameters
    ----------
    da : DataArray, integer (..., [data_gain,] slow_scan, fast_scan), adu
        Raw frames. Kinds that do not switch their gain also take float.
    constants : Dataset
        On (module, slow_scan, fast_scan) as far as they have these dims; for kinds that
        switch with ``gain_range`` first, 3 or, epix10ka, 7. ``pedestal`` (adu) and, if
        there is one, ``offset`` are subtracted; ``gain`` divides (0: factor 0), or
        ``gain_factor`` multiplies; ``local_gain`` and ``gain_mask`` multiply, too
        (cspad: of integers, 0 is low gain, a factor of 6.85); ``bad_pixels`` (non-zero:
        bad); ``noise`` for common modes that need it. agipd: ``thresholds`` (threshold:
        2, ...) of the gain voltage. epix10ka: ``config`` and ``trbit`` as of
        `ops.gain_index`. One more dim is taken at the label of each frame, such as
        ``cell``. Constants in memory stream with the frames: ``.load()`` those from a
        file.
    kind : str
        jungfrau, epix10ka, epixhr, epixm, epixuhr, epix100, cspad, cspad2x2, pnccd,
        camera and kinds of these; agipd, lpd, dssc, jungfrau_euxfel. In any spelling.
    common_mode : optional
        Subtracted in adu, between pedestal and gain, of good pixels in range 0
        (epix10ka: 0, 1, 3 and 4): cmpars such as ``(7, mode, max_correction,
        min_pixels)``, a number of `ops.subtract_common_mode_lcls`, or a dict of
        arguments of `ops.subtract_common_mode`.
    bad_pixels : DataArray or array, optional
        Non-zero: bad. By default those of the constants; with ``gain_range``, a pixel
        is bad in these ranges only. On frame dims, too.
    bad_value : float
        What bad pixels become. They are in no median.
    gain_index : DataArray, integer, optional
        Gain range of every pixel, or of frames as a whole: in place of the bits of the
        numbers. jungfrau_euxfel: the codes of its array, 0, 1 and 3.
    gain_plane : DataArray, optional
        agipd: the gain voltage, where `da` does not have it along ``data_gain``.
    bad_gain_code : {"zero", "one"}
        The factor of pixels whose code stands for no range, such as 2 of a jungfrau;
        they have no pedestal. psana of LCLS1 takes "one".
    adu_per_photon : float, optional
        Divides the signal after the gain; the unit is photon then.

    Returns
    -------
    DataArray, float32 (..., slow_scan, fast_scan)
        Lazy. Frames that were not recorded and NaN stay NaN. The unit follows the
        gain: keV of "adu/keV", the unit of psana's gains, which those of its detectors
        have if they say nothing; adu without a gain, or with one that only compares
        pixels (1; 6.85 of a cspad); "1", and a warning, where it is not known.

    Raises
    ------
    ValueError
        If the kind or an option is unknown, or the data are not raw.
    MissingConstantError
        If a constant, a gain range or the gain index is missing.
    InconsistentDataError
        If the unit of a gain is that of its inverse.
    GeometryMismatchError
        If constants belong to other pixels, modules, cells or another detector.

    Notes
    -----
    ``CM(adu - pedestal[range] - offset[range]) / gain[range]`` as psana; LPD and DSSC
    the same, AGIPD with ``range`` the number of thresholds below the gain voltage. LPD
    in parallel gain: the range is that of the dim ``gain``, which stays. A pixel whose
    pedestal or gain is not finite is bad.

    Examples
    --------
    >>> raw = xr.DataArray(np.array([[10, 12]], "u2"), dims=("slow_scan", "fast_scan"))
    >>> constants = xr.Dataset({"pedestal": 4.0, "gain": 2.0})
    >>> constants.gain.attrs["units"] = "adu/keV"
    >>> signal = calibrate(raw, constants, kind="camera")
    >>> signal.values, signal.units
    (array([[3., 4.]], dtype=float32), 'keV')
    """
    detector = kind_of(kind)
    name, gain = detector.kind, detector.gain
    check_data(da, detector)
    check_detector(constants, da)
    n_ranges = gain.rule.n_ranges
    # What holds for all frames is packed with the constants, the rest goes with them.
    inside, apart = bad_pixels_apart(constants, bad_pixels, da, n_ranges)
    found = chosen_constants(constants, inside, da, n_ranges)
    check_ranges(found, n_ranges, name)
    per_photon = 1.0 if adu_per_photon is None else checked(adu_per_photon)
    # Where pixels take no part, groups have a least number of those that do.
    masked = n_ranges > 1 or BAD_PIXELS in found or apart is not None
    stages = stages_for(common_mode, detector, da, masked)
    found = {k: on_pixels(v, da, k) for k, v in found.items()}
    rule, companions = told_by(da, detector, found, gain_index, gain_plane)
    used = gain.used_ranges if stages else ()
    if rule.n_ranges != n_ranges:
        found = with_configuration(found, gain, float(bad_gain_code == "one"))
    constants_now = packed(found, da, rule.n_ranges, used, per_photon)
    companions["table"] = constants_now.table
    if constants_now.entry is not None:
        companions["entry"] = constants_now.entry
    if apart is not None:
        companions["bad_pixels"] = matching(apart, da)
    if any(getattr(stage, "per_noise", False) for stage in stages):
        companions["noise"] = noise_of(found, common_mode)
    words, gaps = raw_words(da)
    for i, gone in enumerate(gaps):
        companions[f"missing_{i}"] = gone
    # Signal and voltage of a pixel become one number.
    planes = 2 if DATA_GAIN in da.dims else 1
    out = map_frames(
        kernel.calibrate,
        words,
        *companions.values(),
        dtype=np.float32,
        name="calibrate",
        core_dims=(*([DATA_GAIN] if planes == 2 else []), SLOW, FAST),
        out_core={SLOW: da.sizes[SLOW], FAST: da.sizes[FAST]} if planes == 2 else None,
        calibration=Calibration(
            rule,
            tuple(companions),
            planes,
            stages,
            float(bad_value),
            float(bad_gain_code == "one"),
        ),
    )
    return finished(
        out,
        da,
        constants,
        gain,
        kind=name,
        common_mode=common_mode,
        bad_pixels=bad_pixels,
        bad_value=bad_value,
        gain_index=gain_index,
        gain_plane=gain_plane,
        bad_gain_code=bad_gain_code,
        adu_per_photon=adu_per_photon,
    )


def check_data(da: xr.DataArray, detector: Detector) -> None:
    missing = [d for d in (SLOW, FAST) if d not in da.dims]
    if missing:
        raise ArgumentError(
            f"the frames have dims {da.dims}, but no {listing(missing)}"
        )
    if da.dtype.kind not in "biuf":
        raise ArgumentError(f"the frames are {da.dtype}; wanted raw numbers")
    before = [line.split(" ")[0] for line in history_of(da.attrs).splitlines()]
    if "calibrate" in before:
        raise ArgumentError(
            "these frames were calibrated before, as their history says; pass raw ones"
        )
    if detector.gain.switches:
        check_switching(da, detector.kind)
    # Such as jungfrau_euxfel: the same detector, whose files are of another kind.
    here = CATALOGUE.get(f"{detector.kind}_{da.attrs.get('facility')}")
    if here is not None and here.gain.tells == "codes":
        raise ArgumentError(
            "frames of the European XFEL have their gain in another array: use"
            f" kind={here.name!r} and gain_index=run.frames(key='data.gain')"
        )
    axes = {d.gain.axis: d.kind for d in CATALOGUE.values()}
    for dim in (DATA_GAIN, GAIN):
        if dim in da.dims and dim != detector.gain.axis:
            raise ArgumentError(
                f"the frames have a dim {dim!r}, which belongs to {axes[dim]}, not to"
                f" {detector.kind}"
            )
    if da.sizes.get(DATA_GAIN, 2) != 2:
        raise ArgumentError(
            f"{DATA_GAIN} has {da.sizes[DATA_GAIN]} planes; wanted signal and voltage"
        )


def checked(adu_per_photon: float) -> float:
    if not 0 < adu_per_photon < np.inf:
        raise ArgumentError(f"adu_per_photon={adu_per_photon}; wanted more than 0")
    return float(adu_per_photon)


def finished(
    out: xr.DataArray,
    da: xr.DataArray,
    constants: xr.Dataset,
    gain: Gain,
    **params: object,
) -> xr.DataArray:
    # Those on core dims, which the kernel may have changed; but none on its planes.
    lost = {k: c for k, c in da.coords.items() if k not in out.coords}
    lost = {k: c for k, c in lost.items() if DATA_GAIN not in c.dims and k != DATA_GAIN}
    out = out.assign_coords(lost).transpose(*(d for d in da.dims if d != DATA_GAIN))
    unit = "photon"
    if params["adu_per_photon"] is None:
        unit = signal_unit(constants, gain)
    attrs = {k: v for k, v in da.attrs.items() if k != STORED_DTYPE}
    out.attrs = {**attrs, UNITS: unit, LONG_NAME: "signal", DATA_KIND: "calibrated"}
    return record(out, "calibrate", da, constants=constants, **params)


# -- the unit of the signal: what the gain makes of adu --------------------------------

ADU, NO_UNIT = "adu", "1"
PER = r"\s*(?:/|\bper\b)\s*"
PER_UNIT = re.compile(rf"adus?{PER}(.+)", re.IGNORECASE)
UNIT_PER_ADU = re.compile(rf"(.+?){PER}adus?", re.IGNORECASE)
# Of a gain, which divides, and of a factor.
PATTERNS = {GAIN: PER_UNIT, GAIN_FACTOR: UNIT_PER_ADU}
OTHER = {GAIN: GAIN_FACTOR, GAIN_FACTOR: GAIN}


def signal_unit(constants: Mapping[Any, object], usual: Gain) -> str:
    """Return the unit of adu divided by the gain, or times the gain factor.

    Raises InconsistentDataError if the unit says that a gain multiplies, or a factor
        divides.
    """
    constants = dict(constants)  # without coordinates: a dim may be called gain
    name = next((n for n in PATTERNS if n in constants), None)
    if name is None:
        return ADU
    one = constants[name]
    given = str(getattr(one, "attrs", {}).get(UNITS, "")).strip()
    found = PATTERNS[name].fullmatch(given)
    if found:
        return found[1].strip()
    if PATTERNS[OTHER[name]].fullmatch(given):
        does = "divides" if name == GAIN else "multiplies"
        raise InconsistentDataError(
            f"{name!r} {does} the signal, but its unit is {given!r}: rename it,"
            f" constants.rename({name}={OTHER[name]!r}), or correct its unit"
        )
    if compares_only(one):
        return ADU
    # Only of switching detectors psana knows the factor, too: one over the gain.
    if usual.unit and (name == GAIN or usual.switches):
        return PER_UNIT.sub(r"\1", usual.unit)
    warn(
        f"the unit of {name!r} is {given or 'not given'}, so that of the signal is not"
        f" known: say it, such as constants[{name!r}].attrs['units'] ="
        f" {'adu/keV' if name == GAIN else 'keV/adu'!r}. ({GAIN!r} divides,"
        f" {GAIN_FACTOR!r} multiplies)"
    )
    return NO_UNIT


def compares_only(gain: object) -> bool:
    """Return whether a gain makes pixels alike, and leaves adu of the usual ones."""
    if isinstance(gain, xr.DataArray) and gain.chunks is not None:
        return False  # building looks at no value
    values = np.asarray(gain)
    low = np.isclose(values, CSPAD_LOW_GAIN, rtol=1e-6)
    return bool(((values == 1) | (values == 0) | low).all())
