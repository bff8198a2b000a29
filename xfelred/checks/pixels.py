"""Values, read to see whether they can be: some of every dataset, or all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from xfelred.checks.findings import FAULT, WARNING, Finding
from xfelred.checks.structure import Header
from xfelred.errors import BrokenFileError
from xfelred.hdf5 import Dataset, Group, open_file

AT_ONCE = 32 << 20  # bytes
SAMPLES = 3  # blocks of a dataset: the first, one in the middle, the last


def read_values(
    path: str, headers: Mapping[str, Header], how: str
) -> Iterator[Finding]:
    """Yield datasets with values that cannot be read; `how` is "sample" or "all"."""
    with open_file(path) as root:
        for name, header in headers.items():
            if not header.shape or 0 in header.shape:
                continue
            read = values_of(root, name, header, how)
            for kind, severity, text, count in read.said():
                yield Finding(kind, severity, text, path, name, count)


@dataclass
class ReadRows:
    """What was found in the values of a dataset, counted in rows."""

    rows: int = 0
    lost: int = 0
    problem: str = ""
    no_numbers: int = 0
    all_masked: int = 0

    def said(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield (kind, severity, text, count) of what is wrong with them."""
        if self.lost:
            text = f"{self.lost} rows at least: {self.problem}"
            yield "unreadable values", FAULT, text, self.lost
        if self.no_numbers:
            text = f"{self.no_numbers} rows that were read have no number at all"
            yield "no numbers", WARNING, text, self.no_numbers
        if self.all_masked and self.all_masked == self.rows:
            text = f"all pixels are masked in the {self.rows} rows that were read"
            yield "mask", WARNING, text, self.rows


def values_of(root: Group, name: str, header: Header, how: str) -> ReadRows:
    read = ReadRows()
    # Elsewhere a mask may say which pixels are good.
    is_mask = name.startswith("INSTRUMENT/") and name.endswith("/mask")
    is_mask &= len(header.shape) > 2
    for block in blocks(header, how):
        try:
            stored = root[name]
            values = np.asarray(stored[block] if isinstance(stored, Dataset) else 0)
        except BrokenFileError as error:
            read.lost += block.stop - block.start
            read.problem = str(error)
            continue
        read.rows += block.stop - block.start
        axes = tuple(range(1, values.ndim))
        if axes and values.dtype.kind == "f":
            read.no_numbers += int((~np.isfinite(values)).all(axis=axes).sum())
        if is_mask:
            read.all_masked += int((values != 0).all(axis=axes).sum())
    return read


def blocks(header: Header, how: str) -> Iterator[slice]:
    """Yield the rows that are read together."""
    n, rest = header.shape[0], prod(header.shape[1:])
    size = np.dtype(header.dtype).itemsize if header.dtype != "object" else 64
    step = max(1, AT_ONCE // max(rest * size, 1))
    if how == "sample":
        step = max(1, min(step, AT_ONCE // 16 // max(rest * size, 1)))
    starts = np.arange(0, n, step)
    if how == "sample":
        starts = starts[np.unique(np.linspace(0, len(starts) - 1, SAMPLES).astype(int))]
    for start in starts.tolist():
        yield slice(start, min(start + step, n))
