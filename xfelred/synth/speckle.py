"""Simulated speckle patterns of photons, with known contrast and decay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.names import LONG_NAME, PIXEL_DIMS, PULSE, TRAIN, UNITS


@entry
def photons(
    *,
    shape: Sequence[int] = (1, 64, 64),
    n_trains: int = 10,
    pulses: Sequence[int] = range(8),
    k_mean: float = 0.5,
    modes: int = 2,
    decay: float = 4.0,
    jitter: float = 0.0,
    seed: int = 0,
) -> xr.DataArray:
    """Simulate the photons of speckle that changes from pulse to pulse.

    Parameters
    ----------
    shape : (module, slow_scan, fast_scan)
        Pixels, each of them a speckle.
    n_trains : int
        Independent of each other.
    pulses : sequence of int
        IDs, increasing.
    k_mean : float
        Photons per pixel.
    modes : int
        Independent patterns in one, so that the contrast is one over their number.
    decay : float
        Pulses over which the field is correlated, g1 = exp(-lag / decay); 0: every
        pulse for itself.
    jitter : float
        Spread of the pulse energy, as a share of it: a gamma distribution.
    seed : int

    Returns
    -------
    DataArray (train, pulse, module, slow_scan, fast_scan), float32, photons

    Raises
    ------
    ArgumentError
        If a number is not positive, or pulse IDs do not increase.

    Notes
    -----
    Each mode is a circular Gaussian field with an exponential memory; the counts are
    Poisson with the mean over modes of its square: negative binomial, and
    g2 = 1 + exp(-2 lag / decay) / modes (Goodman, Speckle Phenomena in Optics, 2007).

    Examples
    --------
    >>> frames = photons(shape=(1, 8, 8), n_trains=2, pulses=[0, 4, 8])
    >>> dict(frames.sizes)["pulse"], frames.attrs["units"]
    (3, 'photon')
    """
    ids = np.asarray(pulses, np.int64)
    if ids.ndim != 1 or not len(ids) or (np.diff(ids) <= 0).any():
        raise ArgumentError("pulses: wanted one or more IDs that increase")
    if len(shape) != 3 or min(*shape, n_trains, modes) < 1:
        raise ArgumentError(
            f"shape={shape!r}, n_trains={n_trains}, modes={modes}: wanted three lengths"
            " and numbers from 1"
        )
    if not k_mean > 0 or decay < 0 or jitter < 0:
        raise ArgumentError(
            f"k_mean={k_mean}, decay={decay}, jitter={jitter}: wanted 0 or more, and"
            " photons"
        )
    rng = np.random.default_rng(seed)
    size = (n_trains, modes, *shape, 2)
    out = np.empty((n_trains, len(ids), *shape), np.float32)
    field = rng.normal(size=size)
    for i, step in enumerate(np.diff(ids, prepend=ids[0])):
        kept = (np.exp(-step / decay) if decay else 0.0) if step else 1.0
        field = kept * field + np.sqrt(1 - kept**2) * rng.normal(size=size)
        intensity = (field**2).sum(axis=-1).mean(axis=1) / 2
        energy = np.ones(n_trains)
        if jitter:
            energy = rng.gamma(jitter**-2, jitter**2, n_trains)
        mean = k_mean * energy[:, np.newaxis, np.newaxis, np.newaxis] * intensity
        out[:, i] = rng.poisson(mean)
    return xr.DataArray(
        out,
        {TRAIN: 10000 + np.arange(n_trains), PULSE: ids},
        (TRAIN, PULSE, *PIXEL_DIMS),
        attrs={UNITS: "photon", LONG_NAME: "photons"},
    )
