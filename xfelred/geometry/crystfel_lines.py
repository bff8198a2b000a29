"""Lines of a CrystFEL geometry file: sorted, with their numbers, and what they mean.

Format: manual page crystfel_geometry(5), https://www.desy.de/~twhite/crystfel.
A line is ``parameter = value`` or ``panel/parameter = value``; ``;`` starts a comment.
A value without a panel is the default of the panels that are first named after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xfelred.errors import InconsistentDataError, listing
from xfelred.geometry.panels import Vector

# Values that belong to the beam or the whole file, never to a panel.
GLOBAL_KEYS = frozenset(
    {
        "photon_energy",
        "wavelength",
        "electron_voltage",
        "bandwidth",
        "photon_energy_bandwidth",
        "peak_list",
        "peak_list_type",
        "peak_info_location",
        "detector_shift_x",
        "detector_shift_y",
    }
)
LENGTH_UNITS = {"": 1.0, "m": 1.0, "mm": 1e-3}
ENERGY_UNITS = {"": 1.0, "ev": 1.0, "kev": 1e3, "mev": 1e6}
WAVELENGTH_UNITS = {"m": 1e10, "a": 1.0}
DIM = re.compile(r"dim\d+")
NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)")
TERM = re.compile(r"([-+]*)((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)?\*?([xyz])")


@dataclass(frozen=True)
class Entry:
    """A value and the line that it stands on."""

    text: str
    line: int


@dataclass
class Sections:
    """The lines of a file, sorted by what they describe."""

    path: str
    defaults: dict[str, Entry] = field(default_factory=dict)
    panels: dict[str, dict[str, Entry]] = field(default_factory=dict)
    bad: dict[str, dict[str, Entry]] = field(default_factory=dict)
    top: dict[str, Entry] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    collections: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def fail(self, line: int, message: str) -> InconsistentDataError:
        """Return the error that names the file and the line."""
        where = f"{self.path}, line {line}" if line else self.path
        return InconsistentDataError(f"{where}: {message}")

    def number(self, entry: Entry, name: str) -> float:
        try:
            return float(entry.text)
        except ValueError:
            raise self.fail(
                entry.line, f"{name} = {entry.text!r}; wanted a number"
            ) from None

    def integer(self, entry: Entry, name: str) -> int:
        """Return a whole number; old files write pixel limits as ``127.0``."""
        value = self.number(entry, name)
        if value != int(value):
            raise self.fail(entry.line, f"{name} = {entry.text!r}; wanted an integer")
        return int(value)

    def quantity(
        self, entry: Entry, name: str, units: Mapping[str, float]
    ) -> float | None:
        """Return a number with a unit in units of 1, or None for a path in the data."""
        match = NUMBER.fullmatch(entry.text)
        if match is None:
            if entry.text.startswith("/") or entry.text.startswith("$"):
                return None
            raise self.fail(
                entry.line,
                f"{name} = {entry.text!r}; wanted a number or a path in the data file",
            )
        unit = match[2].lower()
        if unit not in units:
            raise self.fail(
                entry.line, f"{name} has unit {match[2]!r}; known: {listing(units)}"
            )
        return float(match[1]) * units[unit]


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Return (number, content) of the lines that are not empty, without comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition(";")[0].strip()
        if content:
            yield number, content


def sorted_lines(path: str, text: str) -> Sections:
    out = Sections(path)
    for number, line in lines_of(text):
        left, equals, right = (part.strip() for part in line.partition("="))
        if not equals or not left or not right:
            raise out.fail(number, f"{line!r} is not of the form 'name = value'")
        owner, slash, key = (part.strip() for part in left.rpartition("/"))
        entry = Entry(right, number)
        if not slash:
            add_top_level(out, key, entry)
        elif owner.startswith("bad"):
            out.bad.setdefault(owner, {})[key] = entry
        else:
            # Copied when a panel is first named: later defaults do not reach it.
            out.panels.setdefault(owner, dict(out.defaults))[key] = entry
    return out


def add_top_level(out: Sections, key: str, entry: Entry) -> None:
    members = tuple(m.strip() for m in entry.text.split(",") if m.strip())
    for prefix, table in (
        ("rigid_group_collection_", out.collections),
        ("rigid_group_", out.groups),
        ("group_", out.groups),
    ):
        if key.startswith(prefix):
            table[key.removeprefix(prefix)] = members
            return
    (out.top if key in GLOBAL_KEYS else out.defaults)[key] = entry


def direction(sections: Sections, entry: Entry | None, default: Vector) -> Vector:
    """Return the vector of text such as ``-0.002x +1.0y +0.01z``, in pixels."""
    if entry is None:
        return default
    text = "".join(entry.text.split()).lower()
    total = {"x": 0.0, "y": 0.0, "z": 0.0}
    end = 0
    for match in TERM.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        sign = -1.0 if match[1].count("-") % 2 else 1.0
        total[match[3]] += sign * float(match[2] or 1.0)
    if not text or end != len(text):
        raise sections.fail(
            entry.line,
            f"{entry.text!r} is not a direction; wanted for example '-0.002x +1.0y'",
        )
    return total["x"], total["y"], total["z"]
