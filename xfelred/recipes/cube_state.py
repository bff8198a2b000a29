"""Sums of blocks of shots on disk, and how they are put together.

The state of some consecutive blocks is a directory ``<first>-<last>`` with plain arrays
for every detector, one row for each bin that occurs: ``bins``, ``frames`` (their
number), ``sum``, ``squares`` (sums of squared deviations from the mean) and, only where
pixels are NaN and left out, ``count``; and ``checksums.json`` with the checksums of all
these, which are compared whenever a state is loaded. States without it, as older
versions wrote them, are refused. A directory appears complete, by a rename.
States are put together bin by bin, in the order of the blocks, one row at a time, by
whatever computes: sums that are put together in another order have other bits, but
bins do not know of each other.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import MissingFileError, listing
from xfelred.lazy.in_flight import each
from xfelred.products.atomic import flush_to_disk, remove
from xfelred.products.extent import Extent
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
MERGED_BYTES = 64 << 20  # of sums that one task puts together


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


@dataclass(frozen=True)
class Draft:
    """A state that is written, by this process or others, and then gets its name.

    Files are made here; others find them, or that the state is published already: a
    task runs again where its worker died before it could say that it was done.
    """

    new: Path
    path: Path

    @classmethod
    def of(cls, place: Path, blocks: range) -> Draft:
        path = path_of(place, blocks)
        # A name of its own: what an earlier call has left running cannot disturb.
        new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
        new.mkdir()
        return cls(new, path)

    def rows(
        self, number: int, part: str, kind: np.dtype[Any], shape: tuple[int, ...]
    ) -> Extent:
        """Return where the values of a part of a detector are to be written."""
        file = self.new / f"{number}.{part}.npy"
        with file.open("wb") as header:
            info = {"descr": kind.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, info)
            return Extent(file, header.tell(), shape, kind)

    def write(self, number: int, part: str, values: Array) -> None:
        rows = self.rows(number, part, values.dtype, values.shape)
        rows[tuple(slice(0, n) for n in values.shape)] = values

    def is_published(self) -> bool:
        return not self.new.exists() and self.path.exists()

    def publish(self, without: Collection[str] = ()) -> Path:
        """Give a state its name; files that it is `without` after all are dropped."""
        if self.is_published():
            return self.path
        blocks = blocks_of(self.path)
        parts = sorted(p.name for p in self.new.glob("*.npy"))
        files = {n: checksum_of(self.new / n) for n in parts if n not in without}
        content = {
            "schema_version": SCHEMA_VERSION,
            "blocks": [blocks[0], blocks[-1]],
            "files": files,
        }
        write_record(self.new / CHECKSUMS, content)
        # A rename may reach the disk before the content: after a crash the name would
        # lie.
        for file in (*(self.new / n for n in files), self.new):
            flush_to_disk(file)
        remove(self.path)
        self.new.rename(self.path)
        flush_to_disk(self.path.parent)
        for name in without:
            remove(self.path / name)
        return self.path


def save(states: States, place: Path, blocks: range) -> Path:
    draft = Draft.of(place, blocks)
    for i, state in enumerate(states.values()):
        for part in PARTS:
            values = getattr(state, part, None)
            if values is not None:
                draft.write(i, part, np.asarray(values))
    return draft.publish()


def load(path: Path, names: Sequence[str]) -> dict[str, BinSums]:
    """Return sums on disk by detector, checked; rows are read when they are used."""
    files = checked_files(path)
    found = {n: state_of(path, i, files) for i, n in enumerate(names)}
    return {n: state for n, state in found.items() if state is not None}


def state_of(path: Path, number: int, files: Collection[str]) -> BinSums | None:
    """Return the sums of one detector, of the files that belong to a state."""
    parts: dict[str, Any] = {
        part: read_array(path / name)
        for part in PARTS
        if (name := f"{number}.{part}.npy") in files
    }
    return sums_of_parts(path, parts) if parts else None


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
    parts = saved(place, blocks)
    if parts == [path]:
        return path
    files = each(checked_files, parts)
    draft = Draft.of(place, blocks)
    rows = [
        some
        for number in range(len(names))
        for some in merged_detector(list(zip(parts, files, strict=True)), number, draft)
    ]
    each(write_rows, rows)
    each(Draft.publish, [draft])
    for part in parts:
        remove(part)
    return path


Part = tuple[Path, Collection[str]]  # of a job: a state and its files


@dataclass(frozen=True)
class Rows:
    """Some bins of a detector, to be put together."""

    states: Sequence[Part]
    number: int
    bins: Array
    first: int  # row of the first of these bins
    out: Mapping[str, Extent]


def merged_detector(parts: Sequence[Part], number: int, draft: Draft) -> Iterator[Rows]:
    """Make the files of a detector; yield the sums that have to be written there."""
    found = [(part, state_of(part[0], number, part[1])) for part in parts]
    states = [state for _, state in found if state is not None]
    if not states:
        return
    bins = np.unique(np.concatenate([s.bins for s in states]))
    frames = np.zeros(len(bins), np.int64)
    for state in states:
        frames[np.searchsorted(bins, state.bins)] += state.frames
    draft.write(number, "bins", bins)
    draft.write(number, "frames", frames)
    shape = (len(bins), *states[0].sum.shape[1:])
    kinds = {"sum": states[0].sum.dtype}
    if states[0].squares is not None:
        kinds["squares"] = np.dtype(np.float64)
    if any(s.count is not None for s in states):
        kinds["count"] = np.dtype(np.int64)
    out = {part: draft.rows(number, part, kind, shape) for part, kind in kinds.items()}
    mine = [part for part, state in found if state is not None]
    n = max(1, MERGED_BYTES // max(1, 8 * prod(shape[1:])))
    for i in range(0, len(bins), n):
        yield Rows(mine, number, bins[i : i + n], i, out)


def write_rows(rows: Rows) -> None:
    """Put some bins together, one after the other."""
    parts = (state_of(path, rows.number, files) for path, files in rows.states)
    states = [state for state in parts if state is not None]
    where = slice(rows.first, rows.first + len(rows.bins))
    shape = next(iter(rows.out.values())).shape[1:]
    made = {k: np.empty((len(rows.bins), *shape), e.dtype) for k, e in rows.out.items()}
    for i, one in enumerate(rows.bins.tolist()):
        total = sums_of_bin(states, one)
        for part, values in made.items():
            values[i] = total.n if part == "count" else getattr(total, part)
    for part, values in made.items():
        rows.out[part][(where, *(slice(0, n) for n in shape))] = values


def sums_of_bin(states: Sequence[BinSums], one: int) -> OneBin:
    """Return the sums of one bin over all states in their order."""
    rows: list[OneBin] = []
    for state in states:
        at = int(np.searchsorted(state.bins, one))
        if at < len(state.bins) and state.bins[at] == one:
            rows.append(state.row(at))
    return reduce(OneBin.plus, rows)


def path_of(place: Path, blocks: range) -> Path:
    return place / f"{blocks[0]:06d}-{blocks[-1]:06d}"


def blocks_of(path: Path) -> range:
    first, last = path.name.split("-")
    return range(int(first), int(last) + 1)


def saved(place: Path, within: range = range(sys.maxsize)) -> list[Path]:
    """Return the directories of the states of some blocks, in the order of these."""
    found = [p for p in place.iterdir() if NAME.fullmatch(p.name) and blocks_of(p)]
    return sorted(
        (p for p in found if blocks_of(p)[0] in within), key=lambda p: blocks_of(p)[0]
    )


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
