"""SACLA and LCLS small data: columns that do not have a row for every shot."""

from __future__ import annotations

from collections.abc import Iterator

from xfelred.checks.findings import Finding, fault
from xfelred.checks.structure import FileFacts
from xfelred.readers.lcls_smalldata.columns import is_event_like
from xfelred.readers.lcls_smalldata.ids import FLAVOURS
from xfelred.readers.sacla.events import TAG_LIST
from xfelred.readers.sacla.files import EVENTS


def tables_of(file: FileFacts) -> Iterator[Finding]:
    """Yield what is wrong with the tables of shots of a file, from its headers."""
    headers = file.headers
    tables = {n.partition(f"/{EVENTS}/")[0] for n in headers if f"/{EVENTS}/" in n}
    for run in sorted(tables):
        yield from event_table(file, f"{run}/{EVENTS}/")
    flavour = next((f for f in FLAVOURS if headers.keys() >= {*f.names}), None)
    if flavour is not None:
        names = [n for n, h in headers.items() if is_event_like(n, h.shape, flavour)]
        yield from lengths(file, flavour.column, names)


def event_table(file: FileFacts, table: str) -> Iterator[Finding]:
    """Yield what is wrong with the event table of a SACLA run."""
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
