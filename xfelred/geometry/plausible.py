"""Slips of units: numbers that cannot be meant are refused where they come in.

Ranges are those of scattering with X-rays and extreme ultraviolet light at any source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import UnitsError, warn
from xfelred.geometry.panels import Panel
from xfelred.kernels.arrays import Floats

Range = tuple[float, float]


@dataclass(frozen=True)
class Quantity:
    """What numbers of a kind are like."""

    unit: str
    usual: Range  # (lowest, highest); outside there is a warning
    possible: Range  # (lowest, highest); outside there is an error
    # (unit, factor); units that people write instead, and how many `unit` one of them
    # is
    slips: tuple[tuple[str, float], ...]

    def text(self, value: float) -> str:
        return f"{value:.6g} {self.unit}"


ENERGY = Quantity("eV", (40, 250e3), (15, 2e6), (("keV", 1e3), ("J", 6.241509e18)))
WAVELENGTH = Quantity(
    "angstrom", (0.05, 310), (0.006, 830), (("m", 1e10), ("nm", 10), ("pm", 0.01))
)
WAVELENGTH_M = Quantity(  # in PONI files
    "m", (5e-12, 3.1e-8), (6e-13, 8.3e-8), (("angstrom", 1e-10), ("nm", 1e-9))
)
DISTANCE = Quantity(
    "m", (2e-3, 16), (1e-4, 50), (("mm", 1e-3), ("cm", 1e-2), ("um", 1e-6))
)
PIXEL_SIZE = Quantity("m", (5e-7, 5e-3), (1e-8, 0.02), (("mm", 1e-3), ("um", 1e-6)))
PLACE = Quantity("m", (0, 3), (0, 10), (("um", 1e-6), ("mm", 1e-3)))
ANGLE = Quantity("rad", (0, 2 * np.pi), (0, 2 * np.pi), (("degree", np.pi / 180),))

# Single counters may stand centimetres apart, but not on a lattice.
FARTHEST_NEIGHBOUR, REGULAR = 0.03, 1.5  # m, 1
OVERLAP = 0.1  # part of a module that may lie on its neighbour
# How far they may spread, in units of their own size, before it is unusual (for
# quadrants, which are made to close) or impossible.
QUADRANTS_SPREAD, SPREAD = 1.35, 4.0


def checked(value: float, name: str, quantity: Quantity, where: str = "") -> float:
    """Return a number as float if it can be meant.

    name: what it is called.
    where: file that it stands in.
    Raises UnitsError if it is not a positive number, or none that is possible.
    Warns UserWarning if it is unusual.
    """
    number = float(value)
    place = f"{where}: " if where else ""
    if not 0 < number < float("inf"):
        raise UnitsError(
            f"{place}{name}={value} {quantity.unit}; wanted a positive number of"
            f" {quantity.unit}, above 0"
        )
    low, high = quantity.usual
    if low <= number <= high:
        return number
    message = (
        f"{place}{name}={quantity.text(number)} is far from what detectors see,"
        f" {quantity.text(low)} to {quantity.text(high)}; it is in {quantity.unit}."
        f"{slip(number, quantity)}"
    )
    if not quantity.possible[0] <= number <= quantity.possible[1]:
        raise UnitsError(message)
    warn(message)
    return number


def slip(number: float, quantity: Quantity) -> str:
    """Return what may have been meant: the number in the likeliest other unit."""
    low, high = quantity.usual
    for unit, factor in quantity.slips:
        if low <= number * factor <= high:
            meant = quantity.text(number * factor)
            return f" Did you mean {meant}, which is {number:.6g} {unit}?"
    return ""


def check_places(
    xyz: NDArray[np.floating], distance: float | None = None, **places: float
) -> None:
    """Raise UnitsError for pixels that cannot lie where they are said to.

    xyz: float (3, module, slow, fast), m; pixel centres.
    distance: float, m; of the detector, if z counts from it.
    **places: float, m; other lengths in the plane of the detector, such as the beam
        centre.
    """
    for axis in (1, 2):
        steps = np.hypot(*np.diff(xyz[:2, :1], axis=axis + 1))
        steps = steps[np.isfinite(steps)]
        if steps.size > 2 and steps.min() > FARTHEST_NEIGHBOUR:
            low, high = np.quantile(steps, (0.1, 0.9))
            if high < REGULAR * low:
                checked(float(low), "distance of neighbours", PIXEL_SIZE)
    if np.isfinite(xyz[:2]).any():
        places["x and y of the pixels"] = float(np.nanmax(np.abs(xyz[:2])))
    z = np.abs(xyz[2][np.isfinite(xyz[2])])
    if distance is None and z.size and not z.max():
        raise UnitsError(
            "z of the pixels is 0 m, in the plane of the sample; it counts from the"
            " sample here: add the distance of the detector"
        )
    if distance is None and z.size and np.median(z) > DISTANCE.usual[1]:
        checked(float(np.median(z)), "z of the pixels", DISTANCE)
    if distance is not None and z.size and z.max():
        checked(float(z.max()), "z of the pixels", PLACE)
    for name, value in places.items():
        if value:
            checked(abs(value), name, PLACE)


def check_apart(
    panels: Sequence[Panel],
    group_of: Callable[[int], int],
    what: str,
    unit: str,
    usual: float = SPREAD,
) -> None:
    """Raise UnitsError for modules or quadrants that lie on each other, or far away.

    group_of: of the number of a module: that of what was placed.
    what, unit: what was placed, and the unit of its positions, for the message.
    usual: how far they may spread before there is a warning.
    """
    corners: dict[int, list[Floats]] = {}
    for panel in panels:
        corners.setdefault(group_of(panel.module), []).append(outline(panel))
    boxes = {
        group: (np.concatenate(c).min(axis=0), np.concatenate(c).max(axis=0))
        for group, c in corners.items()
    }
    for (a, one), (b, two) in combinations(boxes.items(), 2):
        shared = np.minimum(one[1], two[1]) - np.maximum(one[0], two[0])
        size = min(np.prod(box[1] - box[0]) for box in (one, two))
        if (shared > 0).all() and np.prod(shared) > OVERLAP * size:
            raise UnitsError(
                f"{what} {a + 1} and {b + 1} lie on each other, by"
                f" {np.prod(shared) / size:.0%}; are the positions in {unit}?"
            )
    sizes = sum(high - low for low, high in boxes.values())
    low, high = (np.array(v) for v in zip(*boxes.values(), strict=True))
    span = high.max(axis=0) - low.min(axis=0)
    spread = float(np.prod(span) / np.prod(sizes) * len(boxes))
    if spread > usual**2:
        message = (
            f"{what}s lie far apart, over {span[0]:.3g} m x {span[1]:.3g} m, with"
            f" {spread:.1f} times their area; are the positions in {unit}?"
        )
        if spread > SPREAD**2:
            raise UnitsError(message)
        warn(message)


def outline(panel: Panel) -> Floats:
    """Return the corners of a panel, float64 (4, 2), m."""
    n_slow, n_fast = panel.shape
    corner, slow, fast = (
        np.array(v[:2]) for v in (panel.corner, panel.slow_step, panel.fast_step)
    )
    return np.array(
        [corner + i * slow + j * fast for i in (0, n_slow) for j in (0, n_fast)]
    )
