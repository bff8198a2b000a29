"""Raw numbers of a detector to signal: pedestal, common mode and gain in one go.

``signal = CM(adu - pedestal[range]) * factor[range]``, where the gain range of every
pixel is told by bits of the number, by another array, or by thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, Ints, read_only
from xfelred.kernels.calibration.calibrate_rows import (
    BITS,
    FIXED,
    FULL,
    GIVEN,
    MULTIPLY,
    SINGLE,
    SUBTRACT,
    THRESHOLDS,
    calibrate_rows,
)
from xfelred.kernels.calibration.rule import Rule
from xfelred.kernels.calibration.table import flat_table
from xfelred.kernels.common_mode.segments import Frame, Stage, one_of

TOGETHER = 8  # frames that a common mode takes from one pass to the next
WORD = 0xFFFF  # the largest raw word


@dataclass(frozen=True)
class Calibration:
    """What the kernel does, and what comes with the frames."""

    rule: Rule
    # names: "table" (see `calibration.table`), "entry" (position in the table),
    # "gain_index" (a code for every pixel), "gain_plane" (the voltage that tells the
    # gain stage), "bad_pixels" (non-zero: bad), "noise", and any that begin with
    # "missing" (non-zero: not recorded)
    companions: tuple[str, ...]
    # of the data along `data_gain`: 2 if they hold signal and gain voltage, else 1
    planes: int = 1
    stages: tuple[Stage, ...] = ()  # of the common mode
    bad_value: float = float("nan")  # what bad pixels become
    # what pixels without a gain range are multiplied by; they have no pedestal
    unknown_factor: float = 0.0


@dataclass(frozen=True)
class Tiles:
    """Where the modules of all frames lie in flat memory."""

    # int64 (tile, 5); first element in the result, the data, the gain array and the
    # table, and the gain range if it holds for all of the tile. Sorted by the table.
    places: Ints
    index: tuple[NDArray[np.intp], ...]  # int (tile,); position on the frame axes
    missing: Bools  # bool (tile,)


def calibrate(
    raw: Array, *companions: Array, calibration: Calibration
) -> NDArray[np.float32]:
    """Return the signal of raw frames.

    raw: real (..., [data_gain,] slow_scan, fast_scan), adu; not modified.
    *companions: broadcast against `raw`; as `calibration` names them.
    Returns float32 (..., slow_scan, fast_scan); NaN where a frame is missing, and where
        a number of the data is.
    """
    given = dict(zip(calibration.companions, companions, strict=True))
    if calibration.planes == 2:
        # Companions come with an axis for `data_gain`, which they do not have.
        given = {name: value[..., 0, :, :] for name, value in given.items()}
    lead = raw.shape[: raw.ndim - calibration.planes - 1]
    shape = (raw.shape[-2], raw.shape[-1])
    out = np.empty((*lead, *shape), np.float32)
    if not out.size:
        return out
    strange = no_words(raw, calibration)
    if strange is not None:
        given["bad_pixels"] = strange | (given.get("bad_pixels", np.uint8(0)) != 0)
    numbers = as_numbers(raw, calibration.rule).reshape(-1)
    mode, gain, gain_step = gain_array(numbers, given, calibration, shape)
    table, lines, sizes, steps = flat_table(given["table"], shape)
    tiles = tiles_of(given, lead, shape, calibration.planes, gain_step, steps)
    data = (numbers, gain, read_only(table))
    arguments = (data, (*lines, calibration.rule.n_ranges, *sizes))
    rule = rule_numbers(calibration, mode)
    if not calibration.stages:
        use = np.empty(0, np.uint8)
        here = np.ascontiguousarray(tiles.places[~tiles.missing])
        calibrate_rows(*arguments, here, rule, FULL, out.reshape(-1), use)
    else:
        with_common_mode(arguments, tiles, rule, calibration, given, out)
    for index in zip(*(i[tiles.missing] for i in tiles.index), strict=True):
        out[index] = np.nan
    if "bad_pixels" in given:
        bad = np.broadcast_to(given["bad_pixels"] != 0, out.shape)
        out[bad] = calibration.bad_value
        for name in given:
            if name.startswith("missing"):
                out[np.broadcast_to(given[name] != 0, out.shape)] = np.nan
    if strange is not None:
        out[strange] = np.nan
    return out


def no_words(raw: Array, calibration: Calibration) -> Bools | None:
    """Return which numbers cannot be raw words of 16 bits, None if all can."""
    # Some writers store words in wider integers, in which a code such as -99999 stands
    # for a missing one; what is left of it in 16 bits would look like a signal.
    wide = raw.dtype.kind in "iu" and raw.dtype.itemsize > 2
    if not wide or not calibration.rule.adu_bits:
        return None
    signal = raw[..., 0, :, :] if calibration.planes == 2 else raw
    out: Bools = (signal < 0) | (signal > WORD)
    return out if out.any() else None


def with_common_mode(
    arguments: tuple[Any, ...],
    tiles: Tiles,
    rule: tuple[Any, ...],
    calibration: Calibration,
    given: dict[str, Array],
    out: NDArray[np.float32],
) -> None:
    """Fill in the signal, less the common mode of every module of every frame."""
    shape = out.shape[-2:]
    size = shape[0] * shape[1]
    flat = out.reshape(-1)
    use = np.empty((TOGETHER, *shape), np.uint8)
    sizes = [stage.n_groups(shape) for stage in calibration.stages]
    here = np.flatnonzero(~tiles.missing)
    for start in range(0, len(here), TOGETHER):
        some = here[start : start + TOGETHER]
        places = np.ascontiguousarray(tiles.places[some])
        calibrate_rows(*arguments, places, rule, SUBTRACT, flat, use.reshape(-1))
        for i, tile in enumerate(some.tolist()):
            index = tuple(int(axis[tile]) for axis in tiles.index)
            image = flat[places[i, 0] : places[i, 0] + size].reshape(shape)
            good = use[i]
            if "bad_pixels" in given:
                good = good & (one_of(given["bad_pixels"], index) == 0)
            noise = given.get("noise")
            if noise is not None:
                noise = np.broadcast_to(one_of(noise, index), shape)
            frame = Frame(image, good, noise)
            for stage, n in zip(calibration.stages, sizes, strict=True):
                stage.correct(frame, *np.empty((2, n)))
        calibrate_rows(*arguments, places, rule, MULTIPLY, flat, use.reshape(-1))


def as_numbers(raw: Array, rule: Rule) -> Array:
    """Return the data in a dtype that the kernel is compiled for, without loss."""
    wanted: type[np.generic]
    if raw.dtype.kind == "f":
        wanted = np.float32 if raw.dtype.itemsize <= 4 else np.float64
    elif rule.adu_bits or (raw.dtype.itemsize == 2 and raw.dtype.kind == "u"):
        wanted = np.uint16
    else:
        wanted = np.float32 if raw.dtype.itemsize <= 2 else np.float64
    return read_only(np.ascontiguousarray(raw, np.dtype(wanted)))


def gain_array(
    numbers: Array,
    given: dict[str, Array],
    calibration: Calibration,
    shape: tuple[int, ...],
) -> tuple[int, Array, Ints | None]:
    """Return how the range is told, the array that tells it, and where its tiles are.

    The last is the first element for each tile of the companion, shaped as its frame
    axes; None where it is found in the data themselves.
    """
    if "gain_index" in given:
        index = np.ascontiguousarray(given["gain_index"], np.uint8)
        if index.shape[-2:] == (1, 1) != shape:
            return FIXED, read_only(index.reshape(-1)), starts(index)
        index = np.broadcast_to(index, (*index.shape[:-2], *shape))
        return GIVEN, read_only(index.reshape(-1)), starts(index)
    if "gain_plane" in given:
        plane = as_numbers(given["gain_plane"], calibration.rule).astype(
            numbers.dtype, copy=False
        )
        plane = np.broadcast_to(plane, (*plane.shape[:-2], *shape))
        return THRESHOLDS, read_only(plane.reshape(-1)), starts(plane)
    if calibration.planes == 2:
        return THRESHOLDS, numbers, None
    return (BITS if calibration.rule.n_ranges > 1 else SINGLE), numbers, None


def starts(companion: Array) -> Ints:
    """Return the first element of every tile of a companion in flat memory."""
    lead = companion.shape[:-2]
    size = companion.shape[-2] * companion.shape[-1]
    n = int(np.prod(lead))
    return (np.arange(n, dtype=np.int64) * size).reshape(lead)


def tiles_of(
    given: dict[str, Array],
    lead: tuple[int, ...],
    shape: tuple[int, ...],
    planes: int,
    gain_step: Ints | None,
    steps: tuple[int, int],
) -> Tiles:
    size = shape[0] * shape[1]
    n = int(np.prod(lead))
    number = np.arange(n, dtype=np.int64)
    places = np.zeros((n, 5), np.int64)
    places[:, 0] = number * size
    places[:, 1] = number * size * planes
    # The second plane of the data holds the voltages.
    places[:, 2] = places[:, 1] + (size if planes == 2 else 0)
    if gain_step is not None:
        places[:, 2] = np.broadcast_to(gain_step, lead).ravel()
    per_record, per_entry = steps
    table = given["table"]
    record = np.zeros(table.shape[:-2], np.int64)
    if per_record:
        record = np.arange(record.size, dtype=np.int64).reshape(record.shape)
    first = np.broadcast_to(record * per_record, lead).ravel()
    entry = given.get("entry")
    if entry is not None:
        first = first + np.broadcast_to(entry[..., 0, 0], lead).ravel() * per_entry
    places[:, 3] = first
    missing = np.zeros(n, bool)
    for name in given:
        if name.startswith("missing"):
            missing |= np.broadcast_to(given[name][..., 0, 0] != 0, lead).ravel()
    # Frames with the same constants follow each other, so that these are read once.
    order = np.argsort(first, kind="stable")
    index = tuple(i[order] for i in np.unravel_index(number, lead)) if lead else ()
    return Tiles(places[order], index, missing[order])


def rule_numbers(
    calibration: Calibration, mode: int
) -> tuple[tuple[int, int, int, int], NDArray[np.int32], tuple[float, float]]:
    """Return a rule as the compiled function takes it."""
    rule = calibration.rule
    codes = np.full(256, -1, np.int32)  # of a byte: no code needs a test of its range
    for gain_range, code in enumerate(rule.codes):
        codes[code] = gain_range
    return (
        (mode, rule.adu_bits, rule.shift, rule.code_bits),
        codes,
        (calibration.bad_value, calibration.unknown_factor),
    )
