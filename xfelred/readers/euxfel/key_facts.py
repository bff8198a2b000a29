"""What the files say of one key of one source, before any of its data are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError, listing
from xfelred.hdf5 import as_text, open_dataset, open_group
from xfelred.hdf5.rows import read_rows
from xfelred.lazy import Patterns, ReadPlan, load
from xfelred.readers.entry import entry_window
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.headers import Header, Stored, common, header, say_absent
from xfelred.readers.euxfel.locate import Location, SourceFiles


@dataclass(frozen=True, eq=False)
class KeyFacts(SourceFiles):
    """Where the data of a key lie for the selected trains, and what they are like.

    Attributes
    ----------
    key : str
    """

    key: str = field(kw_only=True)

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
        return [Path(f.path) for f in self.some_files(self.location.files_used)]

    @cached_property
    def location(self) -> Location:
        """Where each train lies; nowhere in files that lack the key, with a warning."""
        found = self.located(self.index_group)
        name, what = self.hdf5_data_path, f"{self.key!r} of {self.source}"
        lacking = [
            i for i in found.files_used if header(self.all_files[i], name) is None
        ]
        if not lacking:
            return found
        files = [self.all_files[i] for i in lacking]
        say_absent(files, name, what, "its trains there have no data of it")
        return found.without(np.isin(found.file, lacking))

    @cached_property
    def headers(self) -> dict[str, Header]:
        """What the files with data of the selected trains say of the key.

        If there is none, what the first file with the key says.
        """
        used = self.location.files_used
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
        # The unit of slow data stands at the property, above its value.
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
        attrs = self.attrs_in(path)
        symbol = attrs.get("unitSymbol")
        if symbol is None:
            return None
        prefix = as_text(attrs.get("metricPrefixSymbol", ""))
        # Karabo writes micro as u.
        return ("μ" if prefix == "u" else prefix) + as_text(symbol)

    def plan(self, roi: object = ()) -> tuple[ReadPlan, tuple[int, ...]]:
        """Return the plan (entry, 1, ...) of the data, and which axes `roi` drops."""
        window, shape, dropped = entry_window(roi, self.entry_shape)
        where = self.location
        pattern, patterns = counted_patterns(where.count[where.order])
        name = self.hdf5_data_path
        files = [f.token() for f in self.all_files]
        plan = ReadPlan(
            read_rows=read_rows,
            targets=tuple((f.path, name) for f in self.all_files),
            target=where.file[where.order][:, None],
            first=where.first[where.order][:, None],
            pattern=pattern,
            patterns=patterns,
            slot_shape=(),
            entry=window,
            entry_shape=shape,
            n_inner=0,
            dtype=self.dtype,
            fill_value=0,  # stands nowhere: only rows that are there are planned
            flat=True,
            token=tokenize(files, name, self.ids, window),
            ids=self.ids[where.order],
            chunk=self.chunk,
        )
        return plan, dropped

    def read(self, roi: object = ()) -> NDArray[Any]:
        """Read the data; text comes as an object array of str."""
        plan, dropped = self.plan(roi)
        found = load(plan).squeeze((1, *(i + 1 for i in dropped)))
        if self.dtype == object:
            text = [as_text(x) for x in found.flat]
            found = np.array(text, object).reshape(found.shape)
        return found

    def in_train_order(self) -> NDArray[Any]:
        """Read the data, entries in the order of the trains, however a file has them.

        `read` keeps the order of a file within an unbroken stretch of it.
        """
        train = self.location.per_row(np.arange(len(self.ids)))
        return self.read()[np.argsort(train, kind="stable")]


def counted_patterns(counts: NDArray[Any]) -> tuple[NDArray[np.int64], Patterns]:
    """Return the pattern of each train when all its entries are taken in order."""
    distinct, pattern = np.unique(counts, return_inverse=True)
    inside = [np.arange(n) for n in distinct]
    offset = np.concatenate(inside) if inside else np.zeros(0, np.int64)
    ptr = np.concatenate([[0], np.cumsum(distinct)]).astype(np.int64)
    return pattern.reshape(-1), Patterns(ptr, offset, offset)
