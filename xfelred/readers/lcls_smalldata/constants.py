"""What a file says about its detectors: pedestals, masks, positions, sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.detectors import told_by
from xfelred.detectors.lcls import CAMERA
from xfelred.errors import MissingConstantError, listing, warn
from xfelred.names import (
    BAD_IN_MASK,
    BAD_PIXELS,
    FAST,
    GAIN,
    GAIN_FACTOR,
    GAIN_RANGE,
    LONG_NAME,
    MODULE,
    PIXEL_DIMS,
    SLOW,
    UNITS,
)
from xfelred.provenance import record
from xfelred.readers.lcls_smalldata.columns import CONSTANTS, INTG, SUMS
from xfelred.readers.lcls_smalldata.ids import LCLS1, read_column
from xfelred.readers.lcls_smalldata.run_data import RunData

# Name in the file, ours, factor, unit, long name.
ARRAYS = (
    ("ped", "pedestal", 1.0, "adu", "pedestal"),
    ("rms", "noise", 1.0, "adu", "noise of dark frames"),
    ("gain", GAIN, 1.0, "adu/keV", "gain; calibrated = (raw - pedestal) / gain"),
    ("offset", "offset", 1.0, "adu", "offset, subtracted like the pedestal"),
    ("local_gain", "local_gain", 1.0, "1", "factor of the user, on top of the gain"),
    ("x", "x", 1e-6, "m", "x of pixel centres"),
    ("y", "y", 1e-6, "m", "y of pixel centres"),
    ("z", "z", 1e-6, "m", "z of pixel centres"),
    ("ix", "ix", 1.0, "1", "row in the assembled image"),
    ("iy", "iy", 1.0, "1", "column in the assembled image"),
)
MASKS = ("cmask", "mask", "statusMask")  # 1 is good
ATTRS = {
    "common_mode": "common_mode",
    "imgShape": "image_shape",
    "rawShape": "raw_shape",
    "pixelsize": "pixel_size",
}
SWITCHED = ("ped", "rms", "gain", "local_gain")
FACTOR_TEXT = "gain factor; calibrated = (raw - pedestal) * gain_factor"


def constants(run: RunData, detector: str) -> xr.Dataset:
    """Return what ``UserDataCfg/<detector>`` says; see `Run.constants`."""
    prefix = f"{CONSTANTS}/{detector.removeprefix(f'{INTG}/')}/"
    stored = without_odd(detector, read_below(run, prefix))
    known = [n for n in (*(a[0] for a in ARRAYS), *MASKS) if n in stored]
    if not known:
        raise missing(run, detector, stored)
    n_pixel_axes = pixel_axes(stored)
    found: dict[str, Any] = {}
    for key, name, factor, unit, text in ARRAYS:
        if key not in stored or (stored[key].ndim < 2 and stored[key].size > 1):
            continue
        values = stored[key] * factor if factor != 1 else stored[key]
        if values.size == 1:
            values = values.reshape(())  # one for all pixels
        dims, values = on_pixels(values, n_pixel_axes)
        found[name] = (dims, values, {UNITS: unit, LONG_NAME: text})
    masks = [m for m in MASKS if m in stored and stored[m].ndim >= 2]
    given = {BAD_PIXELS: (masks[0], "bad pixels, True is bad")} if masks else {}
    if masks[:2] == [*MASKS[:2]]:
        given[BAD_IN_MASK] = (masks[1], "bad pixels, without those of the calibration")
    for name, (mask, text) in given.items():
        dims, values = on_pixels(stored[mask] == 0, n_pixel_axes)
        found[name] = (dims, values, {UNITS: "1", LONG_NAME: text})
    found = drop_misfits(gain_as_it_acts(run, detector, found), detector)
    if detector not in run.detectors and f"{INTG}/{detector}" in run.detectors:
        detector = f"{INTG}/{detector}"  # as its frames call it
    out = xr.Dataset(found)
    if MODULE in out.sizes:
        numbers = np.arange(out.sizes[MODULE])
        attrs = {UNITS: "1", LONG_NAME: "module number"}
        out = out.assign_coords({MODULE: (MODULE, numbers, attrs)})
    out.attrs = {"detector": detector, "detector_kind": run.detectors.get(detector, "")}
    known_attrs = {ours: stored[k] for k, ours in ATTRS.items() if k in stored}
    out.attrs |= {ours: attr_value(v) for ours, v in known_attrs.items()}
    return record(out, "constants", detector=detector, run=run.run_id)


def without_odd(
    detector: str, stored: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return what is stored without constants that hold no numbers; say which."""
    numbers = {*(a[0] for a in ARRAYS), *MASKS}
    odd = {
        name: f"{values.dtype} {values.shape}"
        for name, values in stored.items()
        if name in numbers and (values.dtype.kind not in "biuf" or not values.size)
    }
    if odd:
        warn(
            f"constants of {detector}: {listing(f'{k} ({v})' for k, v in odd.items())}"
            " hold no numbers and are left out"
        )
    return {name: values for name, values in stored.items() if name not in odd}


def gain_as_it_acts(
    run: RunData, detector: str, found: dict[str, Any]
) -> dict[str, Any]:
    """Return constants whose gain has the name that tells whether it divides."""
    if GAIN not in found:
        return found
    dims, values, attrs = found.pop(GAIN)
    if multiplies(run, detector, found | {GAIN: (dims, values, attrs)}):
        # What it makes of adu, the file does not say.
        attrs = {UNITS: "1", LONG_NAME: FACTOR_TEXT}
        return {**found, GAIN_FACTOR: (dims, values, attrs)}
    if not (told_by(detector) or CAMERA).gain.unit:
        attrs = {LONG_NAME: attrs[LONG_NAME]}  # of cameras psana does not say
    return {**found, GAIN: (dims, values, attrs)}


def multiplies(run: RunData, detector: str, found: dict[str, Any]) -> bool:
    """Return whether the signal is multiplied by the gain that the file holds.

    So it is of detectors of LCLS1 that do not switch their gain (`AreaDetector.calib`
    of psana, `DetObject`); all others hold adu per keV, and are divided by it.
    """
    switching = any(GAIN_RANGE in dims for dims, *_ in found.values())
    lcls1 = run.flavour.name == LCLS1
    known = (told_by(detector) or CAMERA).gain
    return lcls1 and not (switching or known.switches)


def drop_misfits(found: dict[str, Any], detector: str) -> dict[str, Any]:
    """Return the constants that have the shape of the first one; say what is not."""
    shape: dict[str, int] = {}
    kept = {}
    for name, (dims, values, attrs) in found.items():
        here = dict(zip(dims, values.shape, strict=True))
        if all(shape.get(d, n) == n for d, n in here.items()):
            shape |= here
            kept[name] = (dims, values, attrs)
        else:
            warn(
                f"constants of {detector}: {name} is {values.shape}, but"
                f" {', '.join(kept)} {tuple(shape.values())}; it is left out"
            )
    return kept


def missing(
    run: RunData, detector: str, stored: dict[str, Any]
) -> MissingConstantError:
    prefix = f"{CONSTANTS}/"
    inside = (n.split("/") for n in run.columns if n.startswith(prefix))
    others = sorted({parts[1] for parts in inside if len(parts) > 2})
    has = f"; it holds only {listing(stored)}" if stored else ""
    there = f"Detectors with constants: {listing(others)}"
    if not others:
        there = f"The file has no {CONSTANTS} at all: its writer stored no constants"
    return MissingConstantError(
        f"no pedestal, noise, gain, mask or positions of {detector!r} in"
        f" {CONSTANTS}/{detector} of {run.run_id}{has}. {there}. Take them from another"
        " run, or from a dark run with ops.dark_statistics"
    )


def read_below(run: RunData, prefix: str) -> dict[str, NDArray[Any]]:
    """Return the datasets of a group by their names in it."""
    names = [name for name in run.columns if name.startswith(prefix)]
    return {name.removeprefix(prefix): read_first(run, name) for name in names}


def read_first(run: RunData, name: str) -> NDArray[Any]:
    """Return a dataset of the first file that has it."""
    has = run.columns[name].rows
    path = next(f.path for f, n in zip(run.files, has, strict=True) if n >= 0)
    return read_column(path, name)


def pixel_axes(stored: dict[str, NDArray[Any]]) -> int:
    """Return the number of axes of a map of pixels: 2, or 3 with modules.

    Pedestals of detectors that switch their gain have one more.
    """
    for names in ((*MASKS, "x", "y", "ix", "iy"), SWITCHED):
        axes = [stored[k].ndim for k in names if k in stored and stored[k].ndim >= 2]
        if axes:
            return min(3, *axes)
    return 3


def on_pixels(
    values: NDArray[Any], n_pixel_axes: int
) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Return (dims, values): a module axis always, gain ranges in front."""
    if not values.ndim:
        return (), values
    if n_pixel_axes == 2:
        values = values[..., np.newaxis, :, :]
    dims = PIXEL_DIMS if values.ndim == len(PIXEL_DIMS) else (GAIN_RANGE, *PIXEL_DIMS)
    extra = tuple(f"dim{i}" for i in range(values.ndim - len(dims)))
    return (*extra, *dims), values


def attr_value(value: NDArray[Any]) -> Any:
    """Return a small array as what attributes hold."""
    if value.dtype.kind in "SO":
        item = value.ravel()[0] if value.size else ""
        return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
    return value.item() if value.ndim == 0 else value.tolist()


def bad_pixels(run: RunData, detector: str) -> NDArray[np.bool_] | None:
    """Return the bad pixels (module, slow_scan, fast_scan) that the file knows."""
    for name in MASKS:
        column = run.columns.get(f"{CONSTANTS}/{detector}/{name}")
        if column is not None and len(column.shape) in (2, 3):
            stored = read_first(run, column.name)
            if name not in without_odd(detector, {name: stored}):
                continue
            bad = stored == 0
            return bad if bad.ndim == len(PIXEL_DIMS) else bad[np.newaxis]
    return None


def sums(run: RunData) -> xr.Dataset:
    """Return the sums over the whole run; see `Run.sums`."""
    found = read_below(run, f"{SUMS}/")
    on = {k: {2: (SLOW, FAST), 3: PIXEL_DIMS}.get(v.ndim, ()) for k, v in found.items()}
    lengths: dict[str, set[int]] = {}
    for k, v in found.items():
        for d, n in zip(on[k], v.shape, strict=False):
            lengths.setdefault(d, set()).add(n)
    variables = {}
    for k, v in found.items():
        # Detectors of different size cannot share the axes of pixels.
        shared = bool(on[k]) and all(len(lengths[d]) == 1 for d in on[k])
        dims = on[k] if shared else tuple(f"{k}_dim{i}" for i in range(v.ndim))
        attrs = {UNITS: "adu", LONG_NAME: f"sum of {k} over the run"}
        variables[k] = (dims, v, attrs)
    return record(xr.Dataset(variables), "sums", run=run.run_id)
