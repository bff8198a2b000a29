"""What a check finds, and all of it together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dask.utils import format_bytes

from xfelred.errors import printable, shortened

FAULT, WARNING = "fault", "warning"
LEFT_OUT = "left out"
MOST_LINES = 60  # of a table for people; a program gets everything
MOST_TEXT = 300  # characters; a finding is one line on a screen


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or suspicious.

    Attributes
    ----------
    kind : str
        Such as "unreadable file" or "index beyond data".
    severity : str
        "fault": data are lost or wrong; "warning": somebody should look.
    text : str
        What was found.
    file : str
        Path, empty if it concerns the run.
    object : str
        Name inside the file, or of a source or detector; may be empty.
    count : int
        How many trains, rows or values it concerns.
    """

    kind: str
    severity: str
    text: str
    file: str = ""
    object: str = ""
    count: int = 1

    def line(self) -> str:
        where = ": ".join(filter(None, (os.path.basename(self.file), self.object)))
        text = shortened(self.text, MOST_TEXT)
        head = f"{self.severity:<8}{self.kind:<20} {where or '-'}"
        return printable(f"{head}\n    {text}")


def fault(
    kind: str, text: str, *, file: str = "", object: str = "", count: int = 1
) -> Finding:
    return Finding(kind, FAULT, text, file, object, count)


def suspect(
    kind: str, text: str, *, file: str = "", object: str = "", count: int = 1
) -> Finding:
    return Finding(kind, WARNING, text, file, object, count)


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found.

    Attributes
    ----------
    source : str
        What was checked.
    facility, run_id : str
        Empty if the run cannot be opened.
    n_trains, n_files, n_bytes, n_datasets : int
        How much was looked at; bytes are those of the files.
    pixels : str or None
        Whether values were read: None, "sample" or "all".
    findings : tuple of Finding
        Faults first.
    """

    source: str
    facility: str
    run_id: str
    n_trains: int
    n_files: int
    n_bytes: int
    n_datasets: int
    pixels: str | None
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What is lost or wrong."""
        return tuple(f for f in self.findings if f.severity == FAULT)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What somebody should look at."""
        return tuple(f for f in self.findings if f.severity == WARNING)

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        found = [asdict(f) for f in self.findings]
        return {**asdict(self), "findings": found, "ok": self.ok}

    def lines(self) -> Iterator[str]:
        """Yield the lines of a table for a person."""
        name = " ".join(filter(None, (self.facility, self.run_id))) or "no run"
        values = {None: "", "sample": ", some values", "all": ", all values"}
        read = f"headers and indexes{values[self.pixels]}"
        yield printable(f"{self.source}: {name}, {self.n_trains} trains or shots")
        yield (
            f"{self.n_files} files, {format_bytes(self.n_bytes)}, {self.n_datasets}"
            f" datasets; read: {read}"
        )
        for found in self.findings[:MOST_LINES]:
            yield found.line()
        if len(self.findings) > MOST_LINES:
            yield f"... and {len(self.findings) - MOST_LINES} more (--json has all)"
        yield f"{len(self.faults)} faults, {len(self.warnings)} warnings"

    def __repr__(self) -> str:
        return "\n".join(["<xfelred.Report>", *self.lines()])


def collected(found: list[Finding]) -> tuple[Finding, ...]:
    """Return findings once each, faults first, else in their order.

    A file that is left out and of which more is known is not told twice.
    """
    known = {f.file for f in found if f.kind != LEFT_OUT}
    unique = dict.fromkeys(
        f for f in found if f.kind != LEFT_OUT or f.file not in known
    )
    return tuple(sorted(unique, key=lambda f: f.severity != FAULT))
