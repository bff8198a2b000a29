"""Keys with an entry for every frame: pulses, memory cells and gain stages."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, warn
from xfelred.lazy import Patterns
from xfelred.names import DATA_GAIN, FAST, MODULE, SLOW
from xfelred.readers.entry import as_dtype, checked_fill, entry_window
from xfelred.readers.euxfel.extra_data.module_keys import MultimodKeyData
from xfelred.readers.euxfel.frame_labels import FrameLabels, frame_labels
from xfelred.readers.euxfel.key_facts import counted_patterns
from xfelred.readers.euxfel.mask import Mask
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.euxfel.module_plans import EntryLayout, module_plan
from xfelred.readers.frames import Pixels
from xfelred.readers.missing import EXACT

STACKED = "train_pulse"  # as scripts for EXtra-data know the axis


class FrameKeyData(MultimodKeyData):
    """One key with an entry for every frame (``image.*``)."""

    def __init__(
        self, det: ModuleData, key: str, mask: Mask | None = None, pulses: object = None
    ) -> None:
        self.pulses = pulses
        super().__init__(det, key, mask)

    def of(self, det: ModuleData) -> Any:
        """Return the same key and pulses of a detector with other trains."""
        return type(self)(det, self.key, self.mask, self.pulses)

    def select_pulses(self, pulses: object) -> Any:
        """Return the key for some pulses of each train; replaces an earlier selection.

        Parameters
        ----------
        pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``
        """
        return type(self)(self.det, self.key, self.mask, pulses)

    @cached_property
    def labels(self) -> FrameLabels:
        """The selected frames."""
        labels = frame_labels(self.det)
        return labels if self.pulses is None else labels.select(self.pulses)

    @cached_property
    def layout(self) -> EntryLayout:
        """Selected entries of each train, in order."""
        if self.pulses is None:
            return EntryLayout(*counted_patterns(self.det.counts), flat=True)
        return EntryLayout(self.labels.pattern, self.labels.flat(), flat=True)

    @cached_property
    def counts(self) -> NDArray[Any]:
        """Selected frames of each train."""
        return self.layout.patterns.sizes()[self.layout.pattern]

    @property
    def dimensions(self) -> list[str]:
        n = len(self.entry_shape)
        names = {3: [DATA_GAIN, SLOW, FAST], 2: [SLOW, FAST]}
        return [MODULE, STACKED, *names.get(n, [f"dim_{i}" for i in range(n)])]

    def pulse_id_coordinates(self) -> NDArray[np.uint64]:
        """Return the pulse ID of every selected frame."""
        return self.labels.pulse[self.labels.expanded[1]]

    def cell_id_coordinates(self) -> NDArray[np.uint64]:
        """Return the memory cell of every selected frame."""
        return self.labels.cell[self.labels.expanded[1]]

    def index(self, inner: str, names: tuple[str, str]) -> pd.MultiIndex:
        """Return (train[, gain], pulse or cell) of every selected frame."""
        train, at = self.labels.expanded
        values = self.labels.cell if inner == "cellId" else self.labels.pulse
        levels: list[NDArray[Any]] = [self.ids[train], values[at]]
        if self.det.parallel_gain:
            levels.insert(1, self.labels.gain[at])
            return pd.MultiIndex.from_arrays(levels, names=[names[0], "gain", names[1]])
        return pd.MultiIndex.from_arrays(levels, names=list(names))

    def stacked(
        self, data: object, dims: list[str], inner: str, names: tuple[str, str]
    ) -> xr.DataArray:
        """Return an array labelled by a multi-index along its second axis."""
        index = self.index(inner, names)
        coords = xr.Coordinates.from_pandas_multiindex(index, STACKED)
        out = xr.DataArray(data, dims=dims, coords=coords)
        return out.assign_coords({MODULE: self.modules})

    def labelled(
        self, data: object, roi: object = (), inner: str = "pulseId"
    ) -> xr.DataArray:
        dims = [*self.dimensions[:2], *self.entry_dims(roi)]
        return self.stacked(data, dims, inner, ("train", short_label(inner)))

    @entry
    def xarray(
        self,
        *,
        fill_value: object = None,
        roi: object = (),
        astype: object = None,
        subtrain_index: str = "pulseId",
        unstack_pulses: bool = False,
    ) -> xr.DataArray:
        """Read the data as a labelled array.

        Parameters
        ----------
        fill_value, roi, astype
            As in `ndarray`.
        subtrain_index : {"pulseId", "cellId"}, optional
            What labels the frames of a train.
        unstack_pulses : bool, optional
            Give trains and pulses an axis each.

        Returns
        -------
        DataArray (module, train_pulse, ...) or (module, train[, gain], pulse, ...)
        """
        short_label(subtrain_index)
        if unstack_pulses:
            return self.unstacked(fill_value, roi, astype, subtrain_index)
        data = self.ndarray(fill_value=fill_value, roi=roi, astype=astype)
        return self.labelled(data, roi, subtrain_index)

    def unstacked(
        self, fill_value: object, roi: object, astype: object, inner: str
    ) -> xr.DataArray:
        """Read into (module, train[, gain], pulse, ...), NaN where not recorded."""
        labels = self.labels
        labels.check_unique(self.det.detector_name, inner)
        values = labels.cell if inner == "cellId" else labels.pulse
        used = labels.used()
        axis = np.unique(values[used])
        here = labels.counts > 0
        gains = np.unique(labels.gain[used])
        slots: tuple[int, ...] = (len(axis),)
        slot = np.searchsorted(axis, values)
        if self.det.parallel_gain:
            slots = (len(gains), len(axis))
            slot = labels.gain.astype(np.int64) * len(axis) + slot
        window, shape, dropped = entry_window(roi, self.entry_shape)
        dtype = as_dtype(astype, self.dtype)
        fill = checked_fill(fill_value, dtype)
        n_slots = int(np.prod(slots))
        gaps = bool((labels.counts[here] != n_slots).any())
        kind = promoted(dtype) if gaps else dtype
        patterns = Patterns(labels.ptr, labels.offset, slot)
        layout = EntryLayout(labels.pattern, patterns, slots)
        pixels = Pixels(window, shape, kind, kind.type(fill))
        plan = module_plan(self.det, self.key, layout, pixels)
        # Trains without a frame are none of the result.
        trains = np.flatnonzero(here)
        plan = plan.narrow_lead((trains, *(slice(0, n, 1) for n in slots)))
        n_lead = 1 + len(slots)
        out = np.empty((plan.target.shape[1], *plan.lead_shape, *shape), kind)
        self.read(plan, np.moveaxis(out, 0, n_lead))
        # Before NaN come in: of integers up to 32 bits float64 holds all.
        if gaps and dtype.kind in "iu" and dtype.itemsize > 4:
            warn_rounding(self.key, out)
        if gaps:
            empty = np.ones((int(here.sum()), n_slots), bool)
            train, _, at = plan.patterns.expand(plan.pattern)
            empty[train, at] = False
            out[:, empty.reshape(plan.lead_shape)] = np.nan
        out = out.squeeze(tuple(n_lead + i for i in dropped))
        coords = {MODULE: self.modules, "train": self.ids[here]}
        if self.det.parallel_gain:
            coords["gain"] = gains
        coords[short_label(inner)] = axis
        return xr.DataArray(out, coords, [*coords, *self.entry_dims(roi)])

    @entry
    def dask_array(
        self,
        *,
        labelled: bool = False,
        subtrain_index: str = "pulseId",
        fill_value: object = None,
        astype: object = None,
        frames_per_chunk: int | None = None,
    ) -> Any:
        """Return the data as a lazy array, as a DataArray if `labelled`."""
        data = self.lazy(fill_value, astype, frames_per_chunk)
        return self.labelled(data, (), subtrain_index) if labelled else data


def key_of(det: ModuleData, key: str) -> MultimodKeyData:
    """Return the data of one key; per-pulse keys know pulses."""
    per_frame = not det.spec.inner and key.startswith("image.")
    return FrameKeyData(det, key) if per_frame else MultimodKeyData(det, key)


def short_label(inner: str) -> str:
    """Return the name of the axis that an index labels; ValueError if unknown."""
    if inner not in ("pulseId", "cellId"):
        raise ArgumentError(
            f"subtrain_index must be 'pulseId' or 'cellId', not {inner!r}"
        )
    return inner.removesuffix("Id")


def promoted(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that xarray gives to values beside NaN.

    Integers of up to 16 bits become float32, others float64.
    """
    if dtype.kind == "f":
        return dtype
    small = dtype.kind in "iu" and dtype.itemsize <= 2
    return np.dtype(np.float32 if small else np.float64)


def warn_rounding(key: str, values: NDArray[Any]) -> None:
    """Warn if integers of 64 bits became floats that do not hold them."""
    if np.abs(values).max(initial=0) >= EXACT:
        warn(
            f"{key} has integers beyond 2**53, which are rounded where pulses are"
            " missing in a train; unstack_pulses=False keeps them"
        )
