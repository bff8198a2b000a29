"""Multi-module detectors: the modules of one detector as one object."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.detectors.catalogue import BY_CLASS, SOURCES
from xfelred.detectors.description import Sources
from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    NotPossibleError,
    SourceNameError,
    listing,
)
from xfelred.readers.euxfel import cxi, frames
from xfelred.readers.euxfel.identify import (
    choose_sources,
    no_source,
    only_name,
    sources_of,
)
from xfelred.readers.euxfel.mask import Mask, checked_value, combined_bits
from xfelred.readers.euxfel.module_keys import MultimodKeyData
from xfelred.readers.euxfel.module_plans import has_key, key_table
from xfelred.readers.euxfel.module_table import ModuleTable, module_table
from xfelred.readers.selection import (
    check_split,
    select_train_ids,
    split_evenly,
)

if TYPE_CHECKING:
    from xfelred.readers.euxfel.run import Run


class Detector:
    """Data of all modules of one detector; nothing but indexes has been read.

    Parameters
    ----------
    data : Run
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
    data : Run
        The sources of this detector and the trains with enough modules.
    detector_name : str
    source_to_modno, modno_to_source : dict
        Source names and module numbers.
    is_raw : bool
        Whether the data are uncorrected.
    positions : list of int
        Positions of the modules that are read.

    Raises
    ------
    SourceNameError
        If there is no such detector or none of the modules.
    ValueError
        If there are several detectors and no name, modules disagree on frames of a
        train, or no train has enough modules.
    """

    kind: ClassVar[str]

    @entry
    def __init__(
        self,
        data: Run,
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
        data: Run,
        name: str | None,
        modules: Iterable[int] | None,
        min_modules: int,
        raw: bool | None,
        first_modno: int | None = None,
    ) -> None:
        """Find sources and trains; first steps common to all kinds."""
        if min_modules <= 0:
            raise ArgumentError(f"min_modules must be at least 1, got {min_modules}")
        if not hasattr(data, "entries"):
            raise ArgumentTypeError(
                f"{self.kind} needs a run; open it with xfelred.open_run first"
            )
        self.detector_name = name or only_name(data, self.kind)
        found = sources_of(data, self.kind, self.detector_name)
        if not found:
            raise no_source(data, self.kind, self.detector_name)
        wanted = None if modules is None else {int(m) for m in modules}
        numbers, self.is_raw = choose_sources(data, self, found, raw, wanted)
        self.all_numbers = sorted(numbers.values())
        if wanted is not None:
            numbers = {s: n for s, n in numbers.items() if n in wanted}
            if not numbers:
                raise SourceNameError(
                    f"{self.detector_name} has no module of {sorted(wanted)}; it has"
                    f" {listing(self.all_numbers, 20)}"
                )
        shift = 0 if first_modno is None else first_modno - self.spec.first_number
        ordered = sorted(numbers.items(), key=lambda item: item[1])
        self.source_to_modno = {s: n - shift for s, n in ordered}
        self.modno_to_source = {n: s for s, n in self.source_to_modno.items()}
        table = module_table(data, tuple(self.source_to_modno), self.main_group)
        keep = table.trains_with(self.detector_name, min_modules)
        selection = dict.fromkeys(self.source_to_modno)
        self.data = data.with_sources(selection).with_ids(data.ids[keep])
        self.memo: dict[str, Any] = {"tables": {self.main_group: table.select(keep)}}
        self.positions = list(range(len(ordered)))

    def check(self) -> None:
        """Raise InconsistentDataError if modules differ in the frames of a train."""
        self.table(self.main_group).check_alike(self.detector_name, self.positions)

    def reading(self, positions: list[int]) -> Any:
        """Return the detector of which only the modules at some positions are read.

        The others stay on its axes of trains and frames, and need not agree with these.
        """
        out = object.__new__(type(self))
        same = positions == self.positions
        memo = self.memo if same else {"tables": self.memo["tables"]}
        out.__dict__ = {**self.__dict__, "positions": positions, "memo": memo}
        out.check()
        return out

    def only(self, positions: list[int]) -> Any:
        """Return the detector without the modules at other positions."""
        numbers = [self.modules[m] for m in positions]
        out = object.__new__(type(self))
        labels = {k: v for k, v in self.memo.items() if k == "labels"}
        tables = {g: t.modules(positions) for g, t in self.memo["tables"].items()}
        out.__dict__ = {
            **self.__dict__,
            "modno_to_source": {n: self.modno_to_source[n] for n in numbers},
            "source_to_modno": {self.modno_to_source[n]: n for n in numbers},
            "positions": list(range(len(positions))),
            "memo": {"tables": tables, **labels},
        }
        return out

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
    def first_number(self) -> int:
        """Number of the first module of a complete detector."""
        return self.spec.first_number

    @property
    def train_ids(self) -> list[int]:
        """Train IDs with enough modules."""
        return self.data.train_ids

    @property
    def parallel_gain(self) -> bool:
        """Whether each pulse was recorded in three gain stages (LPD)."""
        return False

    @property
    def frames_per_entry(self) -> int:
        """Frames in one row of the pixel data (memory cells of JUNGFRAU)."""
        return 1

    def table(self, group: str) -> ModuleTable:
        """Return where the rows of every module and train lie, for an index group."""
        tables = self.memo["tables"]
        if group not in tables:
            tables[group] = module_table(self.data, tuple(self.source_to_modno), group)
        return tables[group]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of entries in each train, int64 (train,)."""
        return self.table(self.main_group).entries(self.positions)

    @property
    def frame_counts(self) -> pd.Series:
        """Number of entries in each train, indexed by train ID."""
        return pd.Series(self.counts, index=self.data.ids)

    @property
    def train_ids_perframe(self) -> NDArray[np.uint64]:
        """Train ID of every entry."""
        return np.repeat(self.data.ids, self.counts)

    @property
    def frames_per_train(self) -> int:
        """Number of frames in every train; ValueError if trains differ."""
        distinct = np.unique(self.counts) * self.frames_per_entry
        if len(distinct) != 1:
            raise ArgumentError(
                f"{self.detector_name} has {len(self.counts)} trains with"
                f" {listing(distinct)} frames, so there is no one number of frames per"
                " train; see frame_counts"
            )
        return int(distinct[0])

    def __contains__(self, key: object) -> bool:
        return all(key in self.data[s] for s in self.source_to_modno)

    def __getitem__(self, item: Any) -> Any:
        """Return the data of a key, or the detector for a selection of trains."""
        if not isinstance(item, str):
            return self.select_trains(item)
        return self.key_data(item)

    def key_data(self, key: str) -> MultimodKeyData:
        """Return the data of one key of all modules."""
        return MultimodKeyData(self, key)

    def __repr__(self) -> str:
        what = "raw" if self.is_raw else "proc"
        return (
            f"<{self.kind}: Data interface for detector {self.detector_name!r} -"
            f" {what} data with {len(self.modules)} modules>"
        )

    # -- trains ----------------------------------------------------------------------

    def with_ids(self, ids: NDArray[np.uint64]) -> Any:
        """Return the detector for some of its trains."""
        out = object.__new__(type(self))
        keep = np.isin(self.data.ids, ids)
        tables = {g: t.select(keep) for g, t in self.memo["tables"].items()}
        memo: dict[str, Any] = {"tables": tables}
        if "labels" in self.memo:
            memo["labels"] = self.memo["labels"].trains(keep)
        out.__dict__ = {**self.__dict__, "data": self.data.with_ids(ids), "memo": memo}
        return out

    def select_trains(self, trains: Any) -> Any:
        """Return the detector for a selection of its trains.

        Parameters
        ----------
        trains : slice, int, list, bool array, ``by_id[...]`` or ``by_index[...]``
        """
        return self.with_ids(select_train_ids(self.data.ids, trains))

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
        ids = self.data.ids
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

    @entry
    def data_availability(self, module_gaps: bool = False) -> NDArray[np.bool_]:
        """Return where pixel data exist: bool (module, entry); reads no data.

        Parameters
        ----------
        module_gaps : bool, optional
            True: a row for every module of the complete detector.
        """
        return self.key_data(self.spec.data).data_availability(module_gaps)

    def frames(self, key: str | None = None, **options: Any) -> xr.DataArray:
        """Return pixel data as a lazy array; see `xfelred.readers.euxfel.frames`."""
        return frames.frames(self, key, **options)

    @entry
    def masked_data(
        self,
        key: str | None = None,
        *,
        mask_bits: Any = None,
        masked_value: Any = np.nan,
    ) -> MultimodKeyData:
        """Return pixel data with `masked_value` at bad pixels.

        Parameters
        ----------
        key : str, optional
            By default the pixel data.
        mask_bits : int or iterable of int, optional
            Only these bits count; by default any.
        masked_value : scalar, optional

        Raises
        ------
        RuntimeError
            If the data have no mask.
        ValueError
            If `masked_value` does not fit the dtype of the data.
        """
        if not has_key(self, self.spec.mask):
            raise NotPossibleError(
                f"{self.detector_name} has no bad-pixel mask ({self.spec.mask}) in"
                " these data; raw data have none, corrected data do"
            )
        key_table(self, self.spec.mask)  # tells of files without one
        data = self.key_data(key or self.spec.data)
        bits = combined_bits(mask_bits)
        return data.with_mask(Mask(bits, checked_value(masked_value, data.dtype)))

    @entry
    def write_virtual_cxi(
        self, filename: str | os.PathLike[str], fillvalues: dict[str, Any] | None = None
    ) -> None:
        """Write a CXI file with virtual datasets; see `xfelred.readers.euxfel.cxi`."""
        cxi.write_virtual_cxi(self, filename, fillvalues)
