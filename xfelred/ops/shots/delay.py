"""The pump-probe delay of every shot: nominal position and time tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xfelred.column_names import split_element
from xfelred.entries import entry
from xfelred.errors import ArgumentTypeError, ConfigError, PropertyNameError, listing
from xfelred.names import LONG_NAME, PULSE, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.shots import recorded_only, shot_value

SCAN = "scan/"
# Names of the small data of LCLS.
ENCODERS = ("enc/lasDelay", "enc/lasDelay2")
ENCODER_IN_S = "enc/ch0"
TARGETS = ("epics/lxt_ttc", "epics/lxt")
CORRECTIONS = ("tt/ttCorr", "tt/FLTPOS_PS", "tt/fltpos_ps")
OTHERWISE = "delay"  # what other facilities know as the delay, in ps
COLUMNS = ("scan/*", *ENCODERS, ENCODER_IN_S, *TARGETS, OTHERWISE, *CORRECTIONS)
PICO = 1e12  # ps in a second
FEW = 10  # distinct values; an encoder that moves has more
# Standard deviations that tell ps from s, and a moving stage from a resting one.
STD_PS = 1e-9
STD_S = 1e-15
STD_AS_IS = 1e-3
IN_SECONDS_BELOW = 1e-6  # no delay in ps is so short
FACTORS = {"ps": 1.0, "fs": 1e-3, "ns": 1e3, "s": PICO}


@entry
def delay(
    source: Any,
    *,
    nominal: str | Sequence[str] = "auto",
    use_tt: bool = True,
    correction: str | Sequence[str] = "auto",
    add_lxt: bool = False,
) -> xr.DataArray:
    """Return the delay of every shot in ps.

    Parameters
    ----------
    source : Dataset (train) or Run
        Scalars, or a run that has a method ``scalars``.
    nominal : str or (str, unit), optional
        Column of the nominal delay, in s if all values are below 1e-6 and else in ps;
        or with its unit: ``("enc/lasDelay", "ps")``; one of several is
        ``"enc/all[1]"``. "auto" takes the first of: a scan
        variable with "lxt" in its name that varies (s); ``enc/lasDelay``,
        ``enc/lasDelay2`` with more than 10 distinct values (s or ps, by their spread);
        ``enc/ch0`` (s or ps, by its spread); ``epics/lxt_ttc``, ``epics/lxt`` if they
        vary (s); ``delay`` (ps), a name that works in runs of SACLA.
    use_tt : bool, optional
        Add the correction of the time tool.
    correction : str or (str, unit), optional
        Column of the correction in ps, or with its unit, such as the arrival time of a
        beam arrival monitor: ``("bam", "fs")``. "auto": ``tt/ttCorr``, or
        ``tt/FLTPOS_PS`` where that is constant; none where the nominal delay is
        ``delay``.
    add_lxt : bool, optional
        Add ``epics/lxt_ttc`` (s) too.

    Returns
    -------
    DataArray (train[, pulse])
        ``delay`` in ps, positive where the X-ray pulse comes after the pump; NaN where
        a part of it is. Attributes ``nominal`` and ``correction`` name the columns used
        ("none" for no correction).

    Raises
    ------
    ConfigError
        If no column is found, one is not there, or a unit is unknown.

    Notes
    -----
    The rules of the search are those of the small data of LCLS: delay = nominal +
    correction.
    """
    ds = columns_of(source, nominal, correction)
    name, values = (
        found_nominal(ds) if nominal == "auto" else given_nominal(ds, nominal)
    )
    used = "none"
    if use_tt and (correction != "auto" or name != OTHERWISE):
        given = correction if correction != "auto" else found_correction(ds)
        used = nominal_name(given)
        values = values + column(ds, used) * factor_of("correction", given)
    if add_lxt:
        values = values + column(ds, TARGETS[0]) * PICO
    out = values.transpose(TRAIN, ...).rename("delay")
    out = out.drop_vars([c for c in out.coords if c not in out.dims])
    out.attrs = {
        UNITS: "ps",
        LONG_NAME: "delay, positive: X-ray after pump",
        "nominal": name,
        "correction": used,
    }
    return record(out, "delay", nominal=name, correction=used, add_lxt=add_lxt)


def columns_of(
    source: Any, nominal: str | Sequence[str], correction: str | Sequence[str]
) -> xr.Dataset:
    if isinstance(source, xr.Dataset):
        return source
    if isinstance(source, xr.DataArray) or not hasattr(source, "scalars"):
        raise ArgumentTypeError(
            "delay takes a Dataset of scalars or a run, not"
            f" {type(source).__name__}: delay(run.scalars([...]))"
        )
    named = [] if nominal == "auto" else [nominal_name(nominal)]
    named += [] if correction == "auto" else [nominal_name(correction)]
    wanted = [*COLUMNS, *named, *(split_element(n)[0] for n in named)]
    found: xr.Dataset = source.scalars(wanted, missing_keys="ignore")
    return found


def nominal_name(nominal: str | Sequence[str]) -> str:
    return nominal if isinstance(nominal, str) else str(nominal[0])


def column(ds: xr.Dataset, name: str) -> xr.DataArray:
    """Return one column; ConfigError if it is not there or not one number a shot."""
    try:
        found = shot_value(ds, name)
    except PropertyNameError as error:
        raise ConfigError(f"no column for the delay: {error}") from error
    if TRAIN not in found.dims or not set(found.dims) <= {TRAIN, PULSE}:
        raise ConfigError(
            f"{name!r} is on {found.dims}; a delay is one number per shot, on train or"
            f" train and pulse. Of several name one: '{name}[0]'"
        )
    if found.dtype.kind not in "biuf":
        raise ConfigError(f"{name!r} is {found.dtype}; a delay is a number")
    return recorded_only(found).astype(np.float64)


def given_nominal(
    ds: xr.Dataset, nominal: str | Sequence[str]
) -> tuple[str, xr.DataArray]:
    """Return (name, ps) of the column that is asked for."""
    name = nominal_name(nominal)
    values = column(ds, name)
    if isinstance(nominal, str):
        largest = np.nanmax(np.abs(values.values), initial=0)
        return name, values * (PICO if largest < IN_SECONDS_BELOW else 1.0)
    return name, values * factor_of("nominal", nominal)


def factor_of(name: str, given: str | Sequence[str]) -> float:
    """Return what makes ps of a column, by the unit that was given with it."""
    if isinstance(given, str):
        return 1.0
    if len(given) != 2 or given[1] not in FACTORS:
        raise ConfigError(
            f"{name}={given!r}: give a column, or (column, unit) with one of"
            f" {', '.join(FACTORS)}"
        )
    return FACTORS[given[1]]


def found_nominal(ds: xr.Dataset) -> tuple[str, xr.DataArray]:
    """Return (name, ps) of the first column that can be the nominal delay."""
    scanned = [
        str(n)
        for n in ds.data_vars
        if str(n).startswith(SCAN) and "lxt" in str(n) and ds[n].dims[:1] == (TRAIN,)
    ]
    # The one without a suffix first.
    for name in sorted(scanned, key=lambda n: (n != "scan/lxt", n)):
        if distinct(column(ds, name)) > 1:
            return name, column(ds, name) * PICO
    for name, factors in encoder_factors(ds).items():
        if factors:
            return name, column(ds, name) * factors
    for name in TARGETS:
        if name in ds and distinct(column(ds, name)) > 1:
            return name, column(ds, name) * PICO
    if OTHERWISE in ds:
        return OTHERWISE, column(ds, OTHERWISE)
    tried = (f"{SCAN}*lxt*", *ENCODERS, ENCODER_IN_S, *TARGETS)
    raise ConfigError(
        f"no nominal delay found: none of {', '.join(tried)} is there and varies. Pass"
        f" nominal=. There are: {listing(ds)}"
    )


def encoder_factors(ds: xr.Dataset) -> Mapping[str, float]:
    """Return what makes ps of each encoder that is there; 0 for one that rests."""
    out = {}
    for name in (n for n in ENCODERS if n in ds):
        values = column(ds, name)
        spread = spread_of(values)
        factor = 1.0 if spread > STD_PS else PICO if spread > STD_S else 0.0
        out[name] = factor if distinct(values) > FEW else 0.0
    if ENCODER_IN_S in ds:
        spread = spread_of(column(ds, ENCODER_IN_S))
        in_seconds = STD_S < spread < STD_PS
        out[ENCODER_IN_S] = PICO if in_seconds else float(spread > STD_AS_IS)
    return out


def found_correction(ds: xr.Dataset) -> str:
    """Return the column of the time tool that is used.

    Raises ConfigError if there is none.
    """
    there = [name for name in CORRECTIONS if name in ds]
    if not there:
        raise ConfigError(
            f"no time tool: none of {', '.join(CORRECTIONS)} is there. Pass"
            " use_tt=False for the nominal delay, or correction="
        )
    moving = [name for name in there if distinct(column(ds, name)) > 1]
    return (moving or there)[0]


def distinct(column: xr.DataArray) -> int:
    """Return how many different finite values there are."""
    values = column.values
    return len(np.unique(values[np.isfinite(values)]))


def spread_of(column: xr.DataArray) -> float:
    """Return the standard deviation of the finite values, 0 if there are none."""
    finite = column.values[np.isfinite(column.values)]
    return float(finite.std()) if len(finite) else 0.0
