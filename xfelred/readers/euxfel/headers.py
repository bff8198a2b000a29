"""Dtype and shape of a dataset in each of its files: none of them speaks for the run.

Cameras get another region of interest, vectors another length and keys come and go
while a run is recorded. So every file is asked, once, before anything is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xfelred.errors import InconsistentDataError, listing, warn
from xfelred.hdf5 import AnyDataset, find_dataset
from xfelred.readers.euxfel.files import FileIndex

NUMBERS = "biufc"  # kinds of dtypes: bool, integers, floats, complex
Shape = tuple[int, ...]
Stored = tuple[np.dtype[Any], Shape]


@dataclass(frozen=True)
class Header:
    """What one file says of a dataset: an entry and its dtype, object for text."""

    dtype: np.dtype[Any]
    shape: Shape
    chunk: Shape


def dataset_name(source: str, key: str) -> str:
    """Return where the data of a key of an instrument source are in a file."""
    return f"INSTRUMENT/{source}/{key.replace('.', '/')}"


def header(file: FileIndex, name: str) -> Header | None:
    """Return the header of a dataset of one file, None if the file has none."""
    # Kept with the file: of thousands of files every look costs an open.
    if name not in file.headers:
        found = find_dataset(file.path, name)
        file.headers[name] = None if found is None else header_of(found)
    return file.headers[name]


def header_of(dataset: AnyDataset) -> Header:
    dtype = np.dtype(object) if dataset.is_text else dataset.dtype
    return Header(dtype, dataset.shape[1:], dataset.chunks)


def common(found: Mapping[str, Header], what: str, *, one_axis: bool = True) -> Stored:
    """Return the dtype and entry shape that hold the data of all files unchanged.

    `found` is by file and not empty; if nothing holds all, the error says `what`
    differs and names two of the files. With `one_axis` a first axis of length 1, which
    only some of the files have, is none.
    """
    (first_path, first), *rest = found.items()
    dtype, shape = first.dtype, first.shape
    for path, other in rest:
        if (other.dtype, other.shape) == (dtype, shape):
            continue
        wide = exact_type(dtype, other.dtype)
        same = same_shape(shape, other.shape, one_axis)
        if wide is None or same is None:
            raise InconsistentDataError(
                f"{what} is not stored alike in all files: {in_words(first)} in"
                f" {first_path}, {in_words(other)} in {path}. Take the trains or"
                " modules of one kind: select_trains(by_id[...]), modules="
            )
        dtype, shape = wide, same
    return dtype, shape


def in_words(one: Header) -> str:
    dtype = "text" if one.dtype == object else one.dtype
    return f"{dtype} {one.shape}"


def same_shape(one: Shape, other: Shape, one_axis: bool) -> Shape | None:
    """Return the shape that both stand for, None if they are two."""
    if one == other:
        return one
    short, long = sorted((one, other), key=len)
    return short if one_axis and long == (1, *short) else None


def exact_type(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the dtype that numpy gives to both, None if it cannot hold them exactly.

    numpy itself calls the way from int64 to float64 safe; it is not beyond 2**53.
    """
    if one == other:
        return one
    alike = one.kind == other.kind and one.kind in "SU"
    if not alike and not {one.kind, other.kind} <= set(NUMBERS):
        return None
    both = np.result_type(one, other)
    return both if holds(both, one) and holds(both, other) else None


def holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Return whether a dtype has every value of another one."""
    if wide.kind not in "fc" or narrow.kind not in "iu":
        return True
    digits = narrow.itemsize * 8 - (narrow.kind == "i")  # one bit is the sign
    return digits <= np.finfo(wide).nmant + 1


def say_absent(files: Iterable[FileIndex], name: str, what: str, then: str) -> None:
    """Warn, once for a file, that it lacks the dataset `name` which others have.

    The warning says `what` is missing, and what follows `then`.
    """
    new = [f for f in files if name not in f.said]
    for file in new:
        file.said.add(name)
    if new:
        paths = listing((f.path for f in new), 3)
        warn(f"{what} is not in {paths}; {then}")
