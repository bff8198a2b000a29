"""What a file says about the modules of a detector: gains, pixels, where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xfelred.names import ABSOLUTE_GAIN, LONG_NAME, MODULE, REFERENCE_GAIN, UNITS
from xfelred.provenance import record
from xfelred.readers.sacla.files import number
from xfelred.readers.sacla.images import ModuleImages

GAINS = {
    ABSOLUTE_GAIN: "absolute gain of the module",
    REFERENCE_GAIN: "absolute gain of the first module of the detector",
}
# Key in detector_info, name in the Dataset, factor, unit, long name.
SCALARS = (
    ("absolute_gain", ABSOLUTE_GAIN, 1.0, "electron/adu", "absolute gain"),
    ("exposure_time_in_sec", "exposure_time", 1.0, "s", "exposure time"),
    (
        "detector_rotation_angle_in_degree", "rotation", 1.0, "degree",
        "rotation of the module",
    ),
    (
        "detector_stage_direction_in_degree", "stage_direction", 1.0, "degree",
        "direction in which the stage moves the module",
    ),
    (
        "detector_stage_shift_weight", "stage_weight", 1.0, "1",
        "movement of the module per movement of the manipulator",
    ),
    (
        "manipulator_position_in_micro_meter", "manipulator", 1e-6, "m",
        "position of the manipulator",
    ),
)  # fmt: skip
VECTORS = (
    (
        "pixel_size_in_micro_meter", "pixel_size", "direction",
        ("fast_scan", "slow_scan"), "pixel size",
    ),
    (
        "detector_coordinate_in_micro_meter", "coordinate", "axis", ("x", "y", "z"),
        "coordinate of the first pixel as in the file",
    ),
)  # fmt: skip


def module_constants(detector: ModuleImages) -> xr.Dataset:
    """Return what ``detector_info`` says about each module.

    Returns
    -------
    Dataset (module)
        ``absolute_gain`` (electron/adu), ``relative_gain`` to ``reference_gain``, that
        of the first module of the whole detector that has one,
        ``pixel_size`` (module, direction), and where the file has them ``coordinate``
        (module, axis), ``rotation``, ``stage_direction``, ``stage_weight``,
        ``manipulator``, ``exposure_time``. NaN where a module lacks one. The shape of
        a module is in ``attrs["module_shape"]``.
    """
    infos = [g.info for g in detector.groups]
    found: dict[str, Any] = {}
    for key, name, factor, unit, text in SCALARS:
        values = np.array([number(info.get(key)) for info in infos]) * factor
        if np.isfinite(values).any():
            found[name] = (MODULE, values, {UNITS: unit, LONG_NAME: text})
    for key, name, dim, labels, text in VECTORS:
        table = np.array([vector(info.get(key), len(labels)) for info in infos]) * 1e-6
        if np.isfinite(table).any():
            found[name] = ((MODULE, dim), table, {UNITS: "m", LONG_NAME: text})
            found[dim] = (dim, list(labels))
    if ABSOLUTE_GAIN in found:
        gains, reference = found[ABSOLUTE_GAIN][1], detector.reference_gain
        attrs = {
            UNITS: "1",
            LONG_NAME: "gain relative to the first module of the detector",
        }
        found["relative_gain"] = (MODULE, gains / reference, attrs)
        found[REFERENCE_GAIN] = (
            (), reference, {UNITS: "electron/adu", LONG_NAME: GAINS[REFERENCE_GAIN]},
        )  # fmt: skip
    out = xr.Dataset(found, coords={MODULE: detector.modules})
    out = out.set_coords([d for d in ("direction", "axis") if d in out])
    out.attrs = {
        "detector": detector.detector_name,
        "detector_kind": detector.kind,
        "module_shape": [int(n) for n in detector.module_shape],
    }
    return record(out, "constants", detector=detector.detector_name)


def vector(value: Any, n: int) -> list[float]:
    """Return `n` numbers; a single one stands for all."""
    if value is None:
        return [float("nan")] * n
    values = [number(v) for v in value] if isinstance(value, list) else [number(value)]
    values = values * n if len(values) == 1 else values
    return [*values, *[float("nan")] * n][:n]
