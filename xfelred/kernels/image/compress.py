"""Frames rounded to what their error allows, which gzip packs well."""

from __future__ import annotations

import zlib
from math import prod

import numpy as np

from xfelred.kernels.arrays import Array, Floats

LEVEL = 1  # of gzip, as our files have it


def rounded(frames: Array, *, step: float) -> Array:
    """Return the nearest multiples of a step that is a power of two.

    frames: real (...); not modified. NaN and infinity stay. Returns float (...); of
        integers the nearest that a float32, or of long ones a float64, holds.
    """
    wide = frames.dtype.itemsize > (2 if frames.dtype.kind in "iub" else 4)
    out: Array = frames.astype(np.float64 if wide else np.float32)
    # Exact: to divide by a power of two changes the exponent only.
    out /= step
    np.rint(out, out=out)
    out *= step
    return out


def packed_share(frames: Array, *, step: float, n_core: int) -> Floats:
    """Return how many times smaller gzip makes frames that are rounded.

    frames: real (..., n_core axes). Returns float64 (...): bytes of the frame as given
        over those of the rounded one, shuffled and packed.
    """
    lead = frames.shape[: frames.ndim - n_core]
    flat = frames.reshape(prod(lead), prod(frames.shape[frames.ndim - n_core :]))
    out = np.empty(len(flat))
    for i, frame in enumerate(flat):
        found = rounded(frame, step=step)
        shuffled = found.view(np.uint8).reshape(-1, found.itemsize).T.tobytes()
        out[i] = frame.nbytes / len(zlib.compress(shuffled, LEVEL))
    return out.reshape(lead)
