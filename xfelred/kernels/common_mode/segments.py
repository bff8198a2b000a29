"""Common mode: offsets that groups of pixels share in one frame, and their removal.

A correction is a tuple of stages, each acting on the result of the last:
`Groups`, `WithoutPhotons`, `Offset`, `ZeroPeak`, `Unbonded`, `PixelRuns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats, read_only
from xfelred.kernels.common_mode import zero_peak
from xfelred.kernels.common_mode.group_offsets import (
    TOGETHER,
    subtract_blocks,
    subtract_columns,
)
from xfelred.kernels.common_mode.median import key_buffers, median

Image = NDArray[np.floating[Any]]


@dataclass
class Frame:
    """One segment of one frame while it is corrected."""

    image: Image  # float (slow_scan, fast_scan); changed by the stages
    # uint8 (slow_scan, fast_scan), non-zero where a pixel may take part; or (0, 0): all
    use: NDArray[np.uint8]
    # float (slow_scan, fast_scan); standard deviation of every pixel without signal
    noise: NDArray[np.floating[Any]] | None = None


class Stage(Protocol):
    """One step of a correction."""

    @property
    def name(self) -> str:
        """Kind of its groups."""

    def n_groups(self, shape: tuple[int, int]) -> int:
        """Return the number of offsets in a segment."""

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Change the image; fill in offsets and numbers of pixels, group by group."""


@dataclass(frozen=True)
class Groups:
    """Medians or means of a grid of groups; see `group_offsets.subtract_blocks`."""

    name: str  # of the kind of group
    shape: tuple[int, int, int]  # (height, width, stride)
    least: int = 1  # fewest pixels in an estimate
    limit: float = np.finfo(np.float64).max  # of the absolute offset, inclusive
    low: float = -np.inf  # low and high: values that take part, inclusive
    high: float = np.inf
    mean: bool = False
    only_used: bool = False

    def n_groups(self, shape: tuple[int, int]) -> int:
        return int(np.prod(shape)) // (self.shape[0] * self.shape[1])

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        height, width, stride = self.shape
        single = width == 1 and stride == 1
        length, number = height * width, frame.image.dtype.type
        strips = np.empty(length * TOGETHER if single else 0, frame.image.dtype)
        tests = (self.least, self.limit, number(self.low), number(self.high))
        groups = subtract_columns if single else subtract_blocks
        groups(
            frame.image,
            read_only(frame.use),
            (height, width, stride),
            tests,
            (self.mean, self.only_used),
            (*key_buffers(length, frame.image.dtype), strips),
            (offsets, counts),
        )


@dataclass(frozen=True)
class WithoutPhotons:
    """Takes pixels with signal out of all later estimates; corrects nothing itself."""

    # a pixel above holds a photon; `per_noise`: one from here on, in units of its noise
    threshold: float
    per_noise: bool = False
    neighbours: bool = False  # take out the 4 neighbours of photons as well
    reach: float = np.inf  # take out absolute values above
    name: str = "without_photons"

    def n_groups(self, shape: tuple[int, int]) -> int:
        return 0

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        if self.per_noise and frame.noise is not None:
            limits = (self.threshold * frame.noise).astype(frame.image.dtype)
        else:
            one = np.full((1, 1), self.threshold, frame.image.dtype)
            limits = np.broadcast_to(one, frame.image.shape)
        use, options = read_only(frame.use), (self.neighbours, self.reach)
        frame.use = without_photons(frame.image, use, limits, self.per_noise, *options)


@dataclass(frozen=True)
class Offset:
    """Median of one rectangle, subtracted from the whole segment."""

    name: str
    rows: tuple[int, int]  # rows and columns: (first, end)
    columns: tuple[int, int]
    apply: bool = True  # False: the offset is only noted

    def n_groups(self, shape: tuple[int, int]) -> int:
        return 1

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        part = (slice(*self.rows), slice(*self.columns))
        values = frame.image[part]
        if frame.use.size:
            values = np.where(frame.use[part] != 0, values, np.nan)
        values = values.ravel().astype(frame.image.dtype)
        offsets[0] = found = median(values)
        counts[0] = np.count_nonzero(~np.isnan(values))
        if self.apply and np.isfinite(found):
            frame.image -= found


@dataclass(frozen=True)
class ZeroPeak:
    """Position of the peak without photons; see `zero_peak.peak_of`."""

    max_offset: float  # max_offset and max_sigma: beyond these the peak is not believed
    max_sigma: float
    threshold: float  # counts that a bin of the peak must exceed; 0 or less: 100
    unbonded: bool = False  # use the unbonded pixels where there is no peak
    name: str = "zero_peak"

    def n_groups(self, shape: tuple[int, int]) -> int:
        return 1

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        threshold = float(self.threshold) if self.threshold > 0 else 100.0
        use = read_only(frame.use)
        offset, sigma, n = zero_peak.peak_of(frame.image, use, threshold)
        counts[0] = n
        offsets[0] = np.nan
        if abs(offset) <= self.max_offset and sigma <= self.max_sigma:
            offsets[0] = offset
            frame.image -= frame.image.dtype.type(offset)
        elif self.unbonded:
            Unbonded(self.max_offset).correct(frame, offsets, counts)


@dataclass(frozen=True)
class Unbonded:
    """Mean of the pixels of a CsPad sensor that have no bond."""

    max_offset: float  # largest absolute offset, inclusive
    name: str = "unbonded"

    def n_groups(self, shape: tuple[int, int]) -> int:
        return 1

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        # On the diagonals of both halves of a sensor of 185 x 388 pixels. The pixel in
        # the corner has no bond either, but does not take part.
        rows = np.tile(np.arange(10, 181, 10), 2)
        columns = rows + np.repeat([0, 194], 18)
        values = frame.image[rows, columns].astype(np.float64)
        good = ~np.isnan(values)
        if frame.use.size:
            good &= frame.use[rows, columns] != 0
        counts[0] = np.count_nonzero(good)
        offsets[0] = np.nan
        offset = values[good].mean() if good.any() else np.nan
        if abs(offset) <= self.max_offset:
            offsets[0] = offset
            frame.image -= frame.image.dtype.type(offset)


@dataclass(frozen=True)
class PixelRuns:
    """Offsets of consecutive pixels, in the order of memory."""

    length: int  # pixels in a run; the last may be shorter
    threshold: float  # only values below take part
    max_offset: float  # largest absolute offset, inclusive
    mean: bool  # mean; else the lower median of the values without their fractions
    name: str = "run"

    def n_groups(self, shape: tuple[int, int]) -> int:
        return -(-int(np.prod(shape)) // self.length)

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        zero_peak.subtract_runs(
            frame.image.reshape(-1),
            read_only(frame.use.reshape(-1)),
            self.length,
            (self.threshold, self.max_offset, self.mean),
            key_buffers(self.length, np.dtype(np.float64)),
            (offsets, counts),
        )


@dataclass(frozen=True)
class Correction:
    """What a kernel does, and what comes with the frames."""

    stages: tuple[Stage, ...]
    # what each companion is: "bad_pixels" (non-zero: bad), "use" (non-zero: may take
    # part), "gain_range", or "noise"
    companions: tuple[str, ...] = ()
    gain_ranges: tuple[int, ...] = ()  # the gain ranges that take part


def subtract_common_mode(
    images: Array,
    *companions: Array,
    correction: Correction,
    dtype_name: str = "float32",
) -> Image:
    """Return images without their common mode.

    images: real (..., slow_scan, fast_scan); not modified.
    *companions: real, broadcast against `images`.
    dtype_name: of the result: float32 or float64.
    Returns float (..., slow_scan, fast_scan).
    """
    out = np.array(images, dtype_name, order="C")
    for _, frame in frames(out, companions, correction):
        for stage in correction.stages:
            scratch = np.empty((2, stage.n_groups(images.shape[-2:])))
            stage.correct(frame, *scratch)
    return out


def common_mode_offsets(
    images: Array,
    *companions: Array,
    correction: Correction,
    dtype_name: str = "float32",
) -> Floats:
    """Return what `subtract_common_mode` subtracts from each group.

    Returns float64 (..., 2, group); offsets, NaN where none was subtracted, and numbers
        of pixels in the estimates; the groups of all stages one after the other.
    """
    work = np.array(images, dtype_name, order="C")
    sizes = [stage.n_groups(images.shape[-2:]) for stage in correction.stages]
    ends = np.cumsum([0, *sizes])
    out = np.empty((*images.shape[:-2], 2, ends[-1]))
    for index, frame in frames(work, companions, correction):
        for stage, first, end in zip(
            correction.stages, ends[:-1], ends[1:], strict=True
        ):
            stage.correct(frame, *out[index][:, first:end])
    return out


def frames(
    images: Image, companions: tuple[Array, ...], correction: Correction
) -> Iterator[tuple[tuple[int, ...], Frame]]:
    """Yield (index, segment of one frame), with what belongs to it."""
    given = dict(zip(correction.companions, companions, strict=True))
    noise = given.pop("noise", None)
    use = used_pixels(given, correction.gain_ranges, images.shape[-2:])
    lead = images.shape[:-2]
    for index in np.ndindex(*lead):
        used = np.empty((0, 0), np.uint8) if use is None else one_of(use, index)
        own = None if noise is None else one_of(noise, index)
        if own is not None:
            own = np.broadcast_to(own, images.shape[-2:])
        yield index, Frame(images[index], used, own)


def one_of(companion: Array, index: tuple[int, ...]) -> Array:
    """Return the part of a companion that belongs to one segment of one frame."""
    at = tuple(
        i if n > 1 else 0 for i, n in zip(index, companion.shape[:-2], strict=True)
    )
    return companion[at]


def used_pixels(
    given: dict[str, Array], gain_ranges: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.uint8] | None:
    """Return 1 where a pixel may take part; None where nothing excludes any."""
    parts = []
    if "bad_pixels" in given:
        parts.append(given["bad_pixels"] == 0)
    if "use" in given:
        parts.append(given["use"] != 0)
    if "gain_range" in given:
        parts.append(np.isin(given["gain_range"], gain_ranges))
    if not parts:
        return None
    use = parts[0]
    for part in parts[1:]:
        use = use & part
    # A companion without pixel axes holds for whole frames.
    use = np.broadcast_to(use, (*use.shape[:-2], *shape))
    return np.ascontiguousarray(use).view(np.uint8)


@njit(nogil=True, cache=True)
def without_photons(
    image: Array,
    use: NDArray[np.uint8],
    limits: Array,
    inclusive: bool,
    neighbours: bool,
    reach: float,
) -> NDArray[np.uint8]:
    """Return the used pixels without photons, their neighbours and far values.

    image, limits: float (slow_scan, fast_scan); a pixel above its limit holds a photon,
        with `inclusive` also one that is equal. `neighbours`: those up, down, left and
        right of it are taken out, too. `use` as of `Frame`.
    reach: absolute values above are taken out.
    """
    n_rows, n_columns = image.shape
    out = np.empty(image.shape, np.uint8)
    for r in range(n_rows):
        for c in range(n_columns):
            v = image[r, c]
            # NaN is in reach of nothing.
            out[r, c] = abs(v) <= reach
            if use.size:
                out[r, c] &= use[r, c] != 0
    for r in range(n_rows):
        for c in range(n_columns):
            v = image[r, c]
            if v > limits[r, c] or (inclusive and v == limits[r, c]):
                out[r, c] = 0
                if neighbours:
                    out[max(r - 1, 0), c] = 0
                    out[min(r + 1, n_rows - 1), c] = 0
                    out[r, max(c - 1, 0)] = 0
                    out[r, min(c + 1, n_columns - 1)] = 0
    return out
