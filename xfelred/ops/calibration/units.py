"""The unit of a calibrated signal: what the gain makes of adu."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xfelred.detectors.description import Gain
from xfelred.detectors.lcls import CSPAD_LOW_GAIN
from xfelred.errors import InconsistentDataError, warn
from xfelred.names import GAIN, GAIN_FACTOR, UNITS

ADU, NO_UNIT = "adu", "1"
PER = r"\s*(?:/|\bper\b)\s*"
PER_UNIT = re.compile(rf"adus?{PER}(.+)", re.IGNORECASE)
UNIT_PER_ADU = re.compile(rf"(.+?){PER}adus?", re.IGNORECASE)
# Of a gain, which divides, and of a factor.
PATTERNS = {GAIN: PER_UNIT, GAIN_FACTOR: UNIT_PER_ADU}
OTHER = {GAIN: GAIN_FACTOR, GAIN_FACTOR: GAIN}


def signal_unit(constants: Mapping[Any, object], usual: Gain) -> str:
    """Return the unit of adu divided by the gain, or times the gain factor.

    Raises InconsistentDataError if the unit says that a gain multiplies, or a factor
        divides.
    """
    constants = dict(constants)  # without coordinates: a dim may be called gain
    name = next((n for n in PATTERNS if n in constants), None)
    if name is None:
        return ADU
    one = constants[name]
    given = str(getattr(one, "attrs", {}).get(UNITS, "")).strip()
    found = PATTERNS[name].fullmatch(given)
    if found:
        return found[1].strip()
    if PATTERNS[OTHER[name]].fullmatch(given):
        does = "divides" if name == GAIN else "multiplies"
        raise InconsistentDataError(
            f"{name!r} {does} the signal, but its unit is {given!r}: rename it,"
            f" constants.rename({name}={OTHER[name]!r}), or correct its unit"
        )
    if compares_only(one):
        return ADU
    # Only of switching detectors psana knows the factor, too: one over the gain.
    if usual.unit and (name == GAIN or usual.switches):
        return PER_UNIT.sub(r"\1", usual.unit)
    warn(
        f"the unit of {name!r} is {given or 'not given'}, so that of the signal is not"
        f" known: say it, such as constants[{name!r}].attrs['units'] ="
        f" {'adu/keV' if name == GAIN else 'keV/adu'!r}. ({GAIN!r} divides,"
        f" {GAIN_FACTOR!r} multiplies)"
    )
    return NO_UNIT


def compares_only(gain: object) -> bool:
    """Return whether a gain makes pixels alike, and leaves adu of the usual ones."""
    if isinstance(gain, xr.DataArray) and gain.chunks is not None:
        return False  # building looks at no value
    values = np.asarray(gain)
    low = np.isclose(values, CSPAD_LOW_GAIN, rtol=1e-6)
    return bool(((values == 1) | (values == 0) | low).all())
