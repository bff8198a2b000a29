"""Which frames a train holds: pulse IDs, memory cells, gain stages, and selections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, listing
from xfelred.lazy import Patterns
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.selection import ById, ByIndex, matches

N_GAINS = 3


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
        """Number of frames of all trains."""
        return int(self.counts.sum())

    def flat(self) -> Patterns:
        """Return the patterns of a plan without slots."""
        return Patterns(self.ptr, self.offset, np.zeros_like(self.offset))

    def keep(self, chosen: NDArray[np.bool_]) -> FrameLabels:
        """Return the labels of the chosen elements of the arrays."""
        ptr = np.concatenate([[0], np.cumsum(chosen)])[self.ptr]
        return FrameLabels(
            self.pattern, ptr, self.offset[chosen], self.pulse[chosen],
            self.cell[chosen], self.gain[chosen],
        )  # fmt: skip

    def select(self, pulses: Any) -> FrameLabels:
        """Return the labels of some pulses of each train; see `chosen_pulses`."""
        return self.keep(chosen_pulses(self, pulses))

    def trains(self, keep: NDArray[np.bool_]) -> FrameLabels:
        """Return the labels of some trains."""
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
            pairs = values[part].astype(np.int64) * N_GAINS + self.gain[part]
            if len(np.unique(pairs)) < len(pairs):
                raise InconsistentDataError(
                    f"{name}: a train has the same {label} for several frames, so"
                    " frames"
                    " cannot be told apart by it. If this is LPD parallel-gain data"
                    " pass"
                    " parallel_gain=True; else read without unstacking"
                    " (unstack_pulses=False, layout='frame')"
                )


def frame_labels(detector: ModuleData) -> FrameLabels:
    """Return pulse and memory cell of every frame, read once; see `read_labels`."""
    return detector.kept(("labels",), lambda: read_labels(detector))


def read_labels(detector: ModuleData) -> FrameLabels:
    """Read pulse IDs and memory cells of all modules and check that they agree.

    Raises
    ------
    InconsistentDataError
        If modules that have a frame disagree on it.
    """
    counts = detector.counts
    pulse = agreed(detector, "image.pulseId", counts)
    cell = agreed(detector, "image.cellId", counts)
    per_train = counts // (N_GAINS if detector.parallel_gain else 1)
    end = np.cumsum(counts)
    start = end - counts
    kinds: dict[tuple[bytes, bytes], int] = {}
    pattern = np.zeros(len(counts), np.int64)
    pieces: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
    for t, (i, n) in enumerate(zip(start.tolist(), per_train.tolist(), strict=True)):
        one = (pulse[i : i + n], cell[i : i + n])
        key = (one[0].tobytes(), one[1].tobytes())
        if key not in kinds:
            kinds[key] = len(kinds)
            pieces.append(one)
        pattern[t] = kinds[key]
    return assembled(pattern, pieces, N_GAINS if detector.parallel_gain else 1)


def assembled(
    pattern: NDArray[np.int64],
    pieces: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]],
    n_gains: int,
) -> FrameLabels:
    """Return labels for distinct kinds of trains, gain stages one after the other."""
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


def agreed(
    detector: ModuleData, key: str, counts: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return a label of every frame, the same in all modules that have the frame.

    Modules that are not read speak only for frames which those that are read lack.
    """
    n = int(counts.sum())
    values, known = np.zeros(n, np.uint64), np.zeros(n, bool)
    frame_of = FrameNumbers(counts, N_GAINS if detector.parallel_gain else 1)
    modules = list(detector.modno_to_source)
    others = [m for m in range(len(modules)) if m not in detector.positions]
    for m in (*detector.positions, *others):
        if m in others and known.all():
            break
        here = np.repeat(recorded_trains(detector, key, m) > 0, counts)
        if m in others:
            here &= ~known
        found = module_labels(detector, key, m, here)
        meant = frame_of.meant[here]
        if ((found != values[here]) & known[here] & meant).any():
            raise disagreement(detector, key, counts, frame_of)
        values[here], known[here] = found, True
    if not known.all():
        raise InconsistentDataError(
            f"no module of {detector.detector_name} has {key} for"
            f" {int((~known).sum())} of {n} frames"
        )
    return values


@dataclass(frozen=True, eq=False)
class FrameNumbers:
    """Train and place within it of every frame, and whether its label means anything.

    Beyond the first gain stage the labels of parallel-gain data are junk.
    """

    counts: NDArray[np.int64]
    stages: int

    @cached_property
    def train(self) -> NDArray[np.int64]:
        """Train position of every frame."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def meant(self) -> NDArray[np.bool_]:
        """Whether the label of a frame counts."""
        inside = np.arange(int(self.counts.sum())) - np.repeat(
            np.cumsum(self.counts) - self.counts, self.counts
        )
        return inside < np.repeat(self.counts // self.stages, self.counts)


def recorded_trains(detector: ModuleData, key: str, m: int) -> NDArray[np.integer[Any]]:
    """Return the entries of one module in each train, 0 where a file lacks the key."""
    return detector.key_table(key).count[:, m]


def module_labels(
    detector: ModuleData, key: str, m: int, here: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    """Return the labels of one module at the frames `here`, in train order."""
    source = list(detector.source_to_modno)[m]
    trains = np.repeat(np.arange(len(detector.counts)), detector.counts)[here]
    ids = detector.ids[np.unique(trains)]
    data = detector.data.entries[source].key_data(key).with_ids(ids).in_train_order()
    if data.dtype.kind not in "iu" or data.ndim > 2 or (data < 0).any():
        raise InconsistentDataError(
            f"{key} of {source} is {data.dtype} {data.shape[1:]} and holds no numbers"
            " of pulses or memory cells. Read the other modules:"
            f" modules={[n for i, n in enumerate(detector.modules) if i != m]}"
        )
    return (data[:, 0] if data.ndim > 1 else data).astype(np.uint64)


def disagreement(
    detector: ModuleData,
    key: str,
    counts: NDArray[np.int64],
    frame_of: FrameNumbers,
) -> InconsistentDataError:
    """Return the error that names the modules which are alone with their labels."""
    n = int(counts.sum())
    table = np.zeros((len(detector.positions), n), np.uint64)
    have = np.zeros(table.shape, bool)
    for i, m in enumerate(detector.positions):
        have[i] = np.repeat(recorded_trains(detector, key, m) > 0, counts)
        table[i, have[i]] = module_labels(detector, key, m, have[i])
    have &= frame_of.meant
    first = have.argmax(axis=0)
    reference = table[first, np.arange(n)]
    at = int(((table != reference) & have).any(axis=0).argmax())
    train = frame_of.train[at]
    part = (frame_of.train == train) & frame_of.meant
    numbers = [detector.modules[m] for m in detector.positions]
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
        f" {detector.ids[train]}"
        f" {', '.join(f'module {m} has {shown(labels[m])}' for m in odd[:3])}, but"
        f" {len(labels) - len(odd)} of {len(labels)} modules have {shown(right)}. Read"
        f" the others: modules={good}, or other trains"
    )


def usual(labels: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what most modules say; where two are alike, what tells frames apart."""
    votes = Counter(labels)
    return max(votes, key=lambda one: (votes[one], len(set(one))))


def shown(labels: tuple[int, ...]) -> str:
    """Return the first labels for a message."""
    return f"[{listing(labels, 4)}]"


def chosen_pulses(labels: FrameLabels, pulses: Any) -> NDArray[np.bool_]:
    """Return which elements of the arrays of `labels` a selection takes.

    Parameters
    ----------
    labels : FrameLabels
    pulses : slice, int, sequence of int, ``by_id[...]`` or ``by_index[...]``
        Positions in each train (in each gain stage), or pulse IDs. What a train does
        not have is ignored.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        If the selection is not made of non-negative integers.
    """
    if isinstance(pulses, ById):
        return matches(labels.pulse.astype(np.int64), pulses.value)
    value = pulses.value if isinstance(pulses, ByIndex) else pulses
    sizes = np.diff(labels.ptr)
    inside = np.arange(len(labels.offset)) - np.repeat(labels.ptr[:-1], sizes)
    if labels.gain.any():
        inside = inside % np.repeat(np.maximum(sizes // N_GAINS, 1), sizes)
    return matches(inside, value)


def first_cells(detector: ModuleData) -> NDArray[np.uint8]:
    """Return the memory cells of the first train; see `JUNGFRAU.cell_ids`."""
    found: NDArray[np.uint8] | None = None
    table = detector.table(detector.main_group)
    for m, source in enumerate(detector.source_to_modno):
        if table.count[0, m] == 0:
            continue
        key = detector.data.entries[source].key_data("data.memoryCell")
        cells = key.with_ids(detector.ids[:1]).ndarray()[0]
        if found is not None and not np.array_equal(found, cells):
            raise InconsistentDataError(
                f"modules of {detector.detector_name} disagree on the memory cells of"
                f" train {detector.ids[0]}: {cells} and {found}"
            )
        found = cells
    if found is None:
        raise InconsistentDataError(f"{detector.detector_name} has no memory cells")
    return found
