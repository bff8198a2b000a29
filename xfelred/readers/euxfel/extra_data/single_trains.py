"""Detectors train by train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import xarray as xr

from xfelred.errors import InconsistentDataError
from xfelred.names import MODULE
from xfelred.readers.euxfel.extra_data.frame_keys import FrameKeyData, key_of
from xfelred.readers.euxfel.module_data import ModuleData

Modules = TypeVar("Modules", bound=ModuleData)


def by_train(
    detector: Modules,
    require_all: bool,
    read: Callable[[Modules, str, list[int]], xr.DataArray],
) -> Iterator[tuple[int, dict[str, xr.DataArray]]]:
    """Yield (train ID, {key: array}), of modules with data in the train.

    `read` takes the detector for one train, a key, and the positions of these modules.
    """
    some = complete_trains(detector, require_all)
    entries = detector.data.entries
    keys = sorted(set().union(*(entries[s].keys() for s in detector.source_to_modno)))
    for tid in some.ids:
        one = some.with_ids(np.array([tid], np.uint64))
        here = {k: np.flatnonzero(one.key_table(k).count[0] > 0).tolist() for k in keys}
        yield int(tid), {k: read(one, k, at) for k, at in here.items() if at}


def complete_trains(detector: Modules, require_all: bool) -> Modules:
    """Return the detector for trains in which all modules have data of every group."""
    if not require_all:
        return detector
    entries = detector.data.entries
    groups = {g for s in detector.source_to_modno for g in entries[s].groups}
    keep = np.ones(len(detector.ids), bool)
    for group in groups:
        keep &= (detector.table(group).count > 0).all(axis=1)
    return detector.with_ids(detector.ids[keep])


def listed_modules(detector: ModuleData, key: str) -> list[int]:
    """Return the positions of the modules with a key in files with the only train."""
    entries, group = detector.data.entries, key.partition(".")[0]
    sources = enumerate(detector.source_to_modno)
    with_key = [(m, entries[s]) for m, s in sources if key in entries[s]]
    return [m for m, entry in with_key if entry.located(group).file[0] >= 0]


def frames_of_train(
    one: ModuleData, key: str, here: list[int], pulses: object
) -> xr.DataArray:
    """Read a per-pulse key of one train: (module, train[, gain], pulse, ...).

    `here` are the positions of the modules with data; others that a file lists come
    back too. NaN, and then floats of integers, where a module has no such pulse.
    Modules that differ in their pulse IDs are joined by these.
    """
    data = key_of(one.only(here), key)
    if not isinstance(data, FrameKeyData):
        return data.xarray().isel(trainId=0, drop=True)
    try:
        array = data.select_pulses(pulses).xarray(unstack_pulses=True)
    except InconsistentDataError:  # each module by itself, then joined
        own = (FrameKeyData(one.only([m]), key, pulses=pulses) for m in here)
        arrays = [data.xarray(unstack_pulses=True) for data in own]
        array = xr.concat(arrays, MODULE, join="outer", combine_attrs="override")
    if len(here) == len(one.modules):
        return array
    places = {*here, *listed_modules(one, key)}
    return array.reindex({MODULE: [one.modules[m] for m in sorted(places)]})
