"""The numbers that LCLS users know their common modes by, and parameters (cmpars)."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Real
from typing import Any

from xfelred.detectors import CATALOGUE, Detector
from xfelred.detectors.description import Pars
from xfelred.errors import ArgumentError, listing, shown
from xfelred.ops.calibration_kinds import kind_of

# Parameters of every algorithm after its number, and what the last of them default to.
PARAMETERS: dict[Any, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    0: (("mode", "max_correction", "min_pixels"), (10,)),
    1: (("mean_max", "sigma_max", "n_threshold", "use_unbonded"), (0,)),
    2: (("threshold", "max_correction", "length"), (128,)),
    3: (("threshold", "max_correction", "length"), (128,)),
    4: (("bits", "half_range", "max_correction"), ()),
    5: (("max_correction",), ()),
    6: (
        ("max_correction", "histogram_range", "colrow", "min_fraction", "norm_all"),
        (30, 30, 3, 0.25, 0),
    ),
    7: (("mode", "max_correction", "min_pixels"), (10,)),
    8: (("mode", "max_correction", "min_pixels"), (500, 10)),
    "uxi": (
        ("photon_threshold", "max_correction", "min_fraction", "mask_neighbours"),
        (0.05, 0),
    ),
}


def detector_of(name: str) -> Detector:
    """Return a detector of LCLS, by its name in any spelling.

    Raises ValueError if the name is unknown, or the detector has no common modes with
        numbers.
    """
    advice = " For others use ops.subtract_common_mode"
    found = kind_of(name, "LCLS detector", advice)
    if found.modes is None:
        raise ArgumentError(f"{found.kind} is no LCLS detector.{advice}")
    return found


def cmpars_of(detector: Detector, number: int | None, *, lcls2: bool = False) -> Pars:
    """Return the parameters of a number of a detector, without its hundreds.

    Raises ValueError if the detector has no such number.
    """
    modes = detector.modes
    if modes is None:
        raise ArgumentError(
            f"common_mode={number}: numbers belong to detectors of the LCLS, not to"
            f" {detector.kind}; pass cmpars or a dict such as {{'groups': ('row',)}}"
        )
    numbers = {**modes.numbers, **(modes.lcls2 if lcls2 else {})}
    chosen = modes.default if number is None else number
    # The hundreds only say that ghosts are subtracted, too.
    if chosen > 100 and modes.ghosts:
        chosen %= 100
    if chosen not in numbers:
        modes_of = {d.kind: d.modes for d in CATALOGUE.values() if d.modes}
        elsewhere = [kind for kind, m in modes_of.items() if chosen in m.numbers]
        hint = f" {chosen} belongs to {listing(elsewhere)}." if elsewhere else ""
        raise ArgumentError(
            f"{detector.kind} has no common mode {number}; it has"
            f" {listing(sorted(numbers), 20)}.{hint} Parameters of your own go to"
            " cmpars="
        )
    return numbers[chosen]


def completed(cmpars: Pars) -> Pars:
    """Return cmpars with all their parameters.

    Raises ValueError if the algorithm is unknown, or the number of its parameters
        wrong.
    """
    if not cmpars:
        return ()
    algorithm, *given = cmpars
    if not isinstance(algorithm, Hashable) or algorithm not in PARAMETERS:
        raise ArgumentError(
            f"cmpars={shown(cmpars)}: no algorithm {shown(algorithm)}; known:"
            f" {listing(PARAMETERS, 20)}"
        )
    names, defaults = PARAMETERS[algorithm]
    wrong = [v for v in given if not isinstance(v, Real) or v != v]
    if not len(names) - len(defaults) <= len(given) <= len(names) or wrong:
        raise ArgumentError(
            f"cmpars={shown(cmpars)}: wanted ({algorithm!r}, {', '.join(names)}), of"
            f" which the last {len(defaults)} may be left out, all numbers"
        )
    n_left = len(names) - len(given)
    return (algorithm, *given, *defaults[len(defaults) - n_left :])
