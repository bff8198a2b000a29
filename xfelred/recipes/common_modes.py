"""Common modes that recipes ask for by number or parameters, checked without a run."""

from __future__ import annotations

from typing import Any

from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.lcls_common_modes import cmpars_of, completed, detector_of
from xfelred.recipes.models import CommonModeSpec, DetectorSpec

# Parts of the names of detectors, more special ones first.
NAMED = ("jungfrau", "epix10ka", "epix10k", "epix100", "epixhr", "cspad2x2", "cspad",
         "pnccd", "uxi", "icarus")  # fmt: skip


def lcls_kind(name: str, mode: Any) -> str:
    """Return the kind of detector that a name tells.

    Raises
    ------
    ValueError
        If it tells none; then no number has a meaning.
    """
    found = next((kind for kind in NAMED if kind in name.lower()), None)
    if found is None:
        raise ValueError(
            f"common_mode {mode}: the name {name!r} does not tell the detector; give"
            " groups and segment instead"
        )
    return found


def check_common_mode(name: str, spec: DetectorSpec) -> None:
    """Raise unless a detector has the common mode of a recipe.

    Raises
    ------
    ValueError
        If it has no such number, or the parameters are those of no algorithm.
    """
    mode = spec.common_mode
    if mode is None or isinstance(mode, CommonModeSpec):
        return
    if spec.calibrate is None:
        kind = lcls_kind(name, mode)
    else:
        kind = kind_of(spec.calibrate)[1].common_mode
    if isinstance(mode, list):
        completed(tuple(mode))
    elif kind:
        cmpars_of(*detector_of(kind), mode)
