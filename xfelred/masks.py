"""Bad-pixel maps: non-zero is bad, everywhere; bits say why."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from xfelred.names import BAD_PIXELS, LONG_NAME, UNITS
from xfelred.provenance import record

# Bits of the `mask` dataset of corrected European XFEL data.
names: dict[str, int] = {
    "OFFSET_OUT_OF_THRESHOLD": 1 << 0,
    "NOISE_OUT_OF_THRESHOLD": 1 << 1,
    "OFFSET_NOISE_EVAL_ERROR": 1 << 2,
    "NO_DARK_DATA": 1 << 3,
    "CI_GAIN_OF_OF_THRESHOLD": 1 << 4,
    "CI_LINEAR_DEVIATION": 1 << 5,
    "CI_EVAL_ERROR": 1 << 6,
    "FF_GAIN_EVAL_ERROR": 1 << 7,
    "FF_GAIN_DEVIATION": 1 << 8,
    "FF_NO_ENTRIES": 1 << 9,
    "CI2_EVAL_ERROR": 1 << 10,
    "VALUE_IS_NAN": 1 << 11,
    "VALUE_OUT_OF_RANGE": 1 << 12,
    "GAIN_THRESHOLDING_ERROR": 1 << 13,
    "DATA_STD_IS_ZERO": 1 << 14,
    "ASIC_STD_BELOW_NOISE": 1 << 15,
    "INTERPOLATED": 1 << 16,
    "NOISY_ADC": 1 << 17,
    "OVERSCAN": 1 << 18,
    "NON_SENSITIVE": 1 << 19,
    "NON_LIN_RESPONSE_REGION": 1 << 20,
    "WRONG_GAIN_VALUE": 1 << 21,
    "NON_STANDARD_SIZE": 1 << 22,
    "EXPERT_CHOICE": 1 << 23,
    "USER_1": 1 << 30,
    "USER_2": 1 << 31,
}


def bits(chosen: int | str | Iterable[int | str] | None) -> int | None:
    """Return bits, given as numbers or by their names, as one number.

    Parameters
    ----------
    chosen : int, str, iterable of these, or None
        None stands for all bits and stays None.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if chosen is None or isinstance(chosen, (int, np.integer)):
        return None if chosen is None else int(chosen)
    items = [chosen] if isinstance(chosen, str) else list(chosen)
    total = 0
    for item in items:
        if isinstance(item, str) and item not in names:
            raise ValueError(
                f"unknown bad-pixel bit {item!r}; known: {', '.join(names)}"
            )
        total |= names[item] if isinstance(item, str) else int(item)
    return total


def from_good(good: xr.DataArray) -> xr.DataArray:
    """Return the bad-pixel map for a mask in which non-zero means *good*.

    Parameters
    ----------
    good : DataArray, bool or number (...)
        Mask in the sense of psana, SACLA and loki.

    Returns
    -------
    DataArray, bool (...)
        True where a pixel is bad.
    """
    out = (good == 0).rename(BAD_PIXELS)
    out.attrs = {UNITS: "1", LONG_NAME: "bad pixel"}
    return record(out, "from_good", good)
