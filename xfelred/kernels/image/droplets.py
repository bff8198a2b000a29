"""Droplets of charge: connected pixels above a threshold, and photons in them.

Almost all pixels are below the threshold, so that only those above it are looked at
more than once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, read_only
from xfelred.kernels.per_frame import listed, per_pixel

ADU, N_PIXELS, ROW, COLUMN, MODULE, COUNTS = range(6)
N_QUANTITIES = 6
N_KEPT, N_FOUND = 0, 1  # places in the row `COUNTS`
# Lowest value of a seed and of a pixel beside one, highest of any, lowest of a droplet;
# whether pixels beside seeds are taken, and droplets that then touch are one.
Limits = tuple[float, float, float, float, bool, bool]


@njit(nogil=True, cache=True)
def seeds(
    image: Array, bad: Bools, unit: Floats, low: float, top: float, found: Ints
) -> int:
    """List the pixels not below a threshold; return how many there are."""
    n, width = 0, image.shape[1]
    noisy = unit.size > 0
    for r in range(image.shape[0]):
        row, flags = image[r], bad[r]
        for c in range(width):
            v = np.float64(row[c])
            least = low * unit[r, c] if noisy else low
            # A pixel is not less than anything where it, or its noise, is NaN.
            if v >= least and v <= top and v != 0 and not flags[c]:
                found[n] = r * width + c
                n += 1
    return n


@njit(nogil=True, cache=True)
def neighbours(at: int, shape: tuple[int, int], out: Ints) -> None:
    """Put the places up, down, left and right of a pixel into `out`; -1: none."""
    r, c = at // shape[1], at % shape[1]
    out[0] = at - shape[1] if r > 0 else -1
    out[1] = at + shape[1] if r < shape[0] - 1 else -1
    out[2] = at - 1 if c > 0 else -1
    out[3] = at + 1 if c < shape[1] - 1 else -1


@njit(nogil=True, cache=True)
def grown(
    image: Array,
    bad: Bools,
    unit: Floats,
    limits: Limits,
    found: Ints,
    n: int,
    label: Ints,
) -> int:
    """Add the pixels beside seeds that are not below the lower threshold.

    `label` is -1 for these, as for seeds, and 0 elsewhere. Return how many there are.
    """
    _, low, top, _, _, _ = limits
    width, beside = image.shape[1], np.empty(4, np.int64)
    for k in range(n):
        label[found[k]] = -1
    total = n
    for k in range(n):
        neighbours(found[k], image.shape, beside)
        for q in beside:
            if q < 0 or label[q] != 0:
                continue
            r, c = q // width, q % width
            v = np.float64(image[r, c])
            least = low * unit[r, c] if unit.size > 0 else low
            if v >= least and v <= top and not bad[r, c] and v != 0:
                label[q] = -1
                found[total] = q
                total += 1
    return total


@njit(nogil=True, cache=True)
def root_of(parent: Ints, at: int) -> int:
    while parent[at] != at:
        at = parent[at]
    return at


@njit(nogil=True, cache=True)
def numbered(found: Ints, n: int, width: int, label: Ints, parent: Ints) -> int:
    """Give what is connected numbers from 1, in the order of first pixels.

    `found` is sorted; `label` is not 0 there. Return how many there are.
    """
    for k in range(n):
        at, mine = found[k], k + 1
        parent[mine] = mine
        up = label[at - width] if at >= width else 0
        left = label[at - 1] if at % width > 0 else 0
        for other in (up, left):
            if other > 0:
                root = root_of(parent, other)
                low, high = min(root, mine), max(root, mine)
                parent[high] = low
                mine = low
        label[at] = mine
    n_labels = 0
    for k in range(n):
        # A root is a first pixel, before all others of its own.
        root = root_of(parent, label[found[k]])
        if root == k + 1:
            n_labels += 1
            label[found[k]] = n_labels
        else:
            label[found[k]] = label[found[root - 1]]
    return n_labels


@njit(nogil=True, cache=True)
def labelled(
    image: Array,
    bad: Bools,
    unit: Floats,
    limits: Limits,
    found: Ints,
    label: Ints,
    parent: Ints,
) -> tuple[int, int]:
    """Label the droplets of a module; return the numbers of pixels and of droplets."""
    high, _, top, _, grows, merges = limits
    width = image.shape[1]
    n = seeds(image, bad, unit, high, top, found)
    if not grows:
        for k in range(n):
            label[found[k]] = -1
        return n, numbered(found, n, width, label, parent)
    if merges:
        total = grown(image, bad, unit, limits, found, n, label)
        found[:total].sort()
        return total, numbered(found, total, width, label, parent)
    for k in range(n):
        label[found[k]] = -1
    n_labels = numbered(found, n, width, label, parent)
    numbers = np.empty(n, np.int64)
    for k in range(n):
        numbers[k] = label[found[k]]
    total = grown(image, bad, unit, limits, found, n, label)
    for k in range(n):
        label[found[k]] = numbers[k]
    beside = np.empty(4, np.int64)
    for k in range(n, total):
        # Of the seeds around it, that of the highest number.
        neighbours(found[k], image.shape, beside)
        best = 0
        for q in beside:
            if q >= 0 and label[q] > best and is_seed(found, n, q):
                best = label[q]
        label[found[k]] = best
    return total, n_labels


@njit(nogil=True, cache=True)
def is_seed(found: Ints, n: int, at: int) -> bool:
    k = np.searchsorted(found[:n], at)
    return bool(k < n and found[k] == at)


@njit(nogil=True, cache=True)
def sums_of(
    image: Array, found: Ints, total: int, label: Ints, n_labels: int
) -> Floats:
    """Return sum, number of pixels, and centre of each droplet, (droplet, 4)."""
    width, out = image.shape[1], np.zeros((n_labels, 4))
    for k in range(total):
        at = found[k]
        v, own = np.float64(image[at // width, at % width]), out[label[at] - 1]
        own[ADU] += v
        own[N_PIXELS] += 1
        own[ROW] += v * (at // width)
        own[COLUMN] += v * (at % width)
    for i in range(n_labels):
        out[i, ROW] /= out[i, ADU]
        out[i, COLUMN] /= out[i, ADU]
    return out


@njit(nogil=True, cache=True)
def search_frames(
    frames: Array,
    bad: Bools,
    unit: Floats,
    limits: Limits,
    numbers: Ints,
    out: Floats,
    image_of: Ints,
) -> None:
    """Find the droplets of every frame (module, slow_scan, fast_scan).

    out: (frame, quantity, droplet); image_of: (frame, module, pixel), their numbers
        within the module, or empty if they are not wanted.
    """
    shape = frames.shape[2:]
    found = np.empty(shape[0] * shape[1], np.int64)
    label = np.zeros(shape[0] * shape[1], np.int64)
    parent = np.empty(shape[0] * shape[1] + 1, np.int64)
    each_bad, each_unit = int(len(bad) > 1), int(len(unit) > 1)
    for i in range(len(frames)):
        n, n_all = 0, 0
        for m in range(frames.shape[1]):
            image, flags = frames[i, m], bad[i * each_bad, m]
            total, n_labels = labelled(
                image, flags, unit[i * each_unit, m], limits, found, label, parent
            )
            sums = sums_of(image, found, total, label, n_labels)
            for k in range(n_labels):
                if sums[k, ADU] < limits[3]:
                    continue
                if n < out.shape[2]:
                    for q in range(4):
                        out[i, q, n] = sums[k, q]
                    out[i, MODULE, n] = numbers[m]
                n += 1
            n_all += n_labels
            for k in range(total):
                number = label[found[k]]
                if image_of.size > 0 and sums[number - 1, ADU] >= limits[3]:
                    image_of[i, m, found[k]] = number
                label[found[k]] = 0
        out[i, COUNTS, N_KEPT], out[i, COUNTS, N_FOUND] = n, n_all


def unit_of(
    noise: Sequence[Array], lead: tuple[int, ...], shape: Sequence[int]
) -> Floats:
    """Return the noise of every pixel, NaN (no pixel is above it) where it is none."""
    unit = per_pixel(noise, lead, shape)
    return read_only(np.where(unit > 0, unit, np.nan))


def find_droplets(
    frames: Array,
    *rest: Array,
    n_core: int,
    n_masks: int,
    limits: Limits,
    numbers: tuple[int, ...],
    max_droplets: int,
    labels: bool,
) -> Array:
    """Return the droplets of every frame.

    frames: real (..., [module,] slow_scan, fast_scan), adu; not modified. NaN counts as
        a bad pixel.
    *rest: `n_masks` masks, bool or integer, non-zero is bad; then the noise of pixels,
        in units of which thresholds are, or nothing. Axes as those of `frames`, or of
        length 1.
    n_core: number of pixel axes, 2 or 3.
    limits: see `Limits`.
    numbers: of the modules.
    max_droplets: length of the last axis, at least 2.
    labels: return the number of the droplet of each pixel within its module, from 1,
        instead: int32, as `frames`; 0 for those below the lowest sum.
    Returns float64 (..., quantity, droplet), NaN behind the last droplet; the row
        `COUNTS` holds the numbers of droplets not below the lowest sum, and of all.
    """
    core = frames.shape[-n_core:]
    flat, bad, lead = listed(frames, rest[:n_masks], n_core)
    unit = unit_of(rest[n_masks:], lead, flat.shape)
    out = np.full((len(flat), N_QUANTITIES, 2 if labels else max_droplets), np.nan)
    pixels = flat.shape[2] * flat.shape[3] if labels else 0
    image_of = np.zeros((len(flat), flat.shape[1], pixels), np.int64)
    who = read_only(np.array(numbers, np.int64))
    search_frames(flat, bad, unit, limits, who, out, image_of)
    if labels:
        return image_of.astype(np.int32).reshape((*lead, *core))
    return out.reshape(*lead, N_QUANTITIES, max_droplets)
