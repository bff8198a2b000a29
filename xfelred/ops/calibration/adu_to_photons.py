"""Signals of MPCCD modules in photons, or on the gain of one module."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.geometry.energy import usual_energy
from xfelred.kernels.calibration.mpccd import PAIR_ENERGY, scaled
from xfelred.lazy import map_frames
from xfelred.names import (
    ABSOLUTE_GAIN,
    AVAILABLE,
    FAST,
    MODULE,
    PHOTON_ENERGY,
    REFERENCE_GAIN,
    SLOW,
    UNITS,
)
from xfelred.provenance import record

Given = xr.DataArray | float | None


@entry
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
        NaN where gain or energy is NaN or not positive, and where the coordinate
        ``available`` is False.

    Raises
    ------
    MissingConstantError
        If gain or energy is neither given nor a coordinate, or nowhere positive. Lazy
        ones are not looked at.
    ValueError
        If gain or energy has dims or labels that `da` lacks, or is given per pixel.

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
    usual_energy(energies)  # refuses what no photon has, such as keV
    out = map_frames(
        scaled,
        da,
        *recorded(da),
        gains * PAIR_ENERGY,
        energies,
        core_dims=(SLOW, FAST),
        dtype=float_type(da),
        name="adu_to_photons",
        dtype_name=float_type(da).name,
        divide=True,
    )
    out.attrs[UNITS] = "photon"
    return record(out, "adu_to_photons", da, gain=gain, energy=energy)


@entry
def match_gains(
    da: xr.DataArray, gain: Given = None, *, reference: float | None = None
) -> xr.DataArray:
    """Bring all modules to the gain of the first, in adu.

    Parameters
    ----------
    da : DataArray, real (..., module, slow_scan, fast_scan), adu
    gain : DataArray (module), optional
        Electrons per adu, or gains relative to each other; by default the coordinate
        ``absolute_gain``.
    reference : float, optional
        The gain that all modules are brought to. By default that of the first module
        in `gain` which has one; without `gain` the coordinate ``reference_gain``, which
        is that of the first module of the whole detector, whatever was selected; where
        there is none either, that of the first module of `da` which has one.

    Returns
    -------
    DataArray (...), adu
        Lazy, `da` times gain / reference; dtype as of `adu_to_photons`. NaN in modules
        whose gain is NaN or not positive, and where ``available`` is False. Its
        coordinate ``absolute_gain`` is the reference, so that photons stay the same;
        with `gain` there is none.

    Raises
    ------
    MissingConstantError
        If the gain is neither given nor a coordinate, or nowhere positive, or the
        reference is not positive.
    ValueError
        If the gain has dims or labels that `da` lacks, or is given per pixel.
    """
    gains = companion(da, gain, ABSOLUTE_GAIN, "gain")
    to = reference_of(da, gain, reference, gains)
    out = map_frames(
        scaled,
        da,
        *recorded(da),
        gains / to,
        core_dims=(SLOW, FAST),
        dtype=float_type(da),
        name="match_gains",
        dtype_name=float_type(da).name,
    )
    if gain is not None:  # perhaps only relative: nobody knows the gain now
        out = out.drop_vars(ABSOLUTE_GAIN, errors="ignore")
    else:
        matched = to.where(gains > 0).transpose(*gains.dims).variable
        matched.attrs = da[ABSOLUTE_GAIN].attrs
        out = out.assign_coords({ABSOLUTE_GAIN: matched})
    return record(out, "match_gains", da, gain=gain, reference=reference)


def reference_of(
    da: xr.DataArray, given: Given, reference: float | None, gains: xr.DataArray
) -> xr.DataArray:
    """Return the gain that all modules are brought to, a single number.

    Raises MissingConstantError if it is not positive.
    """
    if reference is not None or (given is None and REFERENCE_GAIN in da.coords):
        found = reference if reference is not None else da[REFERENCE_GAIN]
        return companion(da, found, REFERENCE_GAIN, "reference")
    # Of those given, not only of those that the frames have.
    every = given if isinstance(given, xr.DataArray) else gains
    every = every.reset_coords(drop=True)
    # One gain for each module: that of the first shot, where shots differ.
    every = every.isel({d: 0 for d in every.dims if d != MODULE})
    if MODULE in every.dims:
        good = every > 0
        # The first positive one, without a look at values that may be lazy.
        every = every.where(good & (good.cumsum(MODULE) == 1)).sum(MODULE)
    return every.where(every > 0).drop_vars(list(every.coords))


def recorded(da: xr.DataArray) -> list[xr.DataArray]:
    """Return factors 1 and 0 for what was recorded and what was not, if known."""
    # Missing integers are 0 in the frames, which says nothing once they are photons.
    if AVAILABLE not in da.coords:
        return []
    found = da[AVAILABLE].variable.to_base_variable()
    return [xr.DataArray(found.astype(np.float64), name=AVAILABLE)]


def companion(
    da: xr.DataArray, given: Given, coordinate: str, name: str
) -> xr.DataArray:
    """Return a gain or an energy, in memory, on dims and labels of the frames.

    Raises MissingConstantError if it is neither given nor a coordinate, or nowhere a
        positive number; ValueError if it has dims or labels that the frames lack, or
        dims of pixels.
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
    pixels = [d for d in values.dims if d in (SLOW, FAST)]
    if pixels:
        raise ArgumentError(
            f"{name} has dims {values.dims}, but it is taken per module and shot, not"
            f" along {pixels}. Multiply the frames by what differs from pixel to pixel"
        )
    # `chunk` makes coordinates lazy too. What is not positive becomes NaN.
    if values.chunks is None and values.size and not np.any(values.values > 0):
        raise MissingConstantError(
            f"{name} must be positive, but none of its {values.size} values is, such"
            f" as {values.values.flat[0]}. Pass {name}="
        )
    return xr.DataArray(values, name=name)


def on_labels(da: xr.DataArray, given: xr.DataArray, name: str) -> xr.DataArray:
    for d in given.dims:
        if d not in da.dims:
            raise ArgumentError(
                f"{name} has a dim {d!r}, but the frames have {da.dims}"
            )
        if d in given.indexes and d in da.indexes:
            lacking = da.indexes[d].difference(given.indexes[d])
            if len(lacking):
                raise ArgumentError(
                    f"{name} has no value for {len(lacking)} of {da.sizes[d]} {d}"
                    f" labels, such as {lacking[0]}"
                )
            given = given.sel({d: da.indexes[d]})
        elif given.sizes[d] != da.sizes[d]:
            raise ArgumentError(
                f"{name} has {given.sizes[d]} values along {d!r}, the frames have"
                f" {da.sizes[d]}"
            )
    return given


def float_type(da: xr.DataArray) -> np.dtype[np.floating]:
    """Return float32, or float64 where that would lose digits."""
    return np.dtype(np.result_type(da.dtype, np.float32))
