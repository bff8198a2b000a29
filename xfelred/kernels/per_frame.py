"""Pixels and one value per frame."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, Floats, read_only, usual


def divided(frames: Array, value: Array) -> Floats:
    """Return frames divided by a value each; NaN where that is 0 or NaN.

    frames: real (...); not modified.
    value: real (...); broadcasts against `frames`.
    Returns float64 (...).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        by = np.where(value != 0, value.astype(np.float64), np.nan)
        out: Floats = frames / by
    return out


def below(frames: Array, *masks: Array, cut: float) -> Bools:
    """Return which pixels are below a cut and in none of the masks, bool (...)."""
    out: Bools = frames < cut
    for mask in masks:
        out &= mask == 0
    return out


def minus_region(
    frames: Array,
    *masks: Array,
    cut: float,
    bounds: tuple[tuple[int, int], tuple[int, int]],
) -> Array:
    """Subtract from every module the median of some of its pixels.

    frames: real (..., slow_scan, fast_scan); not modified.
    *masks: bool or integer (..., slow_scan, fast_scan); non-zero: takes no part.
    cut: only pixels below this take part.
    bounds: ((low, high), (low, high)); positions of the pixels that may take part.
    Returns float (..., slow_scan, fast_scan); float64 of float64 and long integers,
        else float32. A module without a pixel that takes part is unchanged.
    """
    wide = frames.dtype.itemsize > (2 if frames.dtype.kind in "iu" else 4)
    out: Array = frames.astype(np.float64 if wide else np.float32)
    good = below(frames, *masks, cut=cut)
    rows, columns = (slice(*b) for b in bounds)
    cut_out, use = out[..., rows, columns], good[..., rows, columns]
    for i in np.ndindex(out.shape[:-2]):
        values: Array = cut_out[i][use[i]]
        if values.size:
            out[i] = out[i] - out.dtype.type(np.median(values))
    return out


def listed(
    frames: Array, masks: Sequence[Array], n_core: int
) -> tuple[Array, Bools, tuple[int, ...]]:
    """Return frames one after the other, in a dtype that numba knows, and bad pixels.

    frames: real (..., [module,] slow_scan, fast_scan).
    masks: bool or integer (..., [module,] slow_scan, fast_scan); non-zero is bad; axes
        may have length 1.
    n_core: number of pixel axes, 2 or 3.
    Returns frames: real (frame, module, slow_scan, fast_scan); bad: bool (frame or 1,
        module, slow_scan, fast_scan); one for all frames unless a mask differs between
        them; lead: lengths of the frame axes.
    """
    lead, core = frames.shape[: frames.ndim - n_core], frames.shape[-n_core:]
    whole = (1,) * (3 - n_core) + core
    flat = usual(frames.reshape(prod(lead), *whole))
    bad = np.zeros((1, *whole), bool)
    for mask in masks:
        # An empty selection has masks of length 0, which is not one for all frames.
        per_frame = any(n != 1 for n in mask.shape[: len(lead)])
        shape = lead if per_frame else (1,) * len(lead)
        each = np.broadcast_to(mask != 0, (*shape, *core))
        bad = bad | each.reshape(prod(shape), *whole)
    return flat, read_only(bad), lead


def per_pixel(
    given: Sequence[Array], lead: tuple[int, ...], shape: Sequence[int], by: float = 1.0
) -> Floats:
    """Return a number for every pixel, (frame or 1, module, slow_scan, fast_scan or 0).

    given: one array (..., [module,] slow_scan, fast_scan), axes may have length 1; or
        none, for which the last axis is empty.
    lead: lengths of the frame axes. shape: of the listed frames. by: a factor.
    """
    if not given:
        return read_only(np.zeros((1, *shape[1:3], 0)))
    (values,) = given
    per_frame = any(n != 1 for n in values.shape[: len(lead)])
    kept = lead if per_frame else (1,) * len(lead)
    core = tuple(shape[1:])[-(values.ndim - len(lead)) :]
    each = np.broadcast_to(by * values.astype(np.float64), (*kept, *core))
    return read_only(each.reshape(prod(kept), *shape[1:]))


def without_ghosts(
    images: NDArray[np.floating[Any]], previous: Array, p0: Array, p1: Array
) -> NDArray[np.floating[Any]]:
    """Return ``images - (p0 + p1 * previous)`` in the precision of the images.

    images: float (..., slow_scan, fast_scan).
    previous, p0, p1: real, broadcast against `images`; NaN of `previous` counts as 0.
    """
    dtype = images.dtype
    ghosts = np.nan_to_num(previous.astype(dtype), posinf=np.inf, neginf=-np.inf)
    ghosts *= p1.astype(dtype)
    ghosts += p0.astype(dtype)
    return images - ghosts
