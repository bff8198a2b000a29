"""Signals of MPCCD modules in photons, or on the gain of one module."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.errors import MissingConstantError
from xfelred.kernels.mpccd import photon_factor, scaled
from xfelred.lazy import map_frames
from xfelred.names import ABSOLUTE_GAIN, FAST, PHOTON_ENERGY, SLOW, UNITS
from xfelred.provenance import record

Given = xr.DataArray | float | None


def adu_to_photons(
    da: xr.DataArray, *, gain: Given = None, energy: Given = None
) -> xr.DataArray:
    """Convert the signal of a silicon detector from adu to photons.

    Parameters
    ----------
    da : DataArray, real (..., slow_scan, fast_scan), adu
        Dark-subtracted frames.
    gain : DataArray or float, optional
        Electrons per adu; by default the coordinate ``absolute_gain``.
    energy : DataArray or float, optional
        Photon energy in eV, one number or one per shot; by default the coordinate
        ``photon_energy``.

    Returns
    -------
    DataArray (...), photon
        Lazy. float32, float64 for float64 and 32-bit integers. Negative values stay.

    Raises
    ------
    MissingConstantError
        If gain or energy is neither given nor a coordinate, or not positive. Lazy ones
        are not looked at: frames are NaN where they are not positive.
    ValueError
        If gain or energy has dims or labels that `da` lacks.

    Notes
    -----
    photons = adu * gain * 3.65 eV / energy, with the mean energy that makes an
    electron-hole pair in silicon: the conversion that SACLA gives for the MPCCD.

    Examples
    --------
    >>> adu = xr.DataArray([[100.0]], dims=("slow_scan", "fast_scan"))
    >>> round(float(adu_to_photons(adu, gain=16.912, energy=8610.0)[0, 0]), 3)
    0.717
    """
    gains = companion(da, gain, ABSOLUTE_GAIN, "gain")
    energies = companion(da, energy, PHOTON_ENERGY, "energy")
    out = map_frames(
        scaled,
        da,
        photon_factor(gains, 1.0),
        energies,
        core_dims=(SLOW, FAST),
        dtype=float_type(da),
        name="adu_to_photons",
        dtype_name=float_type(da).name,
        divide=True,
    )
    out.attrs[UNITS] = "photon"
    return record(out, "adu_to_photons", da, gain=gain, energy=energy)


def match_gains(da: xr.DataArray, gain: Given = None) -> xr.DataArray:
    """Bring all modules to the gain of the first, in adu.

    Parameters
    ----------
    da : DataArray, real (..., module, slow_scan, fast_scan), adu
    gain : DataArray (module), optional
        Electrons per adu, or gains relative to each other; by default the coordinate
        ``absolute_gain``.

    Returns
    -------
    DataArray (...), adu
        Lazy, `da` times gain / gain of the first module; dtype as of `adu_to_photons`.

    Raises
    ------
    MissingConstantError
        If the gain is neither given nor a coordinate, or not positive.
    """
    gains = companion(da, gain, ABSOLUTE_GAIN, "gain")
    out = map_frames(
        scaled,
        da,
        gains / gains.isel(dict.fromkeys(gains.dims, 0)),
        core_dims=(SLOW, FAST),
        dtype=float_type(da),
        name="match_gains",
        dtype_name=float_type(da).name,
    )
    return record(out, "match_gains", da, gain=gain)


def companion(
    da: xr.DataArray, given: Given, coordinate: str, name: str
) -> xr.DataArray:
    """Return a gain or an energy, in memory, on dims and labels of the frames.

    Raises
    ------
    MissingConstantError
        If it is neither given nor a coordinate, or nowhere a positive number.
    ValueError
        If it has dims or labels that the frames lack.
    """
    if given is None and coordinate not in da.coords:
        raise MissingConstantError(
            f"the frames have no coordinate {coordinate!r}; pass {name}="
        )
    found = da[coordinate] if given is None else given
    if not isinstance(found, xr.DataArray):
        found = xr.DataArray(float(found))
    elif given is not None:
        found = on_labels(da, found, name)
    values = found.variable.to_base_variable()
    # `chunk` makes coordinates lazy too; then what is not positive becomes NaN.
    if values.chunks is None and not np.all(values.values > 0):
        raise MissingConstantError(
            f"{name} must be positive everywhere, but its least value is"
            f" {values.values.min()}. Pass {name}="
        )
    return xr.DataArray(values, name=name)


def on_labels(da: xr.DataArray, given: xr.DataArray, name: str) -> xr.DataArray:
    """Return a companion with the labels of the frames, in their order."""
    for d in given.dims:
        if d not in da.dims:
            raise ValueError(f"{name} has a dim {d!r}, but the frames have {da.dims}")
        if d in given.indexes and d in da.indexes:
            lacking = da.indexes[d].difference(given.indexes[d])
            if len(lacking):
                raise ValueError(
                    f"{name} has no value for {len(lacking)} of {da.sizes[d]} {d}"
                    f" labels, such as {lacking[0]}"
                )
            given = given.sel({d: da.indexes[d]})
        elif given.sizes[d] != da.sizes[d]:
            raise ValueError(
                f"{name} has {given.sizes[d]} values along {d!r}, the frames have"
                f" {da.sizes[d]}"
            )
    return given


def float_type(da: xr.DataArray) -> np.dtype[np.floating]:
    """Return float32, or float64 where that would lose digits."""
    return np.dtype(np.result_type(da.dtype, np.float32))
