"""The centre of rings without a guess."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import fft, ndimage

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.rings.ring_search import window_mean

COARSE, FINE, FINEST = 48, 256, 512  # pixels along the longer side
MARGIN = 0.5  # of the image, around it, in which the centre is looked for
BROAD = 0.08  # of the image: structure wider than this is background
LEAST_OVERLAP = 0.05  # of the good pixels, for inversion
MOST_STEPS = 40
WIDE = 4.0  # pixels of a Gaussian; its shape no longer matters
SAMPLE = 1 << 18  # pixels that tell what is extreme
INNER = 4.0  # pixels of the reduced image within which no ring is looked for

Found = tuple[float, float, float, float]


def find_centre(image: Array, good: Bools) -> Found:
    """Return (x, y, r, contrast) of the rings of one image.

    image: number (row, column).
    good: bool (row, column); false, or NaN in `image`: left out.
    Returns centre and radius of the clearest ring in pixels, to a few pixels;
        `contrast` is the part of the variance that rings explain, 0 to 1. All NaN if
        there are no structures.

    The centre about which the radial profile explains most of the variance, once broad
    structure is subtracted. Trial centres: every pixel of a much reduced image and of
    a margin of half its size; the best point of inversion (masked normalized
    correlation of the image with its own inversion); the middle. The best ones are
    improved on finer images.
    """
    if image.dtype.kind == "f":
        good = good & np.isfinite(image)
    limits = without_extremes(image, good)
    starts = [((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)]
    for size, search in ((COARSE, everywhere), (FINE, inversion)):
        small = Reduced(image, good, limits, size)
        if not small.usable:
            return np.nan, np.nan, np.nan, np.nan
        starts += [small.full(*c) for c in search(small.value, small.weight)]
    fine = Reduced(image, good, limits, FINE)
    found = [climb(fine, *fine.reduced(*c), step=fine.span) for c in starts]
    score, x, y = max(found)
    x, y = fine.full(x, y)
    finest = Reduced(image, good, limits, FINEST)
    if finest.factor < fine.factor:
        wide = fine.factor / finest.factor
        score, x, y = climb(finest, *finest.reduced(x, y), step=wide)
        x, y = finest.full(x, y)
    r = clearest_ring(finest, *finest.reduced(x, y)) * finest.factor
    return x, y, r, float(max(score, 0.0))


def without_extremes(image: Array, good: Bools) -> tuple[float, float]:
    """Return the limits of all but the 0.1 % lowest and highest pixels.

    One hot pixel would outshine the square of pixels that it is averaged with.
    """
    values = image[good]
    # Some of the pixels tell as much; a step that is no divisor of usual widths.
    values = values[:: 2 * (values.size // SAMPLE // 2) + 1]
    if not values.size:
        return -np.inf, np.inf
    at = [int(0.001 * (values.size - 1)), int(0.999 * (values.size - 1))]
    low, high = np.partition(values, at)[at]
    return (float(low), float(high)) if low < high else (-np.inf, np.inf)


class Reduced:
    """An image averaged over squares of pixels, less its broad structure.

    Attributes
    ----------
    value, weight : float64 (row, column)
        Value, and how many good pixels there are in a square, as a part of 1.
    factor : int
        Pixels along a side of a square.
    """

    def __init__(
        self, image: Array, good: Bools, limits: tuple[float, float], size: int
    ) -> None:
        self.factor = max(1, -(-max(image.shape) // size))
        value, weight = averaged(image, good, limits, self.factor)
        self.span = max(value.shape) / COARSE
        self.usable = bool((weight > 0).sum() > 16)
        if self.usable:
            value = flattened(value, weight)
            self.usable = bool((value**2 * weight).sum() > 0)
        self.value, self.weight = value, weight

    def full(self, x: float, y: float) -> tuple[float, float]:
        """Return a position in the image."""
        return (x + 0.5) * self.factor - 0.5, (y + 0.5) * self.factor - 0.5

    def reduced(self, x: float, y: float) -> tuple[float, float]:
        """Return a position in the reduced image."""
        return (x + 0.5) / self.factor - 0.5, (y + 0.5) / self.factor - 0.5


def averaged(
    image: Array, good: Bools, limits: tuple[float, float], factor: int
) -> tuple[Floats, Floats]:
    """Return (mean, part of good pixels) of squares of pixels, clipped to limits."""
    shape = tuple(-(-n // factor) for n in image.shape)
    total, count = np.zeros(shape), np.zeros(shape)
    add_squares(image, good, *limits, factor, total, count)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return mean, count / factor**2


@njit(nogil=True, cache=True)
def add_squares(
    image: Array,
    good: Array,
    low: float,
    high: float,
    factor: int,
    total: Array,
    count: Array,
) -> None:
    for i in range(image.shape[0]):
        row = i // factor
        for j in range(image.shape[1]):
            if good[i, j]:
                total[row, j // factor] += min(max(np.float64(image[i, j]), low), high)
                count[row, j // factor] += 1.0


def flattened(value: Floats, weight: Floats) -> Floats:
    """Return an image without hot pixels and broad structure; 0 if not known."""
    known = weight > 0
    low, high = np.percentile(value[known], [0.5, 99.5])
    clipped = np.clip(value, low, high) * known
    out = smooth(clipped, known, 0.7) - smooth(clipped, known, BROAD * max(value.shape))
    limit = 4 * np.std(out[known])
    return np.asarray(np.clip(out, -limit, limit) * known)


def smooth(value: Floats, known: Bools, sigma: float) -> Floats:
    """Return a Gaussian mean of what is known."""
    share = gaussian(known.astype(np.float64), sigma)
    total = gaussian(value, sigma)
    return np.divide(total, share, out=np.zeros_like(total), where=share > 1e-6)


def gaussian(value: Floats, sigma: float) -> Floats:
    """Return values convolved with a Gaussian; a wide one is three boxes in a row."""
    if sigma < WIDE:
        return np.asarray(ndimage.gaussian_filter(value, sigma, mode="constant"))
    width = 2 * int(np.sqrt(sigma**2 + 0.25)) + 1  # 3 (width^2 - 1) / 12 = sigma^2
    for _ in range(3):
        value = ndimage.uniform_filter(value, width, mode="constant")
    return value


def everywhere(value: Floats, weight: Floats) -> list[tuple[float, float]]:
    """Return the pixels about which rings explain most, in the image and around it."""
    n_rows, n_columns = value.shape
    out_x, out_y = int(MARGIN * n_columns), int(MARGIN * n_rows)
    x, y = np.arange(-out_x, n_columns + out_x), np.arange(-out_y, n_rows + out_y)
    scores = np.empty((len(y), len(x)))
    score_all(value, weight, x, y, scores)
    best = []
    for _ in range(3):
        row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
        best.append((float(x[column]), float(y[row])))
        scores[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = -np.inf
    return best


def inversion(value: Floats, weight: Floats) -> list[tuple[float, float]]:
    """Return the point about which the image is most like its own inversion."""
    shape = [fft.next_fast_len(2 * n) for n in value.shape]
    weighted = fft.rfft2(value * weight, shape)
    squared, mask = fft.rfft2(value**2 * weight, shape), fft.rfft2(weight, shape)
    same = fft.irfft2(weighted**2, shape)
    norm = fft.irfft2(squared * mask, shape)
    overlap = fft.irfft2(mask**2, shape)
    enough = overlap > LEAST_OVERLAP * weight.sum()
    ok = enough & (norm > 1e-9 * norm.max())
    # By significance: a small overlap correlates by chance.
    score = np.where(ok, same / np.where(ok, norm, 1.0) * np.sqrt(np.abs(overlap)), 0.0)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return [(column / 2, row / 2)]


def climb(
    image: Reduced, x: float, y: float, step: float
) -> tuple[float, float, float]:
    """Return (score, x, y) of the best centre that small steps lead to."""
    best = explained(image.value, image.weight, x, y)
    for _ in range(MOST_STEPS):
        if step < 0.2:
            break
        moved = False
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                at = x + dx * step, y + dy * step
                score = explained(image.value, image.weight, *at)
                if score > best:
                    best, place, moved = score, at, True
        if moved:
            x, y = place
        else:
            step /= 2
    return best, x, y


def clearest_ring(image: Reduced, x: float, y: float) -> float:
    """Return the radius at which the profile stands out most from what is beside it.

    Beside it: 4 to 6 pixels inside and outside, so that a slope does not count.
    """
    rows, columns = np.indices(image.value.shape)
    bins = np.floor(np.hypot(columns - x, rows - y)).astype(np.int64).ravel()
    weight, value = image.weight.ravel(), image.value.ravel()
    count = np.bincount(bins, weight)[None]
    total = np.bincount(bins, value * weight)[None]
    here = window_mean(total, count, -1, 1)
    beside = (window_mean(total, count, -6, -4) + window_mean(total, count, 4, 6)) / 2
    score = np.nan_to_num((here - beside) * np.sqrt(count), nan=-np.inf)[0]
    score[: int(INNER)] = -np.inf
    profile = np.divide(
        total, count, out=np.full(count.shape, -np.inf), where=count > 0
    )
    # The bin of the peak, next to the middle of the window that showed it.
    at = int(np.argmax(score))
    near = slice(max(at - 2, 0), at + 3)
    return near.start + float(np.argmax(profile[0, near])) + 0.5


@njit(nogil=True, cache=True)
def score_all(value: Array, weight: Array, x: Array, y: Array, scores: Array) -> None:
    for i in range(y.size):
        for j in range(x.size):
            scores[i, j] = explained(value, weight, float(x[j]), float(y[i]))


@njit(nogil=True, cache=True)
def explained(value: Array, weight: Array, x: float, y: float) -> float:
    """Return the part of the variance that a radial profile about (x, y) explains.

    Adjusted for the number of its bins, so that pure noise gives 0 for any centre.
    """
    n_rows, n_columns = value.shape
    far_x = max(abs(x), abs(n_columns - 1 - x))
    far_y = max(abs(y), abs(n_rows - 1 - y))
    n_bins = int(np.sqrt(far_x**2 + far_y**2)) + 2
    total, count = np.zeros(n_bins), np.zeros(n_bins)
    squares, n = 0.0, 0
    for row in range(n_rows):
        for column in range(n_columns):
            w = weight[row, column]
            if w > 0:
                b = int(np.sqrt((column - x) ** 2 + (row - y) ** 2))
                v = value[row, column]
                total[b] += w * v
                count[b] += w
                squares += w * v * v
                n += 1
    between, used, everything, sums = 0.0, 0, 0.0, 0.0
    for b in range(n_bins):
        if count[b] > 0:
            between += total[b] * total[b] / count[b]
            used += 1
            everything += count[b]
            sums += total[b]
    mean = sums * sums / max(everything, 1e-9)
    variance = squares - mean
    if n <= used + 1 or not variance > 0:
        return 0.0
    return 1.0 - (squares - between) / variance * (n - 1) / (n - used)
