"""How the numbers of a detector are read: plain facts, which need no kernel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """How the numbers of a detector are read.

    Attributes
    ----------
    n_ranges : int
        Gain ranges; 1: the detector does not switch.
    adu_bits : int
        Bits of the number that are signal; 0: all.
    shift : int
        The bits from here on tell the gain range.
    code_bits : int
        Which of them, after the shift.
    codes : tuple of int
        What they are, or another array is, in each range.
    """

    n_ranges: int = 1
    adu_bits: int = 0
    shift: int = 0
    code_bits: int = 0
    codes: tuple[int, ...] = (0,)
