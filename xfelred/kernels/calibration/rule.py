"""How the numbers of a detector are read: plain facts, which need no kernel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """How the numbers of a detector are read."""

    n_ranges: int = 1  # gain ranges; 1: the detector does not switch
    adu_bits: int = 0  # bits of the number that are signal; 0: all
    shift: int = 0  # the bits from here on tell the gain range
    code_bits: int = 0  # which of them, after the shift
    codes: tuple[int, ...] = (0,)  # what they are, or another array is, in each range
