"""Constants of a detector as psana2 knows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import MissingConstantError
from xfelred.names import GAIN_RANGE, LONG_NAME, MODULE, PIXEL_DIMS, UNITS
from xfelred.provenance import record
from xfelred.readers.lcls_psana.run_data import RunData
from xfelred.readers.lcls_psana.session import LOCK, asking, session

ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
STATUS_BITS = np.uint64(0xFFFF)  # lcls status words carry more than bad pixels above
# Method of the interface, name, unit, long name.
TABLES = (
    ("_pedestals", "pedestal", "adu", "pedestal"),
    ("_rms", "noise", "adu", "noise"),
    ("_gain", "gain", "adu/keV", "gain; calibrated = (raw - pedestal) / gain"),
    ("_offset", "offset", "adu", "offset, subtracted like the pedestal"),
)


def constants(run: RunData, detector: str) -> xr.Dataset:
    """Return the constants of a detector; see `Run.constants`."""
    with LOCK:
        interface = session(run.address).interface(detector, "raw")
        with asking(run.address, f"give the constants of {detector}"):
            found = from_interface(interface)
    if not found:
        raise MissingConstantError(
            f"psana2 has no constants of {detector} for {run.run_id}"
            f"{' (offline=True asks no service)' if run.address.offline else ''}. Pass"
            f" open_run(..., constants={{{detector!r}: dataset}})"
        )
    modules = run.images_of(detector, run.default_key(detector)).modules
    data = {}
    for name, (values, attrs) in found.items():
        dims = PIXEL_DIMS if values.ndim == 3 else (GAIN_RANGE, *PIXEL_DIMS)
        data[name] = (dims, values, attrs)
    out = xr.Dataset(data, coords={MODULE: list(modules)})
    out[MODULE].attrs = {UNITS: "1", LONG_NAME: "module number"}
    return record(out, "constants", detector=detector, run=run.run_id)


def from_interface(interface: object) -> dict[str, tuple[NDArray[Any], dict[str, str]]]:
    """Return (values, attributes) of what an interface of psana2 knows, as copies."""
    out: dict[str, tuple[NDArray[Any], dict[str, str]]] = {}
    for method, name, units, text in TABLES:
        values = asked(interface, method)
        if values is not None:
            out[name] = values.astype(np.float32), {UNITS: units, LONG_NAME: text}
    bad = bad_pixels(interface)
    if bad is not None:
        attrs = {UNITS: "1", LONG_NAME: "bad in any gain range, 0 is good"}
        out["bad_pixels"] = bad, attrs
    for axis, values in zip("xyz", coordinates_of(interface), strict=False):
        text = f"{axis} of the pixel centre"
        out[axis] = values * 1e-6, {UNITS: "m", LONG_NAME: text}
    return out


def bad_pixels(interface: object) -> NDArray[np.bool_] | None:
    """Return what any of the status words and the calibration mask call bad."""
    found = []
    for method, bits in (("_status", STATUS_BITS), ("_status_extra", ALL_BITS)):
        status = asked(interface, method)
        if status is not None:
            found.append((status.astype(np.uint64) & bits) != 0)
    good = asked(interface, "_mask_calib")
    if good is not None:
        found.append(good == 0)
    flat = [one.any(axis=0) if one.ndim > len(PIXEL_DIMS) else one for one in found]
    return np.logical_or.reduce(flat) if flat else None


def asked(interface: object, method: str) -> NDArray[Any] | None:
    """Return a copy of a table (..., module, slow, fast), None if there is none."""
    function = getattr(interface, method, None)
    found = None if function is None else function()
    if found is None:
        return None
    values = np.array(found)
    return values[None] if values.ndim == 2 else values


def coordinates_of(interface: object) -> tuple[NDArray[Any], ...]:
    """Return copies of x, y and z, in micrometres; nothing if there is no geometry."""
    function = getattr(interface, "_pixel_coords", None)
    if function is None or asked(interface, "_pedestals") is None:
        return ()
    found = function()
    if found is None or any(v is None for v in found):
        return ()
    return tuple(np.array(v, float).reshape((-1, *np.shape(v)[-2:])) for v in found)
