"""Which frames a train holds: pulse IDs, memory cells, gain stages, and selections."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, listing
from xfelred.hdf5.rows import read_entries, read_rows
from xfelred.lazy import Cursor, Patterns, ReadPlan, Rows
from xfelred.lazy.indexing import Selector
from xfelred.readers.euxfel.identify import PULSE_KEYS
from xfelred.readers.euxfel.key_facts import counted_patterns
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.euxfel.module_plans import EntryLayout, module_plan
from xfelred.readers.frames import Pixels
from xfelred.readers.selection import ById, ByIndex, matches

N_GAINS = 3  # stages of LPD in parallel-gain mode: high, medium, low
FEW_RUNS, FEW_ROWS = 4, 1 << 16  # more rows are worth a look at how they are stored
FEW_KINDS = 16  # of trains, found by comparing all with the first of each


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """Frames of every distinct kind of train, and which kind each train is.

    Attributes
    ----------
    pattern : int (train,)
        Kind of each train.
    ptr : int (kinds + 1,)
        Kind k has the frames ``ptr[k]:ptr[k + 1]`` of the arrays below.
    offset : int
        Position among the entries of the train in the file.
    pulse, cell : uint64
    gain : uint8
        0 to 2 in parallel-gain data, else 0.
    """

    pattern: NDArray[np.int64]
    ptr: NDArray[np.int64]
    offset: NDArray[np.int64]
    pulse: NDArray[np.uint64]
    cell: NDArray[np.uint64]
    gain: NDArray[np.uint8]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of frames of each train."""
        return np.diff(self.ptr)[self.pattern]

    @cached_property
    def expanded(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Train position, and position in the arrays above, of every frame."""
        at = np.arange(len(self.offset))
        train, where, _ = Patterns(self.ptr, at, at).expand(self.pattern)
        return train, where

    @property
    def n_frames(self) -> int:
        return int(self.counts.sum())

    def flat(self) -> Patterns:
        """Return the patterns of a plan without slots."""
        return Patterns(self.ptr, self.offset, np.zeros_like(self.offset))

    def keep(self, chosen: NDArray[np.bool_]) -> FrameLabels:
        return replace(
            self,
            ptr=np.concatenate([[0], np.cumsum(chosen)])[self.ptr],
            offset=self.offset[chosen],
            pulse=self.pulse[chosen],
            cell=self.cell[chosen],
            gain=self.gain[chosen],
        )

    def select(self, pulses: object) -> FrameLabels:
        """Return the labels of some pulses of each train.

        By position in the train, in each of its gain stages, or with ``by_id`` by
        pulse ID. What a train does not have is ignored.
        """
        if isinstance(pulses, ById):
            return self.keep(matches(self.pulse.astype(np.int64), pulses.value))
        value = pulses.value if isinstance(pulses, ByIndex) else pulses
        sizes = np.diff(self.ptr)
        inside = np.arange(len(self.offset)) - np.repeat(self.ptr[:-1], sizes)
        if self.gain.any():
            inside = inside % np.repeat(np.maximum(sizes // N_GAINS, 1), sizes)
        return self.keep(matches(inside, value))

    def trains(self, keep: NDArray[np.bool_]) -> FrameLabels:
        return replace(self, pattern=self.pattern[keep])

    def used(self) -> NDArray[Any]:
        """Return the positions in the arrays that occur in at least one train."""
        kinds = np.unique(self.pattern)
        _, at, _ = Patterns(self.ptr, np.arange(len(self.offset)), self.offset).expand(
            kinds
        )
        return at

    def check_unique(self, name: str, label: str) -> None:
        """Raise InconsistentDataError if a train has a label twice in a gain stage."""
        values = self.pulse if label == "pulseId" else self.cell
        for k in np.unique(self.pattern):
            part = slice(self.ptr[k], self.ptr[k + 1])
            # In parallel-gain data every label comes once in each stage.
            pairs = values[part].astype(np.int64) * N_GAINS + self.gain[part]
            if len(np.unique(pairs)) < len(pairs):
                raise InconsistentDataError(
                    f"{name}: a train has the same {label} for several frames, so"
                    " frames cannot be told apart by it. If this is LPD parallel-gain"
                    " data pass parallel_gain=True; else read without unstacking"
                    " (unstack_pulses=False, layout='frame')"
                )


def frame_labels(detector: ModuleData) -> FrameLabels:
    """Return pulse and memory cell of every frame, read once; see `read_labels`."""
    return detector.kept(("labels",), lambda: read_labels(detector))


def read_labels(detector: ModuleData) -> FrameLabels:
    """Read pulse IDs and memory cells of all modules and check that they agree."""
    counts = detector.counts
    labels = [Agreement(detector, key, counts) for key in PULSE_KEYS]
    others = set(range(len(detector.modules))) - set(detector.positions)
    # Those that are read first: others count only where these say nothing.
    for m in (*detector.positions, *sorted(others)):
        for one in labels:
            one.add(m)
    for one in labels:
        one.check()
    pulse, cell = (one.values for one in labels)
    # Trains of one kind are kept once: a long run has thousands alike.
    per_train = counts // stages(detector)
    start = np.cumsum(counts) - counts
    pattern, firsts = kinds_of_trains(start, per_train, (pulse, cell))
    parts = [slice(start[t], start[t] + per_train[t]) for t in firsts]
    pieces = [(pulse[part], cell[part]) for part in parts]
    # The kinds one after the other, and in each of them the gain stages.
    n_gains = stages(detector)
    lengths = np.array([n_gains * len(p) for p, _ in pieces], np.int64)
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    empty = [np.zeros(0, np.uint64)]
    return FrameLabels(
        pattern=pattern,
        ptr=ptr,
        offset=np.concatenate([np.arange(n) for n in lengths] or [np.zeros(0, int)]),
        pulse=np.concatenate([np.tile(p, n_gains) for p, _ in pieces] or empty),
        cell=np.concatenate([np.tile(c, n_gains) for _, c in pieces] or empty),
        gain=np.concatenate(
            [np.repeat(np.arange(n_gains, dtype=np.uint8), len(p)) for p, _ in pieces]
            or [np.zeros(0, np.uint8)]
        ),
    )


def kinds_of_trains(
    start: NDArray[np.int64],
    size: NDArray[np.int64],
    labels: tuple[NDArray[np.uint64], ...],
) -> tuple[NDArray[np.int64], list[int]]:
    """Return the kind of each train, and the first train of each kind.

    Kinds are numbered as they come. A train is a stretch of the labels, at `start`.
    """
    pattern = np.full(len(start), -1)
    firsts: list[int] = []
    left = np.arange(len(start))
    # Most runs have a few kinds, and a million trains are too many for a loop.
    while len(left) and len(firsts) < FEW_KINDS:
        first, n = int(left[0]), int(size[left[0]])
        alike = size[left] == n
        for values in labels:
            for k in range(n):
                at = left[alike]
                alike[alike] = values[start[at] + k] == values[start[first] + k]
        pattern[left[alike]] = len(firsts)
        firsts.append(first)
        left = left[~alike]
    found: dict[tuple[bytes, ...], int] = {}
    for t in left.tolist():
        part = slice(start[t], start[t] + size[t])
        key = tuple(values[part].tobytes() for values in labels)
        if key not in found:
            found[key] = len(firsts)
            firsts.append(t)
        pattern[t] = found[key]
    return pattern, firsts


class Agreement:
    """A label of every frame, the same in all modules that have the frame.

    Beyond the first gain stage the labels of parallel-gain data are junk: not `meant`.
    """

    def __init__(
        self, detector: ModuleData, key: str, counts: NDArray[np.int64]
    ) -> None:
        n = int(counts.sum())
        self.detector, self.key, self.counts = detector, key, counts
        self.values, self.known = np.zeros(n, np.uint64), np.zeros(n, bool)
        inside = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        self.meant = inside < np.repeat(counts // stages(detector), counts)
        plan = plain_plan(detector, key, counts)
        self.cursor = None if plan is None else Cursor(plan)

    def add(self, m: int) -> None:
        """Take what one module says.

        One that is not read speaks only for frames which those that are read lack.
        """
        is_read = m in self.detector.positions
        if not is_read and self.known.all():
            return
        recorded = self.detector.key_table(self.key).count[:, m] > 0
        if is_read and self.cursor is not None and recorded.all():
            self.add_whole(self.cursor.module(m)[:, 0])
            return
        here = np.repeat(recorded, self.counts)
        if not is_read:
            here &= ~self.known
        if is_read and self.cursor is not None:
            found = self.cursor.module(m)[here, 0]
        else:
            found = module_labels(self.detector, self.key, m, here)
        odd = (found != self.values[here]) & self.known[here]
        if (odd & self.meant[here]).any():
            raise self.disagreement()
        self.values[here], self.known[here] = found, True

    def add_whole(self, found: NDArray[np.uint64]) -> None:
        """Take the labels of a module that has all frames."""
        if not self.known.any():
            self.values = found
        elif not np.array_equal(found, self.values):
            odd = (found != self.values) & self.known
            if (odd & self.meant).any():
                raise self.disagreement()
            self.values = found
        self.known = np.ones(len(found), bool)

    def check(self) -> None:
        """Raise InconsistentDataError where no module told anything."""
        if not self.known.all():
            raise InconsistentDataError(
                f"no module of {self.detector.detector_name} has {self.key} for"
                f" {int((~self.known).sum())} of {len(self.known)} frames"
            )

    def disagreement(self) -> InconsistentDataError:
        """Return the error that names the modules which are alone with their labels."""
        detector, key = self.detector, self.key
        recorded = detector.key_table(key).count[:, detector.positions].T > 0
        have = np.repeat(recorded, self.counts, axis=1)
        table = np.zeros(have.shape, np.uint64)
        for i, m in enumerate(detector.positions):
            table[i, have[i]] = module_labels(detector, key, m, have[i])
        have &= self.meant
        reference = table[have.argmax(axis=0), np.arange(have.shape[1])]
        at = int(((table != reference) & have).any(axis=0).argmax())
        train_of = np.repeat(np.arange(len(self.counts)), self.counts)
        part = (train_of == train_of[at]) & self.meant
        numbers = detector.numbers_read
        labels = {
            number: tuple(table[i, part].tolist())
            for i, number in enumerate(numbers)
            if have[i, part].any()
        }
        right = usual(list(labels.values()))
        odd = [number for number, own in labels.items() if own != right]
        good = [number for number in numbers if number not in odd]
        return InconsistentDataError(
            f"inconsistent {key} in {detector.detector_name}: in train"
            f" {detector.ids[train_of[at]]}"
            f" {', '.join(f'module {m} has {shown(labels[m])}' for m in odd[:3])}, but"
            f" {len(labels) - len(odd)} of {len(labels)} modules have {shown(right)}."
            f" Read the others: modules={good}, or other trains"
        )


def stages(detector: ModuleData) -> int:
    return N_GAINS if detector.parallel_gain else 1


def plain_plan(
    detector: ModuleData, key: str, counts: NDArray[np.int64]
) -> ReadPlan | None:
    """Return the plan of a label of all modules, None if some have no plain numbers."""
    # Anything else is read module by module, which says what is wrong with which.
    headers = [h for h in detector.key_headers(key).values() if h is not None]
    odd = (h.dtype.kind != "u" or h.shape not in ((), (1,)) for h in headers)
    if not headers or any(odd):
        return None
    layout = EntryLayout(*counted_patterns(counts), flat=True)
    pixels = Pixels((), (), np.dtype(np.uint64), np.uint64(0))
    return replace(module_plan(detector, key, layout, pixels), read_rows=read_labels_of)


def read_labels_of(
    path: str,
    dataset: str,
    rows: Rows,
    entry: tuple[Selector, ...],
    out: NDArray[Any],
) -> None:
    """Read rows of numbers; see `xfelred.lazy.RowReader`.

    To know how a dataset is stored costs more than reading one of this size once.
    """
    if len(rows.start) > FEW_RUNS or rows.count.sum() > FEW_ROWS:
        read_rows(path, dataset, rows, entry, out)
        return
    runs = zip(
        rows.start.tolist(), rows.count.tolist(), rows.place.tolist(), strict=True
    )
    for start, n, place in runs:
        out[place : place + n] = read_entries(path, dataset, start, n).reshape(n)


def module_labels(
    detector: ModuleData, key: str, m: int, here: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    """Return the labels of one module at the frames `here`, in train order."""
    source = detector.sources[m]
    trains = np.repeat(np.arange(len(detector.counts)), detector.counts)[here]
    ids = detector.ids[np.unique(trains)]
    stored = detector.data.entries[source].key_data(key).with_ids(ids)
    # Raw files have labels (n, 1), corrected ones (n,). Others may not fit in memory.
    one_number = stored.dtype.kind in "iu" and math.prod(stored.entry_shape) == 1
    data = stored.in_train_order().reshape(-1) if one_number else None
    if data is None or (data < 0).any():
        raise InconsistentDataError(
            f"{key} of {source} is {stored.dtype} {stored.entry_shape} and holds no"
            " numbers of pulses or memory cells. Read the other modules:"
            f" modules={[n for i, n in enumerate(detector.modules) if i != m]}"
        )
    return data.astype(np.uint64)


def usual(labels: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what most modules say; where two are alike, what tells frames apart."""
    votes = Counter(labels)
    return max(votes, key=lambda one: (votes[one], len(set(one))))


def shown(labels: tuple[int, ...]) -> str:
    return f"[{listing(labels, 4)}]"
