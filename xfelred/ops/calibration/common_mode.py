"""The common mode inside a calibration, from any of the ways to ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xfelred.detectors import Detector
from xfelred.errors import ArgumentError, did_you_mean, listing, must_be_one_of, shown
from xfelred.kernels.common_mode.segments import Stage
from xfelred.masks import segment_of
from xfelred.ops.common_mode.subtract_common_mode import (
    check_limits,
    check_pixels,
    group_stage,
)
from xfelred.ops.common_mode.subtract_common_mode_lcls import (
    all_stages,
    segment_for,
    wants_ghost,
)
from xfelred.ops.lcls_common_modes import cmpars_of

DEFAULTS: dict[str, Any] = {
    "groups": ("bank", "row", "column"),
    "segment": None,
    "estimator": "median",
    "max_correction": None,
    "min_pixels": 10,
    "apply_to": "good",
}


def stages_for(
    common_mode: int | Sequence[Any] | Mapping[str, Any] | None,
    detector: Detector,
    da: xr.DataArray,
    masked: bool,
) -> tuple[Stage, ...]:
    """Return the stages of a common mode.

    common_mode: number, cmpars, or arguments of `ops.subtract_common_mode`.
    masked: some pixels may be bad or of another gain range.
    Raises ValueError if there is no such common mode; GeometryMismatchError if the
        pixels are not those of whole segments.
    """
    if common_mode is None or common_mode is False:
        return ()
    if isinstance(common_mode, Mapping):
        return stages_of_groups(common_mode, detector, da, masked)
    # True is an int, too: it would be number 1.
    if common_mode is True or not isinstance(
        common_mode, (int, np.integer, list, tuple)
    ):
        raise ArgumentError(
            f"common_mode={shown(common_mode)}; wanted a number, cmpars such as"
            " (7, 3, 10, 10), or a dict such as {'groups': ('row',)}"
        )
    segment = segment_for(detector, da)
    check_pixels(da, segment)
    if isinstance(common_mode, np.integer):
        common_mode = int(common_mode)
    if not isinstance(common_mode, int):
        return all_stages(detector, None, tuple(common_mode), segment, None, masked)
    pars = cmpars_of(detector, common_mode)
    # Refuses those above 100: there is no frame before in a calibration.
    wants_ghost(detector, common_mode, None)
    return all_stages(detector, common_mode, pars, segment, None, masked)


def stages_of_groups(
    given: Mapping[str, Any], detector: Detector, da: xr.DataArray, masked: bool
) -> tuple[Stage, ...]:
    for key in given:
        if key not in DEFAULTS:
            raise ArgumentError(
                f"common_mode has no {key!r}; it may have {listing(DEFAULTS, 20)}"
                f".{did_you_mean(str(key), DEFAULTS)}"
            )
    use = {**DEFAULTS, **given}
    must_be_one_of("estimator", use["estimator"], ("median", "mean"))
    must_be_one_of("apply_to", use["apply_to"], ("good", "all"))
    check_limits(use["max_correction"], use["min_pixels"])
    segment = use["segment"]
    # A camera has no segment but its whole frame.
    found = segment_for(detector, da) if segment is None else segment_of(segment)
    check_pixels(da, found)
    groups = use["groups"]
    kinds = (groups,) if isinstance(groups, str) else tuple(groups)
    return tuple(
        group_stage(
            kind,
            found,
            use["min_pixels"] if masked else None,
            use["max_correction"],
            mean=use["estimator"] == "mean",
            only_used=use["apply_to"] == "good",
        )
        for kind in kinds
    )
