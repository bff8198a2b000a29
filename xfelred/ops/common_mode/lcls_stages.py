"""Stages of the LCLS common modes, from their parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xfelred.detectors import Segment
from xfelred.detectors.description import Pars
from xfelred.detectors.lcls import CSPAD
from xfelred.errors import ArgumentError, listing
from xfelred.kernels.common_mode.segments import (
    Groups,
    Offset,
    PixelRuns,
    Stage,
    Unbonded,
    WithoutPhotons,
    ZeroPeak,
)
from xfelred.ops.lcls_common_modes import completed

# Bits of the mode and their order.
BITS_7 = ((4, "bank"), (1, "row"), (2, "column"))
BITS_8 = ((1, "row"), (2, "full_row"), (4, "full_column"), (8, "bank"))
BITS_4 = ((1, "bank"), (2, "row"), (4, "column"))
MIN_PIXELS_4 = 10  # of algorithm 4, which has no parameter for it
PHOTON_SIGMAS = 10.0  # of the noise: above, algorithm 6 sees a photon
# A number, as compiled loops compare with it.
UNLIMITED = float(np.finfo(np.float64).max)


def stages_of(cmpars: Pars, segment: Segment, masked: bool) -> tuple[Stage, ...]:
    """Return what the parameters of an algorithm stand for.

    cmpars: algorithm and its parameters; () is nothing.
    masked: some pixels are known to be bad, or of another gain range.
    Raises ValueError if parameters are missing, superfluous or out of range, or the
        algorithm does not belong to the segment.
    """
    if cmpars[:1] == ("banks",):
        banks = (*segment.groups("bank"), 1)
        return (Groups("bank", banks), *stages_of(cmpars[1:], segment, masked))
    algorithm, *pars = completed(cmpars) or (None,)
    if algorithm is None:
        return ()
    makers: dict[object, Callable[[Asked], tuple[Stage, ...]]] = {
        0: group_medians,
        1: peak,
        2: runs,
        3: runs,
        4: median_per_region,
        5: unbonded,
        6: without_neighbours,
        7: group_medians,
        8: group_medians,
        "uxi": even_and_odd,
    }
    return makers[algorithm](Asked(algorithm, pars, segment, masked))


@dataclass(frozen=True)
class Asked:
    """An algorithm and its parameters, for one segment."""

    algorithm: object
    pars: list[Any]
    segment: Segment
    masked: bool  # some pixels are known to be bad, or of another gain range


def group_medians(asked: Asked) -> tuple[Stage, ...]:
    """Return algorithms 0, 7 and 8: medians of rows, columns and banks."""
    mode, limit, least = asked.pars
    # Smaller than the limit, not equal; without one, whatever it is.
    highest = UNLIMITED if limit is None else math.nextafter(float(limit), -math.inf)
    stages = []
    for kind in chosen(mode, BITS_8 if asked.algorithm == 8 else BITS_7, "mode"):
        more = kind != "bank"
        stages.append(
            Groups(
                kind,
                (*asked.segment.groups(kind), 1),
                limit=highest,
                only_used=True,
                least=max(int(least) + more, 1) if asked.masked else 1,
            )
        )
    return tuple(stages)


def peak(asked: Asked) -> tuple[Stage, ...]:
    """Return algorithm 1: the peak without photons."""
    mean_max, sigma_max, threshold, use_unbonded = asked.pars
    fall_back = use_unbonded > 0.1
    if fall_back:
        check_unbonded(asked.segment)
    return (ZeroPeak(float(mean_max), float(sigma_max), float(threshold), fall_back),)


def runs(asked: Asked) -> tuple[Stage, ...]:
    """Return algorithms 2 and 3: mean or median of consecutive pixels."""
    threshold, limit, length = asked.pars
    # As psana: shorter runs are not believed.
    n = int(length) if length >= 100 else 128
    return (PixelRuns(n, float(threshold), float(limit), asked.algorithm == 2),)


def median_per_region(asked: Asked) -> tuple[Stage, ...]:
    """Return algorithm 4: medians of values near zero."""
    bits, half_range, limit = asked.pars
    return tuple(
        Groups(
            kind,
            (*asked.segment.groups(kind), 1),
            MIN_PIXELS_4,
            float(limit) if limit else UNLIMITED,
            -float(half_range),
            float(half_range),
        )
        for kind in chosen(bits, BITS_4, "bits")
    )


def unbonded(asked: Asked) -> tuple[Stage, ...]:
    """Return algorithm 5: the unbonded pixels."""
    check_unbonded(asked.segment)
    return (Unbonded(float(asked.pars[0])),)


def without_neighbours(asked: Asked) -> tuple[Stage, ...]:
    """Return algorithm 6: medians without photons and their neighbours."""
    limit, reach, colrow, fraction, norm_all = asked.pars
    stages: list[Stage] = [WithoutPhotons(PHOTON_SIGMAS, True, True, float(reach))]
    if norm_all:
        stages.append(Groups("all", (*asked.segment.shape, 1), mean=True))
    kinds = [
        k for k, wanted in (("column", colrow % 2), ("row", colrow >= 2)) if wanted
    ]
    for kind in kinds:
        height, width = asked.segment.groups(kind)
        least = smallest_number(height * width, fraction)
        stages.append(Groups(kind, (height, width, 1), least, float(limit)))
    return tuple(stages)


def even_and_odd(asked: Asked) -> tuple[Stage, ...]:
    """Return the common mode of uxi and icarus: even and odd columns of every row."""
    threshold, limit, fraction, neighbours = asked.pars
    columns = asked.segment.shape[1]
    if columns % 2:
        raise ArgumentError(
            f"frames have {columns} columns; even and odd ones need an even number"
        )
    least = smallest_number(columns // 2, fraction)
    return (
        WithoutPhotons(float(threshold), neighbours=bool(neighbours)),
        Groups("even_odd", (1, columns // 2, 2), least, float(limit)),
    )


def dark_region(
    name: str, region: Sequence[Sequence[int]], segment: Segment, *, apply: bool = True
) -> Offset:
    """Return the median of a rectangle without light.

    Raises ValueError if the rectangle is not two ranges inside the segment.
    """
    try:
        (r0, r1), (c0, c1) = ((int(a), int(b)) for a, b in region)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name}={region!r}; wanted ((first row, end), (first column, end))"
        ) from None
    rows, columns = segment.shape
    if not (0 <= r0 < r1 <= rows and 0 <= c0 < c1 <= columns):
        raise ArgumentError(
            f"{name}={region!r} is not inside frames of {rows} x {columns} pixels"
        )
    return Offset(name, (r0, r1), (c0, c1), apply)


def smallest_number(size: int, fraction: float) -> int:
    """Return how many pixels of a group must be left, at least one.

    Excluded ones may not be more than (1 - fraction) * size.
    """
    return max(size - math.floor((1 - float(fraction)) * size), 1)


def chosen(mode: float, known: tuple[tuple[int, str], ...], name: str) -> list[str]:
    """Return the kinds of groups of a bit word; ValueError for other bits."""
    every = sum(bit for bit, _ in known)
    if mode != int(mode) or int(mode) & ~every or mode < 0:
        raise ArgumentError(
            f"{name}={mode}: wanted a sum of"
            f" {listing(f'{bit} ({kind})' for bit, kind in known)}"
        )
    return [kind for bit, kind in known if int(mode) & bit]


def check_unbonded(segment: Segment) -> None:
    """Raise ValueError unless the sensor is that of a CsPad."""
    if CSPAD.segment is None or segment.shape != CSPAD.segment.shape:
        raise ArgumentError(
            "unbonded pixels are those of CsPad sensors of 185 x 388 pixels, not of"
            f" {segment.shape}"
        )
