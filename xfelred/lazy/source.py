"""Read plans: which rows of which dataset fill which place of an array.

A `ReadPlan` describes a whole run in a few integer arrays, so that it stays small
and can be cut to any block, module or pixel window before anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.runs import Runs, from_runs, to_runs
from xfelred.lazy.indexing import Selector, is_whole, length, subset

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Rows:
    """Runs of rows of one dataset and where they go: all arrays have one length."""

    start: IntArray
    count: IntArray
    place: IntArray


class RowReader(Protocol):
    """What a file format must provide: fill `out[place]` from rows of a dataset."""

    def __call__(
        self,
        path: str,
        dataset: str,
        rows: Rows,
        entry: tuple[Selector, ...],
        out: NDArray[Any],
    ) -> None:
        """Fill `out`."""


@dataclass(frozen=True, eq=False)
class Patterns:
    """Which entries of a shot go to which slot, for every distinct kind of shot.

    Pattern ``p`` takes the entries ``offset[ptr[p]:ptr[p + 1]]`` of its shot and puts
    them into the slots ``slot[ptr[p]:ptr[p + 1]]``.
    """

    ptr: IntArray
    offset: IntArray
    slot: IntArray

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle regular numbers as few."""
        values = (self.ptr, self.offset, self.slot)
        return unpacked, (Patterns, tuple(packed(v) for v in values))

    def sizes(self) -> IntArray:
        return np.diff(self.ptr)

    def expand(self, pattern: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Return (position in `pattern`, offset, slot) for every entry of the shots."""
        if len(self.ptr) == 2:  # one pattern for all shots, the usual case
            n_shots, n_each = len(pattern), int(self.ptr[1] - self.ptr[0])
            one = slice(int(self.ptr[0]), int(self.ptr[1]))
            every = np.repeat(np.arange(n_shots), n_each)
            offset, slot = (np.tile(v[one], n_shots) for v in (self.offset, self.slot))
            return every, offset, slot
        n = self.sizes()[pattern]
        shot = np.repeat(np.arange(len(pattern)), n)
        inside = np.arange(len(shot)) - np.repeat(np.cumsum(n) - n, n)
        at = self.ptr[pattern][shot] + inside
        return shot, self.offset[at], self.slot[at]

    def used_by(self, pattern: IntArray) -> tuple[IntArray, Patterns]:
        """Return (renumbered pattern, only the patterns that occur in it)."""
        # One pattern for all shots is the usual case, and costs nothing here.
        if len(self.ptr) == 2:
            return pattern, self
        here = np.zeros(len(self.ptr) - 1, bool)
        here[pattern] = True
        if here.all():
            return pattern, self
        kept = np.flatnonzero(here)
        renumbered = (np.cumsum(here) - 1)[pattern]
        _, offset, slot = self.expand(kept)
        ptr = np.concatenate([[0], np.cumsum(self.sizes()[kept])])
        return renumbered, Patterns(ptr, offset, slot)

    def where(self, keep: NDArray[np.bool_], slot: IntArray) -> Patterns:
        """Return the patterns with only the entries `keep`, in renumbered slots."""
        ptr = np.concatenate([[0], np.cumsum(keep)])[self.ptr]
        return Patterns(ptr, self.offset[keep], slot)


def one_each(n_slots: int) -> Patterns:
    """Return the single pattern in which entry i goes to slot i."""
    i = np.arange(n_slots)
    return Patterns(np.array([0, n_slots]), i, i)


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """Where every element of an array lies in files; frozen, picklable, compact.

    The array has the axes ``(shot, *slot_shape, *inner, module, *pixels)`` or, if
    `flat`, ``(entry of any shot, *inner, module, *pixels)``. ``inner`` are the first
    `n_inner` axes inside a row of the dataset; they stand before the module axis.

    `targets` are (path, name) of every dataset; `target` and `first`, int (shot,
    module), that of each shot and module (-1: no data) and the first row there;
    `pattern` (shot,) the row of `patterns` that each shot follows; `entry` what is
    taken from each axis of a row. What was not recorded becomes `fill_value`. `token`
    is the identity of the files and of every selection so far; `ids` (shot,) are train
    IDs or the like, for messages. `chunk` are the rows, and elements along the axes of
    `entry`, that a file stores in one piece; less cannot be read for less. Empty: no
    pieces.
    """

    read_rows: RowReader
    targets: tuple[tuple[str, str], ...]
    target: IntArray
    first: IntArray
    pattern: IntArray
    patterns: Patterns
    slot_shape: tuple[int, ...]
    entry: tuple[Selector, ...]
    entry_shape: tuple[int, ...]
    n_inner: int
    dtype: np.dtype[Any]
    fill_value: Any
    flat: bool
    token: str
    ids: IntArray | None = None
    chunk: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle regular numbers as few: a task may cover a million trains."""
        values = (getattr(self, f.name) for f in fields(self))
        return unpacked, (ReadPlan, tuple(packed(v) for v in values))

    @property
    def shape(self) -> tuple[int, ...]:
        inner, pixels = (
            self.entry_shape[: self.n_inner],
            self.entry_shape[self.n_inner :],
        )
        return (*self.lead_shape, *inner, self.target.shape[1], *pixels)

    @property
    def lead_shape(self) -> tuple[int, ...]:
        """Shape of the axes that rows of the datasets are spread over."""
        if self.flat:
            return (int(self.ends[-1]) if len(self.ends) else 0,)
        return (len(self.pattern), *self.slot_shape)

    @cached_property
    def ends(self) -> IntArray:
        """How many entries all shots up to each one have; every task is cut by it."""
        return np.cumsum(self.patterns.sizes()[self.pattern])

    def narrow(self, index: tuple[Selector, ...], *, token: str = "") -> ReadPlan:
        """Return the plan of ``array[index]``: a slice or sorted int array an axis."""
        n_lead, n_in = len(self.lead_shape), self.n_inner
        inner, module = index[n_lead : n_lead + n_in], index[n_lead + n_in]
        plan = self.narrow_lead(index[:n_lead])
        entry_index = (*inner, *index[n_lead + n_in + 1 :])
        return replace(
            plan,
            target=plan.target[:, module],
            first=plan.first[:, module],
            entry=tuple(
                subset(old, new, n)
                for old, new, n in zip(
                    self.entry, entry_index, self.entry_shape, strict=True
                )
            ),
            entry_shape=tuple(
                length(new, n)
                for new, n in zip(entry_index, self.entry_shape, strict=True)
            ),
            token=token,
        )

    def narrow_lead(self, index: tuple[Selector, ...]) -> ReadPlan:
        """Return the plan of the selected shots and slots (flat: of the entries)."""
        if self.flat:
            return self.narrow_flat(index[0])
        shots, slots = index[0], index[1:]
        pattern, patterns = self.patterns.used_by(self.pattern[shots])
        slot_shape = self.slot_shape
        if not all(is_whole(s, n) for s, n in zip(slots, slot_shape, strict=True)):
            patterns, slot_shape = select_slots(patterns, slot_shape, slots)
        return replace(
            self,
            **self.of_shots(shots),
            pattern=pattern,
            patterns=patterns,
            slot_shape=slot_shape,
        )

    def of_shots(self, shots: Selector) -> dict[str, Any]:
        return {
            "target": self.target[shots],
            "first": self.first[shots],
            "ids": None if self.ids is None else self.ids[shots],
        }

    def narrow_flat(self, entries: Selector) -> ReadPlan:
        end = self.ends
        if is_whole(entries, self.lead_shape[0]):
            return self
        if isinstance(entries, slice):
            # A range keeps the patterns of its shots; positions get one for each shot.
            if entries.step == 1 and entries.stop > entries.start:
                return self.cut_flat(entries.start, entries.stop, end)
            entries = np.arange(entries.start, entries.stop, entries.step)
        shot = np.searchsorted(end, entries, side="right")
        shots, counts = np.unique(shot, return_counts=True)
        start = end[shot] - self.patterns.sizes()[self.pattern[shot]]
        at = self.patterns.ptr[self.pattern[shot]] + (entries - start)
        ptr = np.concatenate([[0], np.cumsum(counts)])
        return replace(
            self,
            **self.of_shots(shots),
            pattern=np.arange(len(shots)),
            patterns=Patterns(ptr, self.patterns.offset[at], self.patterns.slot[at]),
        )

    def cut_flat(self, start: int, stop: int, end: IntArray) -> ReadPlan:
        """Return the plan of the entries ``start:stop``; `end` closes each shot.

        Shots inside keep their pattern, so that the cost grows with the shots and not
        with the entries; only the two shots at the ends may get one of their own.
        """
        shots = slice(
            int(np.searchsorted(end, start, side="right")),
            int(np.searchsorted(end, stop - 1, side="right")) + 1,
        )
        pattern, patterns = self.patterns.used_by(self.pattern[shots])
        # `used_by` may return a view of the plan that this one is cut from.
        pattern = pattern.copy()
        begin = end[shots] - patterns.sizes()[pattern]
        for i in {0, len(pattern) - 1}:
            full = slice(*patterns.ptr[pattern[i] : pattern[i] + 2].tolist())
            lo = full.start + max(0, start - int(begin[i]))
            hi = full.start + min(full.stop - full.start, stop - int(begin[i]))
            if (lo, hi) != (full.start, full.stop):
                pattern[i] = len(patterns.ptr) - 1
                patterns = Patterns(
                    np.append(patterns.ptr, patterns.ptr[-1] + hi - lo),
                    np.append(patterns.offset, patterns.offset[lo:hi]),
                    np.append(patterns.slot, patterns.slot[lo:hi]),
                )
        return replace(
            self,
            **self.of_shots(shots),
            pattern=pattern,
            patterns=patterns,
        )

    def narrow_modules(self, modules: slice | list[int]) -> ReadPlan:
        return replace(
            self, target=self.target[:, modules], first=self.first[:, modules]
        )

    def compact(self) -> ReadPlan:
        """Return an equal plan that names only the datasets it reads."""
        used = np.unique(self.target)
        used = used[used >= 0]
        renumber = np.full(len(self.targets) + 1, -1, self.target.dtype)
        renumber[used] = np.arange(len(used))
        return replace(
            self,
            targets=tuple(self.targets[i] for i in used),
            target=renumber[self.target],
        )

    def entries(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return (shot, offset in its rows, place on the lead axes) of every entry."""
        shot, offset, slot = self.patterns.expand(self.pattern)
        if self.flat:
            return shot, offset, np.arange(len(shot))
        return shot, offset, shot * int(np.prod(self.slot_shape, dtype=int)) + slot

    def recorded(self) -> NDArray[np.bool_]:
        """Return where data were recorded: bool (*lead_shape, module)."""
        shot, _, place = self.entries()
        lead = self.lead_shape
        out = np.zeros((int(np.prod(lead, dtype=int)), self.target.shape[1]), bool)
        out[place] = self.target[shot] >= 0
        return out.reshape((*lead, -1))


def select_slots(
    patterns: Patterns, slot_shape: tuple[int, ...], index: tuple[Selector, ...]
) -> tuple[Patterns, tuple[int, ...]]:
    at = np.unravel_index(patterns.slot, slot_shape)
    keep = np.ones(len(patterns.slot), bool)
    new: list[IntArray] = []
    for position, selector, n in zip(at, index, slot_shape, strict=True):
        renumber = np.full(n, -1)
        renumber[selector] = np.arange(length(selector, n))
        new.append(renumber[position])
        keep &= new[-1] >= 0
    shape = tuple(length(s, n) for s, n in zip(index, slot_shape, strict=True))
    slot = (
        np.ravel_multi_index(tuple(a[keep] for a in new), shape)
        if all(shape)
        else (np.zeros(0, int))
    )
    return patterns.where(keep, slot), shape


def packed(value: object) -> object:
    if isinstance(value, np.ndarray) and value.ndim in (1, 2):
        return to_runs(value)
    return value


def unpacked(kind: type[Any], values: tuple[Any, ...]) -> Any:
    return kind(*(from_runs(v) if isinstance(v, Runs) else v for v in values))
