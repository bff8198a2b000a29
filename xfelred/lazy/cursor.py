"""Reading through a plan, whole or piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, BrokenFileError
from xfelred.lazy.indexing import Selector, is_whole, subset
from xfelred.lazy.source import IntArray, ReadPlan, Rows

Index = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Entries:
    """The recorded entries of one module, in the order of their places.

    Of every entry: its shot, the row of the dataset, the place on the flattened lead
    axes, and the number of the dataset (`target`). `runs` are the first entries of
    neighbouring rows that go to neighbouring places.
    """

    shot: IntArray
    row: IntArray
    place: IntArray
    target: IntArray
    runs: IntArray


# Of entries: shot, row, place in a region, dataset; and where runs of them begin.
Found = tuple[IntArray, IntArray, IntArray, IntArray, IntArray]


@dataclass(frozen=True)
class Range:
    """A region that is one range of places."""

    start: int
    stop: int

    def entries(self, of: Entries) -> Found:
        lo, hi = np.searchsorted(of.place, (self.start, self.stop)).tolist()
        first, last = np.searchsorted(of.runs, (lo, hi), side="left").tolist()
        begin = of.runs[first:last]
        if lo < hi and (not len(begin) or begin[0] != lo):
            begin = np.concatenate([[lo], begin])
        s = slice(lo, hi)
        return of.shot[s], of.row[s], of.place[s] - self.start, of.target[s], begin - lo


@dataclass(frozen=True)
class Box:
    """A region that is none, such as some pulses of several trains."""

    index: Index
    shape: tuple[int, ...]

    def entries(self, of: Entries) -> Found:
        wanted = np.zeros(1, np.int64)
        for s, n in zip(self.index, self.shape, strict=True):
            wanted = (wanted[:, None] * n + np.arange(s.start, s.stop)).ravel()
        # Places are sorted, and so is what is wanted of them.
        at = np.searchsorted(of.place, wanted)
        inside = np.flatnonzero(at < len(of.place))
        place = inside[of.place[at[inside]] == wanted[inside]]
        kept = at[place]
        row, target = of.row[kept], of.target[kept]
        return (
            of.shot[kept],
            row,
            place,
            target,
            np.flatnonzero(new(row, place, target)),
        )


def new(row: IntArray, place: IntArray, target: IntArray) -> NDArray[np.bool_]:
    """Tell which entries do not follow the one before, in the file and in memory."""
    out = np.ones(len(row), bool)
    out[1:] = (np.diff(row) != 1) | (np.diff(place) != 1) | (np.diff(target) != 0)
    return out


class Cursor:
    """Reads regions of a plan; what does not depend on the region is done once.

    A reduction reads thousands of small pieces. Planning each of them anew takes longer
    than reading it.
    """

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self.shape = plan.shape
        self.lead = plan.lead_shape
        self.shot, self.offset, self.place = plan.entries()
        if (np.diff(self.place) <= 0).any():
            # Searching needs sorted places; patterns may fill slots in any order.
            order = np.argsort(self.place, kind="stable")
            self.shot, self.offset, self.place = (
                a[order] for a in (self.shot, self.offset, self.place)
            )
        self.modules: dict[int, Entries] = {}
        self.buffer: NDArray[Any] = np.empty(0, plan.dtype)

    def entries(self, module: int) -> Entries:
        if module not in self.modules:
            target = self.plan.target[:, module][self.shot]
            here = target >= 0
            shot, place, offset = self.shot, self.place, self.offset
            if not here.all():
                shot, place, offset = shot[here], place[here], offset[here]
                target = target[here]
            row = self.plan.first[:, module][shot] + offset
            runs = np.flatnonzero(new(row, place, target))
            self.modules[module] = Entries(shot, row, place, target, runs)
        return self.modules[module]

    def module(self, module: int) -> NDArray[Any]:
        """Return all of one module; what was found out about it is not kept."""
        index = list(whole(self.shape))
        index[len(self.lead) + self.plan.n_inner] = slice(module, module + 1, 1)
        shape = tuple(s.stop - s.start for s in index)
        out = self.read(tuple(index), np.empty(shape, self.plan.dtype))
        self.modules.pop(module, None)
        return out

    def read(self, index: Index, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return one region, by default in memory that the next call uses again.

        `index` has one slice with step 1 for every axis of the plan. The lead axes of
        `out` follow each other in memory. BrokenFileError names the shots that needed
        a file that cannot be read.
        """
        shape = tuple(s.stop - s.start for s in index)
        if out is None:
            out = self.memory(shape)
        if out.size == 0:
            return out
        n_lead, n_inner = len(self.lead), self.plan.n_inner
        part = self.part(index[:n_lead])
        at = n_lead + n_inner
        inside = (*index[n_lead:at], *index[at + 1 :])
        entry = tuple(
            old if is_whole(new, n) else subset(old, new, n)
            for old, new, n in zip(
                self.plan.entry, inside, self.plan.entry_shape, strict=True
            )
        )
        # Module next to the rows: one strided view per module, without a copy.
        flat = out.reshape((-1, *shape[n_lead:]))
        if not np.may_share_memory(flat, out):
            raise ArgumentError(
                f"an array with strides {out.strides} cannot be read into"
            )
        flat = np.moveaxis(flat, 1 + n_inner, 1)
        for i, module in enumerate(range(index[at].start, index[at].stop)):
            self.read_module(module, part, entry, flat[:, i])
        return out

    def memory(self, shape: tuple[int, ...]) -> NDArray[Any]:
        n = prod(shape)
        if self.buffer.size < n:
            # Fresh memory for every piece would cost its page faults every time.
            self.buffer = np.empty(n, self.plan.dtype)
        return self.buffer[:n].reshape(shape)

    def part(self, index: Index) -> Range | Box:
        """Return how the places of a region of the lead axes are found."""
        span = contiguous(index, self.lead)
        return Box(index, self.lead) if span is None else Range(*span)

    def read_module(
        self,
        module: int,
        part: Range | Box,
        entry: tuple[Selector, ...],
        out: NDArray[Any],
    ) -> None:
        """Read the places of a region of one module; fill what was not recorded."""
        found = self.entries(module)
        shot, row, place, target, begin = part.entries(found)
        if len(place) < len(out):
            empty = np.ones(len(out), bool)
            empty[place] = False
            out[empty] = self.plan.fill_value
        if not len(place):
            return
        count = np.append(begin[1:], len(place)) - begin
        kinds = target[begin]
        # np.unique sorts; mostly all rows of a piece are in one file.
        for which in [kinds[0]] if (kinds == kinds[0]).all() else np.unique(kinds):
            mine = kinds == which
            start = begin[mine]
            rows = Rows(row[start], count[mine], place[start])
            path, dataset = self.plan.targets[which]
            try:
                self.plan.read_rows(path, dataset, rows, entry, out)
            except BrokenFileError as error:
                shots = shot[target == which]
                raise BrokenFileError(
                    f"{error}. Needed for {self.named(shots)} of {dataset}"
                ) from error

    def named(self, shots: IntArray) -> str:
        if self.plan.ids is None:
            return f"shots {shots.min()} to {shots.max()} of this block"
        low, high = self.plan.ids[shots.min()], self.plan.ids[shots.max()]
        return f"train {low}" if low == high else f"trains {low} to {high}"


def whole(shape: tuple[int, ...]) -> Index:
    return tuple(slice(0, n, 1) for n in shape)


def contiguous(index: Index, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the range that a region of the lead axes is when these are flattened.

    None if it is not one range: only one axis may be cut, all before it must have
    length 1 in the region.
    """
    start, n = 0, 1
    cut = False
    for s, size in zip(index, shape, strict=True):
        here = s.stop - s.start
        if cut and here != size:
            return None
        cut = cut or here > 1
        start = start * size + s.start
        n *= here
    return start, start + n


def load(plan: ReadPlan, out: NDArray[Any] | None = None) -> NDArray[Any]:
    if out is None:
        out = np.empty(plan.shape, plan.dtype)
    return Cursor(plan).read(whole(plan.shape), out)
