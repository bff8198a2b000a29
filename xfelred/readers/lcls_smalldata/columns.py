"""What the datasets of a small-data file are, by their names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from xfelred.errors import BrokenFileError, InconsistentDataError, listing, warn
from xfelred.hdf5 import Dataset, Unreadable
from xfelred.hdf5.remembered import Facts, kept_dtype, remembered
from xfelred.readers.lcls_smalldata.ids import KEPT, Flavour, root

INTG = "intg"
SUMS = "Sums"
CONSTANTS = "UserDataCfg"
DAMAGE = "damage"
TABLE = re.compile(r"(^|/)(var|ragged)_")
LENGTH = re.compile(r"(.*/var_[^/]*)_len")
# Groups whose datasets do not have a row for every event.
APART = (SUMS, CONSTANTS, "epics_archiver", INTG)
IMAGE_KEYS = ("calib", "full_area", "full", "raw")
# From the writers' documentation: ebeam and gas_detector as in the beam-line data,
# times of the time tool in ps, motors of the laser stage (lxt) in seconds.
UNITS_OF = {
    "*/FLTPOS_PS": "ps",
    "*/fltpos_ps": "ps",
    "*/ttCorr": "ps",
    "tt/FLTPOS": "pixel",
    "tt/FLTPOSFWHM": "pixel",
    "tt/fltpos": "pixel",
    "tt/fltposfwhm": "pixel",
    "scan/lxt*": "s",
    "epics/lxt*": "s",
    "ebeam/photon_energy": "eV",
    "ebeam/L3_energy": "MeV",
    "ebeam/charge": "nC",
    "gas_detector/*": "mJ",
    "phase_cav/fit_time_*": "ps",
    "phase_cav/charge_*": "pC",
}


class Stored(NamedTuple):
    """A dataset of one file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]


@dataclass(frozen=True)
class Column:
    """One dataset of a run, which may be in several files."""

    name: str
    shape: tuple[int, ...]  # in the first file that has it, as is `chunk`
    dtype: np.dtype[Any]  # one that holds what all files have
    chunk: tuple[int, ...]  # empty where it lies in one piece
    rows: tuple[int, ...]  # in each file; -1: that file lacks it

    @property
    def source(self) -> str:
        return self.name.partition("/")[0]

    @property
    def owner(self) -> str:
        """The detector that it belongs to."""
        return self.name.rpartition("/")[0]

    @property
    def is_table(self) -> bool:
        """Whether it is (a field of) a table with several entries per event."""
        return TABLE.search(self.name) is not None

    def fits(self, n_rows: tuple[int, ...]) -> bool:
        """Whether it has a row for each of so many events of each file."""
        pairs = zip(self.rows, n_rows, strict=True)
        return bool(self.shape) and all(have in (-1, n) for have, n in pairs)


def list_columns(paths: list[str]) -> dict[str, Column]:
    """Return every dataset of some files by name, sorted."""
    shapes: dict[str, list[tuple[int, ...] | None]] = {}
    first: dict[str, Stored] = {}
    kinds: dict[str, dict[np.dtype[Any], str]] = {}  # a file for every dtype
    for i, path in enumerate(paths):
        for name, dataset in stored_in(path).items():
            known = shapes.setdefault(name, [None] * len(paths))
            known[i] = dataset.shape
            kinds.setdefault(name, {}).setdefault(dataset.dtype, path)
            first.setdefault(name, dataset)
    found = {}
    for name in sorted(first):
        check_alike(name, shapes[name], paths)
        rows = tuple(-1 if s is None else (s[0] if s else 0) for s in shapes[name])
        d = first[name]
        dtype = common_dtype(name, kinds[name])
        found[name] = Column(name, d.shape, dtype, d.chunks, rows)
    return found


def common_dtype(name: str, kinds: dict[np.dtype[Any], str]) -> np.dtype[Any]:
    """Return a dtype that holds what all parts of a run have."""
    dtypes = list(kinds)
    if len(dtypes) == 1:
        return dtypes[0]
    if all(d.kind in "biuf" for d in dtypes):
        out = np.result_type(*dtypes)
        whole = [d for d in dtypes if d.kind in "iu"]
        # Floats of the same width do not hold all of the integers.
        fits = out.kind != "f" or all(d.itemsize < out.itemsize for d in whole)
        if fits or name.startswith((CONSTANTS, SUMS)):
            return out
    elif len({d.kind for d in dtypes}) == 1:
        return dtypes[0]
    seen = ", ".join(f"{d} in {path}" for d, path in kinds.items())
    raise InconsistentDataError(
        f"{name} has types that do not go together in parts of one run: {seen}"
    )


def check_alike(
    name: str, shapes: list[tuple[int, ...] | None], paths: list[str]
) -> None:
    """Raise InconsistentDataError if parts of a run differ in more than their rows."""
    tails = {s[1:] for s in shapes if s is not None}
    if len(tails) > 1 and not name.startswith((CONSTANTS, SUMS)):
        raise InconsistentDataError(
            f"{name} has different shapes in parts of one run: {shapes} in"
            f" {listing(paths, 3)}"
        )


def stored_in(path: str) -> dict[str, Stored]:
    """Return every dataset of a file that can be read, from the user's cache."""

    def find() -> Facts:
        return {
            name: [d.shape, kept_dtype(d.dtype), d.chunks]
            for name, d in datasets_in(path)
        }

    return {
        name: Stored(tuple(shape), np.dtype(dtype), tuple(chunks))
        for name, (shape, dtype, chunks) in remembered(
            path, f"{KEPT} datasets", find
        ).items()
    }


def datasets_in(path: str) -> Iterator[tuple[str, Dataset]]:
    """Yield (name, dataset) of every dataset of a file; say which cannot be read."""
    lost: dict[str, str] = {}
    for name, item in root(path).walk():
        try:
            if isinstance(item, Unreadable):
                raise item.error
            item.dtype  # noqa: B018 - raises where numpy has none such
        except BrokenFileError as error:
            lost[name] = str(error)
        else:
            yield name, item
    if lost:
        warn(
            f"{len(lost)} datasets of {path} cannot be read and are left out:"
            f" {listing(lost)}. The first: {next(iter(lost.values()))}"
        )


def check_rows(
    columns: dict[str, Column], flavour: Flavour, n_rows: tuple[int, ...], path: str
) -> None:
    """Raise InconsistentDataError if no dataset has as many rows as there are events.

    Single ones that do not are left out; that all differ shows a broken file.
    """
    others = [c for c in columns.values() if is_event_like(c.name, c.shape, flavour)]
    if others and not any(c.fits(n_rows) for c in others):
        lengths = sorted({c.shape[0] for c in others})
        raise InconsistentDataError(
            f"{path} has {sum(n_rows)} rows of {flavour.column}, but its data have"
            f" {listing(lengths)} rows: the ID column does not belong to them, or the"
            " writer did not finish"
        )


def is_event_like(name: str, shape: tuple[int, ...], flavour: Flavour) -> bool:
    """Return whether the name of a dataset says that it has one row per event."""
    apart = name.partition("/")[0] in APART or name in flavour.names
    return not (apart or TABLE.search(name)) and bool(shape)


def units_of(column: str) -> str:
    """Return the unit that the name of a column tells, 1 if none."""
    name = column.removeprefix("intg/")
    return next((u for g, u in UNITS_OF.items() if fnmatchcase(name, g)), "1")
