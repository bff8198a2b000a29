"""``get_array``, ``get_dask_array`` and ``trains`` of multi-module detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xfelred.errors import InconsistentDataError
from xfelred.names import CELL, FAST, MODULE, SLOW
from xfelred.readers.entry import entry_window
from xfelred.readers.euxfel.frame_axes import check_one_entry
from xfelred.readers.euxfel.frame_keys import FrameKeyData, short_label
from xfelred.readers.euxfel.module_keys import MultimodKeyData
from xfelred.readers.euxfel.module_plans import key_table

if TYPE_CHECKING:
    from xfelred.readers.euxfel.detector import Detector
    from xfelred.readers.euxfel.detectors import JUNGFRAU, XtdfDetector

TRAIN_AXIS = "train"
UNSTACKED = {"unstack_pulses": True}


def get_array(
    detector: XtdfDetector,
    key: str,
    pulses: Any,
    unstack_pulses: bool,
    fill_value: Any,
    subtrain_index: str,
    roi: Any,
    astype: Any,
) -> xr.DataArray:
    """Read one key of all modules.

    Parameters
    ----------
    detector : AGIPD1M, AGIPD500K, DSSC1M, LPD1M or LPDSolo
    key : str
        For example ``image.data``.
    pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``
        Pulses of each train; for per-pulse keys (``image.*``) only.
    unstack_pulses : bool
        Give trains and pulses an axis each.
    fill_value : scalar or None
        For modules without data; None: NaN for floats and 0 for others.
    subtrain_index : {"pulseId", "cellId"}
        What labels the frames of a train.
    roi : slice, int or tuple of these
        What to read of each entry.
    astype : dtype or None
        Cast to this while reading.

    Returns
    -------
    DataArray
        Per-pulse keys: (module, train[, gain], pulse, ...) or stacked
        (module, train_pulse, ...); others: (module, trainId, ...). Combinations of
        train and pulse that do not occur are NaN, and integers then become floats:
        float32 up to 16 bits, else float64, with a warning where that rounds.

    Raises
    ------
    PropertyNameError
        If the key is unknown.
    ValueError
        If an argument makes no sense, or labels are not unique in a train.
    """
    short_label(subtrain_index)
    data = detector.key_data(key)
    if not isinstance(data, FrameKeyData):
        return data.xarray(fill_value=fill_value, roi=roi, astype=astype)
    return data.select_pulses(pulses).xarray(
        fill_value=fill_value,
        roi=roi,
        astype=astype,
        subtrain_index=subtrain_index,
        unstack_pulses=unstack_pulses,
    )


def get_dask_array(
    detector: XtdfDetector, key: str, subtrain_index: str, fill_value: Any, astype: Any
) -> xr.DataArray:
    """Return one key of all modules as a lazy array.

    Per-pulse keys come stacked, (module, train_pulse, dim_0, ...), labelled by a
    multi-index of ``trainId`` and ``pulseId`` or ``cellId``, and keep the axis of
    length 1 that raw data have.
    """
    short_label(subtrain_index)
    data = detector.key_data(key)
    if not isinstance(data, FrameKeyData):
        return data.dask_array(labelled=True, fill_value=fill_value, astype=astype)
    lazy = data.lazy(fill_value, astype)
    if len(data.stored[1]) > len(data.entry_shape):
        lazy = lazy[:, :, np.newaxis]
    dims = [MODULE, "train_pulse", *(f"dim_{i}" for i in range(lazy.ndim - 2))]
    return data.stacked(lazy, dims, subtrain_index, ("trainId", subtrain_index))


def complete_trains(detector: Detector, require_all: bool) -> Detector:
    """Return the detector for trains in which all modules have data of every group."""
    if not require_all:
        return detector
    groups = {
        g for s in detector.source_to_modno for g in detector.data.entries[s].groups
    }
    keep = np.ones(len(detector.data.ids), bool)
    for group in groups:
        keep &= (detector.table(group).count > 0).all(axis=1)
    return detector.with_ids(detector.data.ids[keep])


def common_keys(detector: Detector) -> list[str]:
    """Return the keys of all sources, sorted."""
    keys: set[str] = set()
    for source in detector.source_to_modno:
        keys |= detector.data.entries[source].keys()
    return sorted(keys)


def present_modules(detector: Detector, key: str) -> list[int]:
    """Return the positions of the modules with data of a key in the only train."""
    return np.flatnonzero(key_table(detector, key).count[0] > 0).tolist()


def listed_modules(detector: Detector, key: str) -> list[int]:
    """Return the positions of the modules with a key in files with the only train."""
    entries, group = detector.data.entries, key.partition(".")[0]
    return [
        m for m, source in enumerate(detector.source_to_modno)
        if key in entries[source] and entries[source].location(group).file[0] >= 0
    ]  # fmt: skip


def trains(
    detector: XtdfDetector, pulses: Any, require_all: bool
) -> Iterator[tuple[int, dict[str, xr.DataArray]]]:
    """Yield (train ID, {key: array}); see `XtdfDetector.trains`."""
    some = complete_trains(detector, require_all)
    keys = common_keys(detector)
    for tid in some.data.ids:
        one = some.with_ids(np.array([tid], np.uint64))
        found = {}
        for key in keys:
            here = present_modules(one, key)
            if not here:
                continue
            if isinstance(one.only(here).key_data(key), FrameKeyData):
                array = frames_of_train(one, key, pulses, here)
            else:
                array = one.only(here).key_data(key).xarray().isel(trainId=0, drop=True)
            found[key] = array
        yield int(tid), found


def frames_of_train(
    one: XtdfDetector, key: str, pulses: Any, here: list[int]
) -> xr.DataArray:
    """Read a per-pulse key of one train.

    Parameters
    ----------
    one : XtdfDetector
        With one train.
    key : str
    pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``
    here : list of int
        Positions of the modules with data. Others that a file lists come back too.

    Returns
    -------
    DataArray (module, train[, gain], pulse, ...)
        NaN, and then floats of integers, where a module has no such pulse. Modules
        that differ in their pulse IDs are joined by these.
    """
    try:
        array = one.only(here).key_data(key).select_pulses(pulses).xarray(**UNSTACKED)
    except InconsistentDataError:
        own = (one.only([m]).key_data(key).select_pulses(pulses) for m in here)
        array = xr.concat(
            [data.xarray(**UNSTACKED) for data in own],
            MODULE, join="outer", combine_attrs="override",
        )  # fmt: skip
    if len(here) == len(one.modules):
        return array
    places = {*here, *listed_modules(one, key)}
    return array.reindex({MODULE: [one.modules[m] for m in sorted(places)]})


# -- JUNGFRAU: one row per train, memory cells on the second axis ----------------------


def cell_dims(data: MultimodKeyData) -> list[str]:
    """Return the names of the axes of a JUNGFRAU key."""
    n = len(data.entry_shape)
    inner = {3: [CELL, SLOW, FAST], 1: [CELL], 0: []}
    return [MODULE, TRAIN_AXIS, *inner.get(n, [f"dim_{i}" for i in range(n)])]


def get_cell_array(
    detector: JUNGFRAU, key: str, fill_value: Any, roi: Any, astype: Any
) -> xr.DataArray:
    """Read one key of all JUNGFRAU modules.

    Parameters
    ----------
    detector : JUNGFRAU
    key : str
        For example ``data.adc``.
    fill_value, roi, astype
        As in `get_array`; the first axis of `roi` is that of memory cells.

    Returns
    -------
    DataArray (module, train[, cell[, slow_scan, fast_scan]])
    """
    check_one_entry(detector)
    data = detector.key_data(key)
    values = data.ndarray(fill_value=fill_value, roi=roi, astype=astype)
    _, _, dropped = entry_window(roi, data.entry_shape)
    dims = [d for i, d in enumerate(cell_dims(data)) if i - 1 not in dropped]
    coords = {MODULE: data.modules, TRAIN_AXIS: data.ids}
    return xr.DataArray(values, dims=dims, coords=coords)


def get_cell_dask_array(
    detector: JUNGFRAU, key: str, fill_value: Any, astype: Any
) -> xr.DataArray:
    """Return one key of all JUNGFRAU modules as a lazy array."""
    check_one_entry(detector)
    data = detector.key_data(key)
    coords = {MODULE: data.modules, TRAIN_AXIS: data.ids}
    return xr.DataArray(
        data.lazy(fill_value, astype), dims=cell_dims(data), coords=coords
    )


def cell_trains(
    detector: JUNGFRAU, require_all: bool
) -> Iterator[tuple[int, dict[str, xr.DataArray]]]:
    """Yield (train ID, {key: array}); see `JUNGFRAU.trains`."""
    check_one_entry(detector)
    some = complete_trains(detector, require_all)
    keys = common_keys(detector)
    for tid in some.data.ids:
        one = some.with_ids(np.array([tid], np.uint64))
        found = {}
        for key in keys:
            here = present_modules(one, key)
            if here:
                array = get_cell_array(one.only(here), key, None, (), None)
                found[key] = array.isel(train=0, drop=True)
        yield int(tid), found
