"""All modules of one detector: what the files say of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from xfelred.detectors.catalogue import BY_CLASS, SOURCES
from xfelred.detectors.description import Sources
from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    PropertyNameError,
    SourceNameError,
    listing,
)
from xfelred.readers.by_train import ByTrain
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.headers import Header, Stored, common, header, say_absent
from xfelred.readers.euxfel.identify import (
    choose_sources,
    look_up,
    no_source,
    only_name,
    sources_of,
)
from xfelred.readers.euxfel.module_table import ModuleTable, module_table
from xfelred.readers.euxfel.run_data import RunData
from xfelred.readers.selection import check_split, split_evenly

Found = TypeVar("Found")


class ModuleData(ByTrain):
    """Data of all modules of one detector; nothing but indexes has been read.

    Parameters
    ----------
    data : RunData
        A run, or a part of one.
    detector_name : str, optional
        Needed if the data hold several detectors of this kind.
    modules : iterable of int, optional
        Numbers, as in the source names, of the modules to use.
    min_modules : int, optional
        Trains in which fewer modules have data are left out.
    raw : bool, optional
        True: raw data; False: corrected data; None: corrected data if there are any,
        else raw data with a warning.
    checked : bool, optional
        False leaves it to what reads the data to compare the frames of modules.

    Attributes
    ----------
    data : RunData
        The sources of this detector and the trains with enough modules.
    detector_name : str
    source_to_modno, modno_to_source : dict
        Source names and module numbers.
    is_raw : bool
        Whether the data are uncorrected.
    positions : list of int
        Positions of the modules that are read.
    parallel_gain : bool
        Whether each pulse was recorded in three gain stages (LPD).

    Raises
    ------
    SourceNameError
        If there is no such detector or none of the modules.
    ValueError
        If there are several detectors and no name, modules disagree on frames of a
        train, or no train has enough modules.
    """

    kind: ClassVar[str]
    parallel_gain = False

    @entry
    def __init__(
        self,
        data: RunData,
        detector_name: str | None = None,
        modules: Iterable[int] | None = None,
        *,
        min_modules: int = 1,
        raw: bool | None = None,
        checked: bool = True,
    ) -> None:
        self.build(data, detector_name, modules, min_modules, raw)
        if checked:
            self.check()

    def build(
        self,
        data: RunData,
        name: str | None,
        modules: Iterable[int] | None,
        min_modules: int,
        raw: bool | None,
        first_modno: int | None = None,
    ) -> None:
        """Find sources and trains; first steps common to all kinds."""
        if min_modules <= 0:
            raise ArgumentError(f"min_modules must be at least 1, got {min_modules}")
        if not isinstance(data, RunData):
            raise ArgumentTypeError(
                f"{self.kind} needs a run; open it with xfelred.open_run first"
            )
        self.detector_name = name or only_name(data, self.kind)
        found = sources_of(data, self.kind, self.detector_name)
        if not found:
            raise no_source(data, self.kind, self.detector_name)
        wanted = None if modules is None else {int(m) for m in modules}
        numbers, self.is_raw = choose_sources(
            data, self.kind, self.detector_name, found, raw, wanted
        )
        self.all_numbers = sorted(numbers.values())
        if wanted is not None:
            numbers = {s: n for s, n in numbers.items() if n in wanted}
            if not numbers:
                raise SourceNameError(
                    f"{self.detector_name} has no module of {sorted(wanted)}; it has"
                    f" {listing(self.all_numbers, 20)}"
                )
        for source in numbers:
            look_up(data, source, self.spec)
        # JUNGFRAU modules may be counted from another number than names have it.
        shift = 0 if first_modno is None else first_modno - self.spec.first_number
        ordered = sorted(numbers.items(), key=lambda item: item[1])
        self.source_to_modno = {s: n - shift for s, n in ordered}
        self.modno_to_source = {n: s for s, n in self.source_to_modno.items()}
        table = module_table(data, tuple(self.source_to_modno), self.main_group)
        keep = table.trains_with(self.detector_name, min_modules)
        selection = dict.fromkeys(self.source_to_modno)
        self.data = data.with_sources(selection).with_ids(data.ids[keep])
        self.ids = self.data.ids
        self.memo: dict[tuple[str, ...], Any] = {
            ("table", self.main_group): table.trains(keep)
        }
        self.positions = list(range(len(ordered)))

    def check(self) -> None:
        """Raise InconsistentDataError if modules differ in the frames of a train."""
        self.table(self.main_group).check_alike(self.detector_name, self.positions)

    def but(self, **changes: object) -> Self:
        # Not through `__init__`, which looks for sources and trains anew.
        out = object.__new__(type(self))
        out.__dict__.update({**self.__dict__, **changes})
        return out

    def kept(self, what: tuple[str, ...], make: Callable[[], Found]) -> Found:
        """Return what was made once."""
        if what not in self.memo:
            self.memo[what] = make()
        found: Found = self.memo[what]
        return found

    def reading(self, positions: list[int]) -> Self:
        """Return the detector of which only the modules at some positions are read.

        The others stay on its axes of trains and frames, and need not agree with these.
        """
        if positions == self.positions:
            self.check()
            return self
        tables = self.known("table")
        # Labels are read again: they are those of the modules that are read.
        some = self.but(positions=positions, memo=tables)
        some.check()
        return self.kept(("reading", str(positions)), lambda: some)

    def only(self, positions: list[int]) -> Self:
        """Return the detector without the modules at other positions."""
        numbers = [self.modules[m] for m in positions]
        tables = {k: v.modules(positions) for k, v in self.known("table").items()}
        return self.but(
            modno_to_source={n: self.modno_to_source[n] for n in numbers},
            source_to_modno={self.modno_to_source[n]: n for n in numbers},
            positions=list(range(len(positions))),
            memo={**tables, **self.known("labels")},
        )

    def with_ids(self, ids: NDArray[np.uint64]) -> Self:
        keep = np.isin(self.ids, ids)
        data = self.data.with_ids(ids)
        known = {k: v.trains(keep) for k, v in self.known("table", "labels").items()}
        return self.but(data=data, ids=data.ids, memo=known)

    def known(self, *what: str) -> dict[tuple[str, ...], Any]:
        return {k: v for k, v in self.memo.items() if k[0] in what}

    # -- what it is ------------------------------------------------------------------

    @property
    def spec(self) -> Sources:
        """Facts about this kind of detector."""
        return SOURCES[self.kind]

    @property
    def main_group(self) -> str:
        """Index group of the pixel data."""
        return self.spec.data.partition(".")[0]

    @property
    def module_shape(self) -> tuple[int, int]:
        """Pixels of one module along slow_scan and fast_scan."""
        return BY_CLASS[self.kind].shape[1:]

    @property
    def n_modules(self) -> int:
        """Number of modules of the complete detector."""
        return BY_CLASS[self.kind].shape[0]

    @property
    def modules(self) -> list[int]:
        """Numbers of the modules in use."""
        return list(self.modno_to_source)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, one for each module."""
        return tuple(self.source_to_modno)

    @property
    def numbers_read(self) -> list[int]:
        """Numbers of the modules that are read."""
        return [self.modules[m] for m in self.positions]

    @property
    def first_number(self) -> int:
        """Number of the first module of a complete detector."""
        return self.spec.first_number

    @property
    def frames_per_entry(self) -> int:
        """Frames in one row of the pixel data (memory cells of JUNGFRAU)."""
        return self.stored_as(self.spec.data)[1][0] if self.spec.inner else 1

    def table(self, group: str) -> ModuleTable:
        """Return where the rows of every module and train lie, for an index group."""
        return self.kept(
            ("table", group), lambda: module_table(self.data, self.sources, group)
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of entries in each train, int64 (train,)."""
        return self.table(self.main_group).entries(self.positions)

    @entry
    def split_trains(
        self,
        parts: int | None = None,
        trains_per_part: int | None = None,
        frames_per_part: int | None = None,
    ) -> Iterator[Any]:
        """Yield the detector in pieces of whole trains.

        Parameters
        ----------
        parts : int, optional
            Number of pieces; there may be more, to keep the other limits.
        trains_per_part : int, optional
            Trains in a piece, at most.
        frames_per_part : int, optional
            Frames in a piece, at most, unless one train alone has more.
        """
        check_split(
            parts=parts,
            trains_per_part=trains_per_part,
            frames_per_part=frames_per_part,
        )
        ids = self.ids
        distinct = np.unique(self.counts)
        if frames_per_part is not None and len(distinct) == 1:
            # Every train has as many frames, so this is a limit on trains.
            whole = max(1, frames_per_part // int(distinct[0] * self.frames_per_entry))
            trains_per_part = min(trains_per_part or whole, whole)
            frames_per_part = None
        if frames_per_part is None:
            for piece in split_evenly(len(ids), parts, trains_per_part):
                yield self.with_ids(ids[piece])
            return
        most: float = trains_per_part or inf
        if parts is not None:
            most = min(most, max(len(ids) // parts, 1))
        start, frames_so_far = 0, 0
        for i, n in enumerate((self.counts * self.frames_per_entry).tolist()):
            full = i - start >= most or frames_so_far + n > frames_per_part
            if i > start and full:
                yield self.with_ids(ids[start:i])
                start, frames_so_far = i, 0
            frames_so_far += n
        if start < len(ids):
            yield self.with_ids(ids[start:])

    # -- keys ------------------------------------------------------------------------

    @property
    def first_source(self) -> str:
        """The source of the first module that is read."""
        return self.sources[next(iter(self.positions), 0)]

    def key_headers(self, key: str) -> dict[int, Header | None]:
        """Return what each file with data of a module says of a key, by target."""

        def look_up() -> dict[int, Header | None]:
            table = self.table(group_of(key))
            names, targets = table.places(key), table.targets
            used = [i for i in table.targets_used() if targets[i][0] in self.positions]
            return {i: header(targets[i][1], names[i][1]) for i in used}

        return self.kept(("headers", key), look_up)

    def has_key(self, key: str) -> bool:
        """Return whether any file with data of the modules that are read has a key."""
        return any(h is not None for h in self.key_headers(key).values())

    def key_table(self, key: str) -> ModuleTable:
        """Return where the rows of a key lie: nowhere in files that lack it.

        A warning, once for a file, tells of these.
        """

        def without_lacking() -> ModuleTable:
            table = self.table(group_of(key))
            lacking = [i for i, h in self.key_headers(key).items() if h is None]
            self.say_lacking(key, [table.targets[i] for i in lacking])
            return table.without(lacking) if lacking else table

        return self.kept(("key table", key), without_lacking)

    def say_lacking(self, key: str, lacking: list[tuple[int, FileIndex]]) -> None:
        """Warn of modules and their files that lack a key which others have."""
        modules = sorted({self.modules[m] for m, _ in lacking})
        then = "nothing of it is there for the trains in these files"
        if key == self.spec.mask:
            then = "no pixel is masked there; the masks of other files apply"
        what = f"{key} of {self.detector_name}, module {listing(modules)},"
        files = [file for _, file in lacking]
        say_absent(files, f"{self.detector_name} {key}", what, then)

    def stored_as(self, key: str) -> Stored:
        """Return dtype and entry shape that hold a key of all modules and files.

        PropertyNameError if a module lacks the key.
        """
        for source in [self.sources[m] for m in self.positions]:
            known = self.data.entries[source].all_keys()
            if key not in known:
                raise PropertyNameError(
                    f"{source} has no key {key!r}; it has {sorted(known)}. If other"
                    " modules have it, choose them: modules="
                )
        return self.stored_in(key)

    def stored_in(self, key: str) -> Stored:
        """Return dtype and entry shape of a key in the files that have it."""

        def in_common() -> Stored:
            targets = self.table(group_of(key)).targets
            found = {
                f"{targets[i][1].path} ({self.sources[targets[i][0]]})": h
                for i, h in self.key_headers(key).items()
                if h is not None
            }
            if not found:  # no train has data: any file tells
                found = self.data.entries[self.first_source].key_data(key).headers
            # A first axis of length 1 may be the memory cells of an entry.
            what = f"{key!r} of {self.detector_name}"
            return common(found, what, one_axis=not self.spec.inner)

        return self.kept(("stored", key), in_common)


def group_of(key: str) -> str:
    return key.partition(".")[0]
