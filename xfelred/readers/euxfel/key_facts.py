"""What the files say of one key of one source, before any of its data are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError, listing
from xfelred.hdf5 import as_text, open_group
from xfelred.hdf5.rows import open_dataset
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.headers import (
    Header,
    Stored,
    common,
    header,
    say_absent,
)
from xfelred.readers.euxfel.locate import Location, files_with, locate
from xfelred.readers.selection import TrainIDs


@dataclass(frozen=True, eq=False)
class KeyFacts:
    """Where the data of a key lie for the selected trains, and what they are like.

    Attributes
    ----------
    source, key : str
        Name by which the source was asked for, an old one perhaps, and of the key.
    section : {"CONTROL", "INSTRUMENT"}
    all_files : tuple of FileIndex
        The files that hold the source.
    ids : uint64 (n,)
        Selected train IDs.
    inc_suspect_trains : bool
    present_name : str or None
        Present name of the source, if it was asked for by an old one.
    single : bool
        Whether all files are of one run.
    """

    source: str
    key: str
    section: Literal["CONTROL", "INSTRUMENT"]
    all_files: tuple[FileIndex, ...]
    ids: TrainIDs
    inc_suspect_trains: bool = True
    present_name: str | None = None
    single: bool = True

    @property
    def canonical_name(self) -> str:
        """The present name of the source."""
        return self.present_name or self.source

    @cached_property
    def files(self) -> tuple[FileIndex, ...]:
        """The files that hold selected trains; one file if there are none."""
        return files_with(self.all_files, self.ids, self.inc_suspect_trains)

    @property
    def train_ids(self) -> list[int]:
        """Selected train IDs, with or without data."""
        return [int(t) for t in self.ids]

    @property
    def is_control(self) -> bool:
        """Whether this is slow data, one row per train."""
        return self.section == "CONTROL"

    @property
    def is_instrument(self) -> bool:
        """Whether this is fast data, any number of rows per train."""
        return self.section == "INSTRUMENT"

    @property
    def index_group(self) -> str:
        """Group of keys that share an index; empty for control data."""
        return "" if self.is_control else self.key.partition(".")[0]

    @property
    def hdf5_data_path(self) -> str:
        """Name of the dataset in the files."""
        return f"/{self.section}/{self.canonical_name}/{self.key.replace('.', '/')}"

    @property
    def source_file_paths(self) -> list[Path]:
        """Files that hold data of the selected trains; all if there are none."""
        used = np.unique(self.location.file[self.location.count > 0])
        return [Path(f.path) for f in self.some_files(used)]

    @cached_property
    def location(self) -> Location:
        """Where each train lies; nowhere in files that lack the key, with a warning."""
        found = locate(
            self.all_files, self.canonical_name, self.index_group, self.ids,
            self.inc_suspect_trains,
        )  # fmt: skip
        lacking = [
            i for i in np.unique(found.file[found.count > 0])
            if header(self.all_files[i], self.hdf5_data_path) is None
        ]  # fmt: skip
        if not lacking:
            return found
        say_absent(
            [self.all_files[i] for i in lacking], self.hdf5_data_path,
            f"{self.key!r} of {self.source}", "its trains there have no data of it",
        )  # fmt: skip
        return found.without(np.isin(found.file, lacking))

    @cached_property
    def headers(self) -> dict[str, Header]:
        """What the files with data of the selected trains say of the key.

        If there is none, what the first file with the key says.
        """
        used = np.unique(self.location.file[self.location.count > 0])
        named = {f.path: header(f, self.hdf5_data_path) for f in self.some_files(used)}
        found = {path: h for path, h in named.items() if h is not None}
        if not found:
            raise BrokenFileError(
                f"no file has {self.key!r} of {self.source}, looked into"
                f" {listing(named, 3)}. Open the run again if its files have changed"
            )
        return found if len(used) else dict([next(iter(found.items()))])

    def some_files(self, used: NDArray[np.int64]) -> list[FileIndex]:
        """Return files by their position, all if there is none."""
        return [self.all_files[i] for i in used] if len(used) else list(self.all_files)

    @cached_property
    def stored(self) -> Stored:
        """Dtype and entry shape that hold what all these files have.

        Raises
        ------
        InconsistentDataError
            If there is no such dtype or shape.
        """
        return common(self.headers, f"{self.key!r} of {self.source}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the data; object for text."""
        return self.stored[0]

    @property
    def entry_shape(self) -> tuple[int, ...]:
        """Shape of one entry."""
        return self.stored[1]

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of what the first file stores in one piece; empty for no pieces."""
        return next(iter(self.headers.values())).chunk

    @property
    def attrs(self) -> dict[str, Any]:
        """HDF5 attributes of the key in the first of these files."""
        return self.attrs_in(next(iter(self.headers)))

    def attrs_in(self, path: str) -> dict[str, Any]:
        """Return the HDF5 attributes of the key in one file."""
        found = open_dataset(path, self.hdf5_data_path)
        if not self.is_control:
            return found.attrs
        above = open_group(path, self.hdf5_data_path.rpartition("/")[0])
        return found.attrs | (above.attrs if above is not None else {})

    @property
    def ndim(self) -> int:
        """Number of axes, with the entries."""
        return 1 + len(self.entry_shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data: entries of all selected trains, then one entry."""
        return (int(self.location.count.sum()), *self.entry_shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def size_mb(self) -> float:
        """Megabytes in memory."""
        return self.nbytes / 1e6

    @property
    def size_gb(self) -> float:
        """Gigabytes in memory."""
        return self.nbytes / 1e9

    @cached_property
    def units(self) -> str | None:
        """Symbol of the unit with its metric prefix, None if unknown.

        Raises
        ------
        InconsistentDataError
            If files name different units.
        """
        named = ((path, self.unit_in(path)) for path in self.headers)
        found = [(path, unit) for path, unit in named if unit is not None]
        if not found:
            return None
        (first, unit), *rest = found
        for path, other in rest:
            if other != unit:
                raise InconsistentDataError(
                    f"{self.key!r} of {self.source} is in {unit} in {first}, but in"
                    f" {other} in {path}. Take the trains of one file:"
                    " select_trains(by_id[...])"
                )
        return unit

    def unit_in(self, path: str) -> str | None:
        """Return the unit that one file names."""
        attrs = self.attrs_in(path)
        symbol = attrs.get("unitSymbol")
        if symbol is None:
            return None
        prefix = as_text(attrs.get("metricPrefixSymbol", ""))
        return ("μ" if prefix == "u" else prefix) + as_text(symbol)

    @property
    def units_name(self) -> str | None:
        """Name of the unit with its metric prefix, None if unknown."""
        attrs = self.attrs
        name = attrs.get("unitName")
        if name is None:
            return None
        return as_text(attrs.get("metricPrefixName", "")) + as_text(name)
