"""The data of one key of all modules of a detector: ``det[key]``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.lazy import Node, ReadPlan, Source, block_chunks, load, planned
from xfelred.lazy.evaluate import evaluate
from xfelred.lazy.nodes import full_region
from xfelred.names import MODULE
from xfelred.readers.by_train import ByTrain
from xfelred.readers.entry import as_dtype, checked_fill, entry_window
from xfelred.readers.euxfel.key_facts import counted_patterns
from xfelred.readers.euxfel.mask import Mask
from xfelred.readers.euxfel.module_data import ModuleData, group_of
from xfelred.readers.euxfel.module_plans import EntryLayout, module_plan
from xfelred.readers.frames import Pixels

BLOCK = 128 << 20  # bytes of a block of a lazy array
SUB_BLOCK = 16 << 20  # bytes that are masked at a time, as the mask needs memory too
SIDE_BY_SIDE = 64 << 20  # bytes from which several threads read
THREADS = min(4, os.cpu_count() or 1)


class MultimodKeyData(ByTrain):
    """One key of all modules, entries of all trains one after the other.

    Attributes
    ----------
    det : ModuleData
    key : str
    mask : Mask or None
        Bad pixels that are replaced when the data are read.
    stored : (dtype, tuple of int)
        Dtype and entry shape in the files.
    """

    def __init__(self, det: ModuleData, key: str, mask: Mask | None = None) -> None:
        self.det, self.key, self.mask, self.ids = det, key, mask, det.ids
        # At once, as it raises if a module lacks the key.
        self.stored = det.stored_as(key)

    # -- what it is ------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in the files."""
        return self.stored[0]

    @property
    def entry_shape(self) -> tuple[int, ...]:
        """Shape of one entry, without the length-1 axis of raw data."""
        shape = self.stored[1]
        # Other groups have no such axis, and may have one of length 1 that counts.
        raw = self.key.startswith("image.") and shape[:1] == (1,)
        return shape[1:] if raw else shape

    @property
    def modules(self) -> list[int]:
        """Numbers of the modules."""
        return self.det.modules

    @cached_property
    def counts(self) -> NDArray[Any]:
        """Entries of each train: one, whether recorded or not, for other keys."""
        return np.ones(len(self.ids), np.int64)

    def train_id_coordinates(self) -> NDArray[np.uint64]:
        """Return the train ID of every entry."""
        return np.repeat(self.ids, self.counts)

    @property
    def dimensions(self) -> list[str]:
        """Names of the axes."""
        return [MODULE, "trainId", *(f"dim_{i}" for i in range(len(self.entry_shape)))]

    def entry_dims(self, roi: object) -> list[str]:
        """Return the names of the axes that `roi` leaves of an entry."""
        _, _, dropped = entry_window(roi, self.entry_shape)
        return [d for i, d in enumerate(self.dimensions[2:], 1) if i not in dropped]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.dimensions)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.buffer_shape()

    @entry
    def buffer_shape(
        self, module_gaps: bool = False, roi: object = ()
    ) -> tuple[int, ...]:
        """Return the shape of an array for the data.

        Parameters
        ----------
        module_gaps : bool, optional
            With room for every module of the complete detector.
        roi : optional
            As in `ndarray`.
        """
        _, lengths, dropped = entry_window(roi, self.entry_shape)
        kept = [n for i, n in enumerate(lengths) if i + 1 not in dropped]
        n = self.det.n_modules if module_gaps else len(self.modules)
        return (n, int(self.layout.patterns.sizes()[self.layout.pattern].sum()), *kept)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.key!r} of {self.det.detector_name}:"
            f" {len(self.modules)} modules, {len(self.ids)} trains>"
        )

    # -- which trains ----------------------------------------------------------------

    def of(self, det: ModuleData) -> Any:
        """Return the same key of a detector with other trains."""
        return type(self)(det, self.key, self.mask)

    def with_mask(self, mask: Mask) -> Any:
        """Return the same data with bad pixels replaced when they are read."""
        return type(self)(self.det, self.key, mask)

    def __getitem__(self, trains: object) -> Any:
        return self.select_trains(trains)

    def with_ids(self, ids: NDArray[Any]) -> Any:
        return self.of(self.det.with_ids(ids))

    @entry
    def split_trains(
        self,
        parts: int | None = None,
        trains_per_part: int | None = None,
        frames_per_part: int | None = None,
    ) -> Iterator[Any]:
        """Yield the key in pieces of whole trains; see `Detector.split_trains`."""
        for det in self.det.split_trains(parts, trains_per_part, frames_per_part):
            yield self.of(det)

    def data_availability(self, module_gaps: bool = False) -> NDArray[np.bool_]:
        """Return where data exist: bool (module, entry)."""
        table = self.det.table(group_of(self.key))
        train, _, _ = self.layout.patterns.expand(self.layout.pattern)
        here = (table.count > 0)[train].T
        if not module_gaps:
            return here
        out = np.zeros((self.det.n_modules, here.shape[1]), bool)
        out[self.positions] = here
        return out

    @property
    def positions(self) -> list[int]:
        """Position of each module in the complete detector."""
        return [n - self.det.first_number for n in self.modules]

    # -- the data --------------------------------------------------------------------

    @cached_property
    def layout(self) -> EntryLayout:
        """Entries of each train, in order."""
        return EntryLayout(*counted_patterns(self.counts), flat=True)

    def plan(
        self, roi: object, fill_value: object, astype: object
    ) -> tuple[ReadPlan, tuple[int, ...]]:
        """Return the plan (entry, module, ...) and the entry axes that `roi` drops."""
        window, shape, dropped = entry_window(roi, self.entry_shape)
        dtype = as_dtype(astype, self.dtype)
        pixels = Pixels(window, shape, dtype, checked_fill(fill_value, dtype))
        return module_plan(self.det, self.key, self.layout, pixels), dropped

    def read(
        self, plan: ReadPlan, out: NDArray[Any], threads: int | None = None
    ) -> None:
        """Read a plan (entry, ..., module, ...) into `out`, modules side by side."""
        n = out.shape[len(plan.lead_shape)]
        threads = min(threads or THREADS, n)
        if threads < 2 or out.nbytes < SIDE_BY_SIDE:
            self.read_modules(plan, out)
            return
        before = (slice(None),) * len(plan.lead_shape)
        parts = [slice(m, m + 1, 1) for m in range(n)]
        with ThreadPoolExecutor(threads) as pool:
            jobs = [
                pool.submit(self.read_modules, plan.narrow_modules(p), out[*before, p])
                for p in parts
            ]
            for job in jobs:
                job.result()

    def read_modules(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read a plan in this thread, with bad pixels replaced if there is a mask."""
        if self.mask is None:
            load(plan, out)
            return
        n, *rest = plan.lead_shape
        step = max(1, n * SUB_BLOCK // max(out.nbytes, 1))
        for i in range(0, n, step):
            part = slice(i, min(i + step, n), 1)
            one = plan.narrow_lead((part, *(slice(0, m, 1) for m in rest)))
            load(one, out[part])
            bad = self.mask.node(self.det, one, ())
            out[part] = self.mask.apply(out[part], evaluate(bad, full_region(bad)))

    @entry
    def ndarray(
        self,
        *,
        fill_value: object = None,
        out: NDArray[Any] | None = None,
        roi: object = (),
        astype: object = None,
        module_gaps: bool = False,
        decompress_threads: int | None = None,
    ) -> NDArray[Any]:
        """Read the data.

        Parameters
        ----------
        fill_value : scalar, optional
            For modules without data; by default NaN for floats and 0 for others.
        out : array, optional
            Where to read to; it must have the shape of the result.
        roi : slice, int or tuple of these, optional
            What to read of each entry.
        astype : dtype, optional
            Cast to this while reading.
        module_gaps : bool, optional
            With an element for every module of the complete detector.
        decompress_threads : int, optional
            Threads that read and decompress; by default one per core, at most 4.

        Returns
        -------
        array (module, entry, ...)

        Raises
        ------
        ValueError
            If `out` has another shape, or the fill value does not fit the dtype.
        OverflowError
            If the fill value is out of range.
        """
        plan, dropped = self.plan(roi, fill_value, astype)
        shape = self.buffer_shape(module_gaps, roi)
        if out is None:
            out = np.empty(shape, plan.dtype)
        elif out.shape != shape:
            raise ArgumentError(f"out has shape {out.shape}, but the data have {shape}")
        # Entry axes that integers in `roi` dropped are put back, as a plan has them.
        axes = range(1, len(plan.entry_shape) + 1)
        inner = (np.newaxis if i in dropped else slice(None) for i in axes)
        full = out[(slice(None), slice(None), *inner)]
        if module_gaps:  # module by module, as those that are there have gaps between
            absent = sorted(set(range(len(out))) - set(self.positions))
            full[absent] = plan.fill_value
            for m, position in enumerate(self.positions):
                one = plan.narrow_modules(slice(m, m + 1, 1))
                self.read_modules(one, np.moveaxis(full[position : position + 1], 0, 1))
        else:
            self.read(plan, np.moveaxis(full, 0, 1), decompress_threads)
        return out

    def node(self, fill_value: object, astype: object) -> Node:
        """Return the recipe of the data, axes (entry, module, ...)."""
        plan, _ = self.plan((), fill_value, astype)
        module, entry, *rest = self.dimensions
        data = Source(plan, (entry, module, *rest))
        if self.mask is None:
            return data
        return self.mask.applied(data, self.mask.node(self.det, plan, data.dims))

    def lazy(
        self, fill_value: object, astype: object, per_chunk: int | None = None
    ) -> Any:
        """Return the data as a lazy array (module, entry, ...)."""
        node = self.node(fill_value, astype)
        row = int(np.prod(node.shape[1:], dtype=np.int64)) * node.dtype.itemsize
        size = BLOCK if per_chunk is None else per_chunk * max(row, 1)
        chunks = block_chunks(node, size)
        order = (1, 0, *range(2, len(node.dims)))
        return planned(node, chunks).transpose(order)

    def labelled(self, data: object, roi: object = ()) -> xr.DataArray:
        entry = self.entry_dims(roi)
        if self.dimensions[2:3] == ["dim_0"]:
            entry = [f"dim_{i}" for i in range(len(entry))]
        dims = [*self.dimensions[:2], *entry]
        coords = {MODULE: self.modules, "trainId": self.train_id_coordinates()}
        return xr.DataArray(data, coords, dims)

    @entry
    def xarray(
        self, *, fill_value: object = None, roi: object = (), astype: object = None
    ) -> xr.DataArray:
        """Read the data as a labelled array; see `ndarray`."""
        data = self.ndarray(fill_value=fill_value, roi=roi, astype=astype)
        return self.labelled(data, roi)

    @entry
    def dask_array(
        self,
        *,
        labelled: bool = False,
        fill_value: object = None,
        astype: object = None,
    ) -> Any:
        """Return the data as a lazy array, as a DataArray if `labelled`."""
        data = self.lazy(fill_value, astype)
        return self.labelled(data) if labelled else data
