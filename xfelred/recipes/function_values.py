"""What functions of recipes are given, and what they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, NamedTuple

import xarray as xr

from xfelred.geometry import Geometry
from xfelred.names import PULSE, TRAIN
from xfelred.recipes.sources import Source

SHOTS = (TRAIN, PULSE)


class GeometryFile(NamedTuple):
    """A file that a function names; what computes does not need it any more."""

    geometry: Geometry
    source: Source


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of the pixels of a detector, as far as functions need it."""

    constants: xr.Dataset  # some of x, y, z, ix, iy
    noise: xr.DataArray | None = None  # in units of the frames
    bad: xr.DataArray | None = None
    files: Mapping[str, GeometryFile] = field(default_factory=dict)  # as recipes say
    compat: bool = False  # all is to be as in smalldata_tools
    token: str = field(default_factory=lambda: token_hex(16))


def sources_of(facts: Iterable[Facts]) -> set[Source]:
    """Return all files that functions name."""
    return {file.source for known in facts for file in known.files.values()}


@dataclass(frozen=True, eq=False)
class Given:
    """What a function works on."""

    array: xr.DataArray
    facts: Facts
    called: str  # full name of the function, such as droplet_d2p
    has_below: bool = False  # functions of its result
    entries: xr.Dataset | None = None  # what the function above has found in `array`
    found_with: Mapping[str, Any] = field(default_factory=dict)  # its parameters
    shots: tuple[str, ...] = SHOTS  # dims that are not of a frame


@dataclass(frozen=True, eq=False)
class Entries:
    """Any number of entries of every shot, padded with NaN along one dim."""

    fields: Mapping[str, xr.DataArray]  # (train[, pulse], entry)
    ragged: bool = False  # stored as arrays of many lengths, else in one with lengths


Value = xr.DataArray | Entries


class Made(NamedTuple):
    """Values by the end of their name, and what the functions below work on."""

    values: dict[str, Value]
    below: Given | None
