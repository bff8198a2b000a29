"""Common modes that recipes ask for by number or parameters, checked without a run."""

from __future__ import annotations

from xfelred.detectors import told_by
from xfelred.errors import ArgumentError
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.lcls_common_modes import cmpars_of, completed
from xfelred.recipes.models import CommonModeSpec, DetectorSpec


def lcls_kind(name: str, mode: object) -> str:
    """Return the kind of detector that a name tells.

    Raises
    ------
    ValueError
        If it tells none; then no number has a meaning.
    """
    found = told_by(name)
    if found is None or kind_of(found.name).modes is None:
        raise ArgumentError(
            f"common_mode {mode}: the name {name!r} does not tell the detector; give"
            " groups and segment instead"
        )
    return found.kind


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
    kind = kind_of(lcls_kind(name, mode) if spec.calibrate is None else spec.calibrate)
    if isinstance(mode, list):
        completed(tuple(mode))
    elif kind.modes is not None:
        cmpars_of(kind, mode)
