"""Sums of blocks of shots on disk, and how they are put together.

The state of some consecutive blocks is a directory ``<first>-<last>`` with plain arrays
for every detector, one row for each bin that occurs: ``bins``, ``frames`` (their
number), ``sum``, ``squares`` (sums of squared deviations from the mean) and, only where
pixels are NaN and left out, ``count``; and ``checksums.json`` with the checksums of all
these, which are compared whenever a state is loaded. States without it, as older
versions wrote them, are refused. A directory appears complete, by a rename.
States are put together bin by bin, in the order of the blocks, one row at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import MissingFileError, listing
from xfelred.products.atomic import flush_to_disk, remove
from xfelred.products.resumable import (
    SCHEMA_VERSION,
    checksum_of,
    damaged,
    read_record,
    write_record,
)

Array = NDArray[Any]
NAME = re.compile(r"(\d{6,})-(\d{6,})")
CHECKSUMS = "checksums.json"
PARTS = ("bins", "frames", "sum", "squares", "count")


@dataclass(frozen=True)
class BinSums:
    """Sums of the frames in every bin that occurs, one row each."""

    bins: Array  # int64 (n,), rising
    frames: Array  # int64 (n,): how many are in each bin
    # float64 or int64 (n, ...); NaN where one is in any frame, unless `count` tells.
    sum: Array | RowsOnDisk
    # float64 (n, ...), of deviations from the mean.
    squares: Array | RowsOnDisk | None = None
    # int64 (n, ...); None: `frames` of each element.
    count: Array | RowsOnDisk | None = None

    def row(self, at: int) -> OneBin:
        n = self.frames[at] if self.count is None else self.count[at]
        squares = None if self.squares is None else np.asarray(self.squares[at])
        return OneBin(np.asarray(n), np.asarray(self.sum[at]), squares)


@dataclass(frozen=True)
class OneBin:
    """Sums of one bin; `n` is one number, or one for every element."""

    n: Array
    sum: Array
    squares: Array | None

    def plus(self, other: OneBin) -> OneBin:
        # The formula of Chan, Golub and LeVeque (1983): nothing large is subtracted.
        n = self.n + other.n
        total = self.sum + other.sum
        if self.squares is None or other.squares is None:
            return OneBin(n, total, None)
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = self.sum / self.n - other.sum / other.n
            between = apart * apart * (self.n * other.n / n)
        if self.n.ndim or other.n.ndim:
            # An element without a value in one of them is as far as the other.
            between = np.where((self.n == 0) | (other.n == 0), 0.0, between)
        return OneBin(n, total, self.squares + other.squares + between)


# By detector; None: nothing to add.
States = Mapping[str, BinSums | None]


def save(states: States, place: Path, blocks: range) -> Path:
    path = path_of(place, blocks)
    new = new_directory(path)
    for i, state in enumerate(states.values()):
        for part in PARTS:
            values = getattr(state, part, None)
            if values is not None:
                write_array(new / f"{i}.{part}.npy", np.asarray(values))
    return published(new, path)


def load(path: Path, names: Sequence[str]) -> dict[str, BinSums]:
    """Return sums on disk by detector, checked; rows are read when they are used."""
    files = checked_files(path)
    out = {}
    for i, name in enumerate(names):
        parts: dict[str, Any] = {
            part: read_array(path / f"{i}.{part}.npy")
            for part in PARTS
            if f"{i}.{part}.npy" in files
        }
        if parts:
            out[name] = sums_of_parts(path, parts)
    return out


def sums_of_parts(path: Path, parts: dict[str, Any]) -> BinSums:
    if not {"bins", "frames", "sum"} <= parts.keys():
        raise damaged(path, f"it has only {listing(parts)} of a detector")
    n = parts["bins"].shape
    if len(n) != 1 or any(values.shape[:1] != n for values in parts.values()):
        shapes = listing(f"{k} {v.shape}" for k, v in parts.items())
        raise damaged(path, f"arrays of shapes {shapes}")
    return BinSums(**parts)


def checked_files(path: Path) -> set[str]:
    """Return the files of a state; InconsistentDataError if one has changed."""
    if path.is_symlink() or not path.is_dir():
        raise damaged(path, "it is no directory")
    try:
        content = read_record(path / CHECKSUMS, "list of checksums")
    except MissingFileError:
        raise damaged(
            path,
            f"it has no {CHECKSUMS}: it is not whole, or an older xfelred's",
        ) from None
    blocks = blocks_of(path)
    try:
        files = {str(k): str(v) for k, v in content["files"].items()}
        own = content["blocks"] == [blocks[0], blocks[-1]]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise damaged(path / CHECKSUMS, repr(error)) from error
    if not own:
        raise damaged(path, "these are the sums of other blocks")
    for name, checksum in files.items():
        if os.path.basename(name) != name or checksum != checksum_of(path / name):
            raise damaged(path / name, "its checksum is wrong")
    return set(files)


@dataclass(frozen=True)
class RowsOnDisk:
    """RowsOnDisk of an array on disk, each read when it is asked for."""

    # A memory map would leave all of them in the memory of the process.
    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    def __getitem__(self, at: int) -> Array:
        n = prod(self.shape[1:])
        offset = self.start + at * n * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, n, offset=offset)
        if found.size != n:
            raise damaged(self.path, f"row {at} is cut off")
        return found.reshape(self.shape[1:])


def read_array(path: Path) -> Array | RowsOnDisk:
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            rows = RowsOnDisk(path, kind, shape, file.tell())
        expected = rows.start + prod(shape) * kind.itemsize
        if path.stat().st_size != expected:
            raise damaged(path, f"{path.stat().st_size} bytes, not {expected}")
        if kind.kind not in "iuf":  # objects are pickles, which run code
            raise damaged(path, f"values of {kind}")
        # Numbers of bins and frames are small, and searched: these are in memory.
        return np.load(path, allow_pickle=False) if len(shape) == 1 else rows
    except (ValueError, TypeError, SyntaxError, RecursionError) as error:
        raise damaged(path, repr(error)) from error


def merge(place: Path, names: Sequence[str], blocks: range) -> Path:
    """Put the states of blocks together in their order; return where they are now."""
    path = path_of(place, blocks)
    parts = [p for p in saved(place) if blocks_of(p)[0] in blocks]
    if parts == [path]:
        return path
    new = new_directory(path)
    loaded = [load(p, names) for p in parts]
    for i, name in enumerate(names):
        states = [s[name] for s in loaded if name in s]
        if states:
            merge_detector(states, new, i)
    published(new, path)
    remove_old(place)
    return path


def merge_detector(states: Sequence[BinSums], new: Path, number: int) -> None:
    bins = np.unique(np.concatenate([s.bins for s in states]))
    shape = (len(bins), *states[0].sum.shape[1:])
    frames = np.zeros(len(bins), np.int64)
    kinds = {"sum": states[0].sum.dtype}
    if states[0].squares is not None:
        kinds["squares"] = np.dtype(np.float64)
    if any(s.count is not None for s in states):
        kinds["count"] = np.dtype(np.int64)
    with ExitStack() as stack:
        # Not by a memory map: on a full disk that would kill the process.
        out = {
            part: stack.enter_context((new / f"{number}.{part}.npy").open("wb"))
            for part in kinds
        }
        for part, kind in kinds.items():
            write_header(out[part], kind, shape)
        for i, one in enumerate(bins.tolist()):
            total, frames[i] = sums_of_bin(states, one)
            for part, kind in kinds.items():
                values = total.n if part == "count" else getattr(total, part)
                write_values(out[part], np.broadcast_to(values, shape[1:]), kind)
    write_array(new / f"{number}.bins.npy", bins)
    write_array(new / f"{number}.frames.npy", frames)


def sums_of_bin(states: Sequence[BinSums], one: int) -> tuple[OneBin, int]:
    """Return the sums of one bin over all states in their order, and its frames."""
    rows: list[OneBin] = []
    frames = 0
    for state in states:
        at = int(np.searchsorted(state.bins, one))
        if at < len(state.bins) and state.bins[at] == one:
            rows.append(state.row(at))
            frames += int(state.frames[at])
    return reduce(OneBin.plus, rows), frames


def path_of(place: Path, blocks: range) -> Path:
    return place / f"{blocks[0]:06d}-{blocks[-1]:06d}"


def blocks_of(path: Path) -> range:
    first, last = path.name.split("-")
    return range(int(first), int(last) + 1)


def saved(place: Path) -> list[Path]:
    """Return the directories of all states, in the order of their blocks."""
    found = [p for p in place.iterdir() if NAME.fullmatch(p.name) and blocks_of(p)]
    return sorted(found, key=lambda p: blocks_of(p)[0])


def remove_old(place: Path) -> None:
    """Delete states that are part of another one, and unfinished ones."""
    whole: list[range] = []
    by_size = sorted(saved(place), key=lambda p: -len(blocks_of(p)))
    for path in by_size:
        blocks = blocks_of(path)
        if any(blocks[0] in r and blocks[-1] in r for r in whole):
            remove(path)
        else:
            whole.append(blocks)
    for path in place.glob("*.unfinished"):
        remove(path)


def size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in path.iterdir())


def new_directory(path: Path) -> Path:
    new = path.with_name(f"{path.name}.unfinished")
    remove(new)  # a killed process may have left it
    new.mkdir()
    return new


def published(new: Path, path: Path) -> Path:
    blocks = blocks_of(path)
    files = {p.name: checksum_of(p) for p in sorted(new.iterdir())}
    content = {
        "schema_version": SCHEMA_VERSION,
        "blocks": [blocks[0], blocks[-1]],
        "files": files,
    }
    write_record(new / CHECKSUMS, content)
    # A rename may reach the disk before the content: after a crash the name would lie.
    for file in (*new.iterdir(), new):
        flush_to_disk(file)
    remove(path)
    new.rename(path)
    flush_to_disk(path.parent)
    return path


def write_array(path: Path, values: Array) -> None:
    with path.open("wb") as file:
        write_header(file, values.dtype, values.shape)
        write_values(file, values, values.dtype)


def write_header(file: BinaryIO, kind: np.dtype[Any], shape: Sequence[int]) -> None:
    header = {"descr": kind.str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)


def write_values(file: BinaryIO, values: Array, kind: np.dtype[Any]) -> None:
    if values.size:
        # numpy's own way does not notice every full disk.
        file.write(np.ascontiguousarray(values, kind).reshape(-1).view(np.uint8).data)
