"""Every object of a file: can it be opened, was it ever written, is it long enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from xfelred.checks.findings import Finding, fault, suspect
from xfelred.errors import BrokenFileError, MissingFileError
from xfelred.hdf5 import Dataset, Unreadable, open_file
from xfelred.readers.lcls_smalldata.columns import is_event_like
from xfelred.readers.lcls_smalldata.ids import FLAVOURS
from xfelred.readers.sacla.events import TAG_LIST
from xfelred.readers.sacla.files import EVENTS

# Values of a dataset that is worth a word if nothing was written: many small ones, of
# which nobody uses the values, are declared only.
FRAMES = 1 << 16
# What HDF5, and we, say of a file that is too short.
CUT_OFF = ("truncated", "eof", "shorter", "cut off")


@dataclass(frozen=True)
class Header:
    """What the header of a dataset says."""

    shape: tuple[int, ...]
    dtype: str
    virtual: bool = False

    @property
    def entry(self) -> tuple[tuple[int, ...], str]:
        """What all rows have in common."""
        return self.shape[1:], self.dtype


@dataclass(frozen=True)
class FileFacts:
    """One file: the headers of its datasets, and what is wrong with them."""

    path: str
    size: int = 0
    opened: bool = False
    headers: dict[str, Header] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def look_at_file(path: str) -> FileFacts:
    headers: dict[str, Header] = {}
    found: list[Finding] = []
    try:
        size = os.stat(path).st_size
        with open_file(path) as root:
            for name, item in root.walk(dead_links=True):
                try:
                    header = header_of(item)
                except BrokenFileError as error:
                    found.append(unreadable(path, name, error))
                    continue
                headers[name] = header
                found += unwritten(path, name, item, header)
    except (BrokenFileError, MissingFileError, OSError) as error:
        text = str(error)
        cut = any(word in text.lower() for word in CUT_OFF)
        kind = "truncated file" if cut else "unreadable file"
        return FileFacts(path, findings=[*found, fault(kind, text, file=path)])
    if not headers:
        found.append(suspect("empty file", "there is no dataset in it", file=path))
    return FileFacts(path, size, True, headers, found)


def header_of(item: Dataset | Unreadable) -> Header:
    if isinstance(item, Unreadable):
        raise item.error
    if item.elsewhere:
        item.check_sources()
    return Header(item.shape, str(item.dtype), item.elsewhere)


def unwritten(
    path: str, name: str, item: Dataset | Unreadable, header: Header
) -> Iterator[Finding]:
    """Yield a finding for rows that were promised and never written."""
    if isinstance(item, Unreadable) or header.virtual or 0 in header.shape:
        return
    try:
        if prod(header.shape) >= FRAMES and not item.stored_bytes:
            text = f"{header.dtype} {header.shape} has no bytes in the file"
            rows = header.shape[0]
            yield suspect("never written", text, file=path, object=name, count=rows)
    except BrokenFileError as error:
        yield unreadable(path, name, error)


def unreadable(path: str, name: str, error: BrokenFileError) -> Finding:
    return fault("unreadable object", str(error), file=path, object=name)


def tables_of(file: FileFacts) -> Iterator[Finding]:
    """Yield columns of SACLA and LCLS small data without a row for every shot."""
    headers = file.headers
    tables = {n.partition(f"/{EVENTS}/")[0] for n in headers if f"/{EVENTS}/" in n}
    for run in sorted(tables):
        yield from event_table(file, f"{run}/{EVENTS}/")
    flavour = next((f for f in FLAVOURS if headers.keys() >= {*f.names}), None)
    if flavour is not None:
        names = [n for n, h in headers.items() if is_event_like(n, h.shape, flavour)]
        yield from lengths(file, flavour.column, names)


def event_table(file: FileFacts, table: str) -> Iterator[Finding]:
    names = [n for n in file.headers if n.startswith(table)]
    if table + TAG_LIST in names:
        yield from lengths(file, table + TAG_LIST, names)
        return
    text = f"no {TAG_LIST} says which shots the {len(names)} columns belong to"
    yield fault("no index", text, file=file.path, object=table.rstrip("/"))


def lengths(file: FileFacts, ids: str, names: list[str]) -> Iterator[Finding]:
    """Yield columns that are not as long as the IDs of their shots."""
    rows = file.headers[ids].shape[:1]
    for name in names:
        own = file.headers[name].shape[:1]
        if own != rows:
            text = f"it has {own[0] if own else 'no'} rows, {ids} has {rows[0]}"
            yield fault("column length", text, file=file.path, object=name)
