"""Results by their names: each with its unit and what it is."""

from __future__ import annotations

import xarray as xr

from xfelred.names import LONG_NAME, UNITS


def variables(
    parent: xr.DataArray | xr.Dataset, **found: tuple[xr.DataArray, str, str]
) -> xr.Dataset:
    """Return (values, unit, long name) as variables beside the attributes of frames."""
    for name, (value, unit, text) in found.items():
        value.attrs = {UNITS: unit, LONG_NAME: text}
        value.name = name
    return xr.Dataset({k: v[0] for k, v in found.items()}, attrs=dict(parent.attrs))


def unit_of(da: xr.DataArray) -> str:
    return str(da.attrs.get(UNITS, "adu"))
