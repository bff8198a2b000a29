"""Values per shot of a SACLA run, joined by tag."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import (
    BrokenFileError,
    MissingConstantError,
    PropertyNameError,
    did_you_mean,
    listing,
)
from xfelred.hdf5 import open_group
from xfelred.hdf5.objects import say_lost
from xfelred.names import (
    BEAM,
    IN_EVENT_TABLE,
    LASER_ON,
    LONG_NAME,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
    TRAIN,
    UNITS,
)
from xfelred.provenance import record
from xfelred.readers.left_out import as_attrs, as_params
from xfelred.readers.sacla.events import TAG_LIST, first_column, first_with_one_each
from xfelred.readers.sacla.files import TagGroup, Tags
from xfelred.readers.sacla.places import ALIASES, is_alias, known_places, units_of
from xfelred.readers.sacla.run_data import RunData
from xfelred.readers.selection import listed_keys

FLAGS = {
    "darks": "the X-ray shutter was closed",
    "lit": "shutter open and beam there",
    "pumped": "lit, with the pump laser on",
}


def scalars(
    run: RunData, keys: Sequence[str], missing_keys: str = "raise"
) -> xr.Dataset:
    """Return values per shot; see `Run.scalars`."""
    keys = listed_keys(keys)
    found: dict[str, xr.DataArray] = {}
    for key in keys:
        try:
            found |= {name: one(run, name) for name in named(run, str(key))}
        except PropertyNameError:
            if missing_keys == "raise":
                raise
    out = xr.Dataset(found, coords={TRAIN: run.event_ids})
    out[TRAIN].attrs = {UNITS: "1", LONG_NAME: "tag number"}
    out.attrs |= as_attrs(run.left_out)
    return record(out, "scalars", keys=list(found), **as_params(run.left_out))


def named(run: RunData, key: str) -> list[str]:
    """Return the columns that a glob stands for; any other key as it is."""
    if not set(key) & set("*?[") or key in run.columns:
        return [key]
    columns = [c for c in run.columns if c != TAG_LIST]
    found = [c for c in columns if fnmatchcase(c, key)]
    if not found:
        raise PropertyNameError(
            f"nothing in {run.events.group} of {run.events.path} fits {key!r}."
            f" There are {listing(columns, 12)}"
        )
    return found


def one(run: RunData, name: str) -> xr.DataArray:
    """Return the values that a path or an alias names."""
    group, _, key = name.partition("/")
    for spec in run.specs.values():
        for part in spec.groups:
            if part.name == group and key:
                values = tag_values(part, key, run.event_ids)
                return on_tags(run, values, name, name)
    return event(run, column_of(run, name), name)


def column_of(run: RunData, name: str) -> str:
    if name == TAG_LIST:
        raise PropertyNameError(f"{TAG_LIST} is the coordinate {TRAIN!r} of all values")
    events, alias = run.events, is_alias(name)
    places = known_places(name)
    one = alias and name not in events.columns
    found = (first_with_one_each if one else first_column)(events, places)
    if found is not None and found in run.columns:
        return found
    if alias:
        raise PropertyNameError(
            f"no column for {name!r} in {events.group} of {run.events.path}; looked for"
            f" {listing(places[1:])}. There are {listing(run.columns, 12)}"
        )
    known = [*run.columns, *ALIASES]
    raise PropertyNameError(
        f"no {name!r} in {events.group} of {run.events.path}."
        f"{did_you_mean(name, known)} There are"
        f" {listing(run.columns, 12)}, and the names {listing(ALIASES, 12)}"
    )


def event(run: RunData, column: str, name: str) -> xr.DataArray:
    """Return one column of the event table at the selected tags, as in the file."""
    keep = np.isin(run.events.tags, run.event_ids)
    return on_tags(run, run.events.select(keep).values(column), column, name)


def on_tags(run: RunData, values: NDArray[Any], column: str, name: str) -> xr.DataArray:
    """Return values on the selected tags of the event table."""
    extra = [f"{name}_{i}" for i in range(1, values.ndim)]
    attrs = {
        UNITS: units_of(column),
        LONG_NAME: column.replace("/", " "),
        "column": column,
    }
    coords = {TRAIN: run.event_ids}
    return xr.DataArray(values, coords, (TRAIN, *extra), name=name, attrs=attrs)


def flags(run: RunData, which: str) -> xr.DataArray:
    """Return which shots are dark, lit or pumped: bool (train,)."""
    shots = run.shots.of(run.ids)
    needed = (SHUTTER_OPEN, LASER_ON) if which == "pumped" else (SHUTTER_OPEN,)
    for name in needed:
        if name not in shots:
            raise not_told(run, name)
    known = shots[IN_EVENT_TABLE] | (len(run.events.tags) == 0)
    known &= shots[SHUTTER_KNOWN]
    opened = shots[SHUTTER_OPEN]
    values = known & ~opened
    if which != "darks":
        values = known & opened & shots.get(BEAM, np.ones(len(opened), bool))
    if which == "pumped":
        values = values & shots[LASER_ON]
    attrs = {UNITS: "1", LONG_NAME: FLAGS[which], "told_by": run.shots.told_by}
    return xr.DataArray(values, {TRAIN: run.ids}, (TRAIN,), name=which, attrs=attrs)


def not_told(run: RunData, name: str) -> MissingConstantError:
    if name == LASER_ON:
        return MissingConstantError(
            f"{run.run_id} has no status of the pump laser; looked for"
            f" {listing(known_places('laser_status')[1:])}. There are"
            f" {listing(run.columns, 12)}"
        )
    return MissingConstantError(
        f"{run.run_id} does not tell which shots are dark; looked for"
        f" {listing(known_places('shutter_status')[1:])}. Say how many shots at the"
        " head of the run are: open_run(path, dark_first=50), or tell them by their"
        " intensity: open_run(path, dark_below=1.0)"
    )


def tag_values(group: TagGroup, key: str, ids: Tags) -> NDArray[np.float64]:
    """Return a number that is stored with every image, NaN where there is none."""
    out = np.full(len(ids), np.nan)
    for piece in group.pieces:
        here = open_group(piece.file, piece.path)
        if here is None:
            continue
        lost = {}
        for i in np.flatnonzero(np.isin(ids, piece.tags)).tolist():
            name = f"{piece.tag_name(ids[i])}/{key}"
            try:
                found = here.dataset(name)
                if found is not None and found.size == 1 and found.dtype.kind in "iuf":
                    out[i] = float(np.asarray(found[()]).ravel()[0])
            except BrokenFileError as error:
                lost[name] = error
        say_lost(here, lost)
    return out
