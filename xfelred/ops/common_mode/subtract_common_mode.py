"""Common mode of readout groups, estimated in every frame and subtracted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, listing
from xfelred.kernels.common_mode import segments as common_mode
from xfelred.kernels.common_mode.segments import Correction, Groups
from xfelred.lazy import map_frames
from xfelred.masks import Segment, segment_of
from xfelred.names import FAST, GROUP, LONG_NAME, QUANTITY, SLOW, UNITS
from xfelred.ops.companions import Mask, checked_bad_pixels, matching, with_dims
from xfelred.provenance import record

# Groups of which more pixels than the minimum are wanted, not as many: lcls.md 1.1.
MORE_THAN = ("row", "full_row", "column", "full_column")
Estimator = Literal["median", "mean"]
ApplyTo = Literal["good", "all"]


@overload
def subtract_common_mode(
    da: xr.DataArray, groups: str | Sequence[str] = ..., *,
    segment: Segment | str | tuple[int, int], bad_pixels: Mask | None = ...,
    use: xr.DataArray | None = ..., estimator: Estimator = ...,
    max_correction: float | None = ..., min_pixels: int = ..., apply_to: ApplyTo = ...,
    full: Literal[False] = ...,
) -> xr.DataArray: ...  # fmt: skip


@overload
def subtract_common_mode(
    da: xr.DataArray, groups: str | Sequence[str] = ..., *,
    segment: Segment | str | tuple[int, int], bad_pixels: Mask | None = ...,
    use: xr.DataArray | None = ..., estimator: Estimator = ...,
    max_correction: float | None = ..., min_pixels: int = ..., apply_to: ApplyTo = ...,
    full: Literal[True],
) -> xr.Dataset: ...  # fmt: skip


@entry
def subtract_common_mode(
    da: xr.DataArray,
    groups: str | Sequence[str] = ("bank", "row", "column"),
    *,
    segment: Segment | str | tuple[int, int],
    bad_pixels: Mask | None = None,
    use: xr.DataArray | None = None,
    estimator: Estimator = "median",
    max_correction: float | None = None,
    min_pixels: int = 10,
    apply_to: ApplyTo = "good",
    full: bool = False,
) -> xr.DataArray | xr.Dataset:
    """Subtract from groups of pixels the median or mean that each has in a frame.

    Parameters
    ----------
    da : DataArray, real (..., slow_scan, fast_scan), adu
        Pedestal-subtracted frames. NaN pixels take no part and stay.
    groups : str or sequence of str
        In this order, each on the result of the last: "row" and "column" inside a bank
        and a half, "bank" inside a half, "full_row", "full_column", "all".
    segment : Segment, str or (rows, columns)
        How a module is divided: a name in `masks.segments`, or your own.
    bad_pixels : DataArray or array, optional
        Non-zero: takes no part. On pixel dims, or with frame dims as well.
    use : DataArray, optional
        Non-zero: may take part, such as pixels of one gain range; dims among those of
        `da`.
    estimator : {"median", "mean"}
    max_correction : float, optional, adu
        A group whose offset is not smaller stays as it is.
    min_pixels : int
        If `bad_pixels` or `use` is given: a row or a column needs more pixels than
        this, a bank or a whole segment as many; others stay as they are.
    apply_to : {"good", "all"}
        Subtract from the pixels that may take part, or from all of the group.
    full : bool
        Also return the offsets.

    Returns
    -------
    DataArray (...), adu
        Lazy. float32, float64 for float64 and 32-bit integers. A group without a pixel
        that takes part is left unchanged.
    Dataset
        If `full`: `corrected`; `offset` (..., group), NaN where none was subtracted;
        and `n_used` (..., group), the pixels in each estimate. The groups of the first
        kind come first, row by row; the coordinate ``kind`` says which they are.

    Raises
    ------
    ValueError
        If a group, a segment or an option does not exist.
    GeometryMismatchError
        If the pixels of `da` are not those of the segment, or `bad_pixels` or `use` do
        not fit `da`.

    Notes
    -----
    The median of an even number of pixels is the mean of the middle two. Tests and
    groups are those of the LCLS algorithms 7 and 8 (psana).

    Examples
    --------
    >>> frame = np.add.outer([0.0, 5.0], np.arange(4.0))
    >>> da = xr.DataArray(frame, dims=("slow_scan", "fast_scan"))
    >>> subtract_common_mode(da, "row", segment=Segment((2, 4))).values
    array([[-1.5, -0.5,  0.5,  1.5],
           [-1.5, -0.5,  0.5,  1.5]])
    """
    check_limits(max_correction, min_pixels)
    found = segment_of(segment)
    check_pixels(da, found)
    kinds = (groups,) if isinstance(groups, str) else tuple(groups)
    if not kinds:
        raise ArgumentError("groups is empty; wanted one or more, such as ('row',)")
    # Without masks no group is too small.
    selected = bad_pixels is not None or use is not None
    stages = tuple(
        group_stage(
            kind,
            found,
            min_pixels if selected else None,
            max_correction,
            mean=estimator == "mean",
            only_used=apply_to == "good",
        )
        for kind in kinds
    )
    companions = companions_of(da, {"bad_pixels": bad_pixels, "use": use})
    params: dict[str, Any] = {
        "groups": kinds,
        "segment": [*found.shape, found.banks, found.halves],
        "bad_pixels": bad_pixels,
        "use": use,
        "estimator": estimator,
        "max_correction": max_correction,
        "min_pixels": min_pixels,
        "apply_to": apply_to,
    }
    return corrected(da, stages, companions, "subtract_common_mode", params, full=full)


def group_stage(
    kind: str,
    segment: Segment,
    min_pixels: int | None,
    max_correction: float | None,
    **flags: bool,
) -> Groups:
    """Return the stage for one kind of group; no minimum: any one pixel will do."""
    height, width = segment.groups(kind)
    least = 1
    if min_pixels is not None:
        least = max(min_pixels + (kind in MORE_THAN), 1)
    limit = float(np.finfo(np.float64).max)
    if max_correction is not None:
        # The offset must be smaller; the kernel also takes one that is equal.
        limit = math.nextafter(float(max_correction), -math.inf)
    return Groups(kind, (height, width, 1), least, limit, **flags)


def companions_of(
    da: xr.DataArray, given: Mapping[str, Mask | None]
) -> dict[str, xr.DataArray]:
    """Return the arrays that go with the frames, at their labels.

    Raises ValueError if one does not hold bools or integers, where it has to;
        GeometryMismatchError if one does not fit.
    """
    out = {}
    for name, one in given.items():
        if one is None:
            continue
        if name == "bad_pixels":
            one = checked_bad_pixels(one, da)
        one = with_dims(one, da, name)
        if name in ("use", "gain_range") and one.dtype.kind not in "biu":
            raise ArgumentError(f"{name} must be bool or integer, not {one.dtype}")
        out[name] = matching(one, da, name)
    return out


def corrected(
    da: xr.DataArray,
    stages: tuple[common_mode.Stage, ...],
    companions: dict[str, xr.DataArray],
    op: str,
    params: dict[str, Any],
    *,
    gain_ranges: tuple[int, ...] = (),
    full: bool = False,
) -> xr.DataArray | xr.Dataset:
    dtype = np.dtype(np.result_type(da.dtype, np.float32))
    correction = Correction(stages, tuple(companions), gain_ranges)
    arguments: dict[str, Any] = {
        "core_dims": (SLOW, FAST),
        "correction": correction,
        "dtype_name": dtype.name,
    }
    out = map_frames(
        common_mode.subtract_common_mode,
        da,
        *companions.values(),
        dtype=dtype,
        name=op,
        **arguments,
    )
    out.attrs.setdefault(UNITS, "adu")
    out.attrs.setdefault(LONG_NAME, "signal")
    if not full:
        return record(out, op, da, **params)
    shape = (da.sizes[SLOW], da.sizes[FAST])
    kinds = np.repeat([s.name for s in stages], [s.n_groups(shape) for s in stages])
    found = map_frames(
        common_mode.common_mode_offsets,
        da,
        *companions.values(),
        dtype=np.float64,
        out_core={QUANTITY: 2, GROUP: len(kinds)},
        name=f"{op}_offsets",
        **arguments,
    )
    offset, n_used = found.isel({QUANTITY: 0}), found.isel({QUANTITY: 1})
    offset.attrs = {
        UNITS: out.attrs[UNITS],
        LONG_NAME: "offset that was subtracted from the group",
    }
    n_used = n_used.astype(np.int64)
    n_used.attrs = {UNITS: "1", LONG_NAME: "number of pixels in the estimate"}
    result = xr.Dataset(
        {"corrected": out, "offset": offset, "n_used": n_used},
        {"kind": (GROUP, kinds, {LONG_NAME: "kind of group", UNITS: "1"})},
        attrs=da.attrs,
    )
    return record(result, op, da, **params)


def check_pixels(da: xr.DataArray, segment: Segment) -> None:
    missing = [d for d in (SLOW, FAST) if d not in da.dims]
    if missing:
        raise ArgumentError(
            f"the data have dims {da.dims}, but no {listing(missing)}; a common mode"
            " needs whole modules"
        )
    if da.dtype.kind not in "biuf" or da.dtype.itemsize > 8:
        raise ArgumentError(
            f"the data are {da.dtype}; wanted real numbers, at most float64"
        )
    shape = (da.sizes[SLOW], da.sizes[FAST])
    if shape != segment.shape:
        raise GeometryMismatchError(
            f"the segment has {segment.shape} pixels, the modules of the data have"
            f" {shape}; select whole modules, or give Segment({shape}, banks=, halves=)"
        )


def check_limits(max_correction: float | None, min_pixels: int) -> None:
    if max_correction is not None and not max_correction > 0:
        raise ArgumentError(
            f"max_correction={max_correction}; wanted more than 0, or None"
        )
    if min_pixels != int(min_pixels) or min_pixels < 0:
        raise ArgumentError(
            f"min_pixels={min_pixels}; wanted a whole number, 0 or more"
        )
