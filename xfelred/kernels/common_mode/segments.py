"""Common mode: offsets that groups of pixels share in one frame, and their removal.

A correction is a tuple of stages, each acting on the result of the last:
`Groups`, `WithoutPhotons`, `Offset`, `ZeroPeak`, `Unbonded`, `Runs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.common_mode import photon_exclusion, zero_peak
from xfelred.kernels.common_mode.group_offsets import subtract_groups
from xfelred.kernels.common_mode.median import median

Image = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


@dataclass
class Frame:
    """One segment of one frame while it is corrected."""

    image: Image  # float (slow_scan, fast_scan); changed by the stages
    # uint8 (slow_scan, fast_scan), or (0, 0); non-zero where a pixel may take part; (0,
    # 0): everywhere
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
    """Medians or means of a grid of groups; see `group_offsets.subtract_groups`."""

    name: str  # of the kind of group
    shape: tuple[int, int, int]  # (height, width, stride)
    least: int = 1  # fewest pixels in an estimate
    # limit, low, high: of the offset, inclusive; of the values that take part
    limit: float = np.finfo(np.float64).max
    low: float = -np.inf
    high: float = np.inf
    mean: bool = False
    only_used: bool = False

    def n_groups(self, shape: tuple[int, int]) -> int:
        """Return the number of groups in a segment."""
        return int(np.prod(shape)) // (self.shape[0] * self.shape[1])

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Subtract the offset of each group."""
        subtract_groups(
            frame.image, frame.use, self.shape, least=self.least, limit=self.limit,
            low=self.low, high=self.high, mean=self.mean, only_used=self.only_used,
            offsets=offsets, counts=counts,
        )  # fmt: skip


@dataclass(frozen=True)
class WithoutPhotons:
    """Takes pixels with signal out of all later estimates; corrects nothing itself."""

    # a pixel from here on, in units of the noise if `per_noise`, holds a photon; else
    # one above
    threshold: float
    per_noise: bool = False
    neighbours: bool = False  # take out the 4 neighbours of photons as well
    reach: float = np.inf  # take out absolute values above
    name: str = "without_photons"

    def n_groups(self, shape: tuple[int, int]) -> int:
        """Return 0: there is no offset."""
        return 0

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Change which pixels take part."""
        if self.per_noise and frame.noise is not None:
            limits = (self.threshold * frame.noise).astype(frame.image.dtype)
        else:
            one = np.full((1, 1), self.threshold, frame.image.dtype)
            limits = np.broadcast_to(one, frame.image.shape)
        frame.use = photon_exclusion.without_photons(
            frame.image, frame.use, limits, self.per_noise, self.neighbours, self.reach
        )


@dataclass(frozen=True)
class Offset:
    """Median of one rectangle, subtracted from the whole segment."""

    name: str
    rows: tuple[int, int]  # rows and columns: (first, end)
    columns: tuple[int, int]
    apply: bool = True  # false: the offset is only noted

    def n_groups(self, shape: tuple[int, int]) -> int:
        """Return 1."""
        return 1

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Subtract the median of the rectangle."""
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
        """Return 1."""
        return 1

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Subtract the position of the peak from every pixel."""
        threshold = self.threshold if self.threshold > 0 else 100
        offset, sigma, n = zero_peak.peak_of(frame.image, frame.use, threshold)
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
        """Return 1."""
        return 1

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Subtract the mean from every pixel."""
        # The pixel in the corner has no bond either, but does not take part.
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
class Runs:
    """Offsets of consecutive pixels, in the order of memory; see `zero_peak.runs`."""

    length: int  # pixels in a run; the last may be shorter
    threshold: float  # only values below take part
    max_offset: float  # largest absolute offset, inclusive
    mean: bool  # mean; else the lower median of the values without their fractions
    name: str = "run"

    def n_groups(self, shape: tuple[int, int]) -> int:
        """Return the number of runs."""
        return -(-int(np.prod(shape)) // self.length)

    def correct(self, frame: Frame, offsets: Floats, counts: Floats) -> None:
        """Subtract the offset of each run from all its pixels."""
        zero_peak.subtract_runs(
            frame.image.reshape(-1), frame.use.reshape(-1), self.length,
            self.threshold, self.max_offset, self.mean, offsets, counts,
        )  # fmt: skip


@dataclass(frozen=True)
class Correction:
    """What a kernel does, and what comes with the frames."""

    stages: tuple[Stage, ...]
    # what each companion is: "bad_pixels" (non-zero: bad), "use" (non-zero: may take
    # part), "gain_range", or "noise"
    companions: tuple[str, ...] = ()
    gain_ranges: tuple[int, ...] = ()  # the gain ranges that take part


def subtract_common_mode(
    images: NDArray[Any],
    *companions: NDArray[Any],
    correction: Correction,
    dtype_name: str = "float32",
) -> Image:
    """Return images without their common mode.

    Parameters
    ----------
    images : real (..., slow_scan, fast_scan)
        Not modified.
    *companions : real, broadcast against `images`
    dtype_name : str
        Of the result: float32 or float64.

    Returns
    -------
    float (..., slow_scan, fast_scan)
    """
    out = np.array(images, dtype_name, order="C")
    for _, frame in frames(out, companions, correction):
        for stage in correction.stages:
            scratch = np.empty((2, stage.n_groups(images.shape[-2:])))
            stage.correct(frame, *scratch)
    return out


def common_mode_offsets(
    images: NDArray[Any],
    *companions: NDArray[Any],
    correction: Correction,
    dtype_name: str = "float32",
) -> Floats:
    """Return what `subtract_common_mode` subtracts from each group.

    Returns
    -------
    float64 (..., 2, group)
        Offsets, NaN where none was subtracted, and numbers of pixels in the estimates;
        the groups of all stages one after the other.
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
    images: Image, companions: tuple[NDArray[Any], ...], correction: Correction
) -> Iterator[tuple[tuple[int, ...], Frame]]:
    """Yield (index, segment of one frame), with what belongs to it."""
    given = dict(zip(correction.companions, companions, strict=True))
    noise = given.pop("noise", None)
    use = used_pixels(given, correction.gain_ranges, images.shape[-2:])
    lead = images.shape[:-2]
    for index in np.ndindex(*lead):
        yield (
            index,
            Frame(
                images[index],
                np.empty((0, 0), np.uint8) if use is None else one_of(use, index),
                None if noise is None else np.broadcast_to(
                    one_of(noise, index), images.shape[-2:]
                ),
            ),
        )  # fmt: skip


def one_of(companion: NDArray[Any], index: tuple[int, ...]) -> NDArray[Any]:
    """Return the part of a companion that belongs to one segment of one frame."""
    at = tuple(
        i if n > 1 else 0 for i, n in zip(index, companion.shape[:-2], strict=True)
    )
    return companion[at]


def used_pixels(
    given: dict[str, NDArray[Any]],
    gain_ranges: tuple[int, ...],
    shape: tuple[int, ...],
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
