"""Pixel data of a detector as the lazy labelled array of the data model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize

from xfelred.errors import ArgumentError, InconsistentDataError, SelectionEmptyError
from xfelred.lazy import Node, Source
from xfelred.lazy.indexing import Selector, length
from xfelred.lazy.nodes import sources
from xfelred.names import PULSE, TRAIN
from xfelred.provenance import jsonable
from xfelred.readers.euxfel.frame_axes import LaidOut, laid_out, per_cell
from xfelred.readers.euxfel.mask import mask_node
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.euxfel.module_plans import module_plan
from xfelred.readers.frames import (
    FrameAxes,
    FrameTexts,
    Pixels,
    build,
    module_positions,
)
from xfelred.readers.request import FramesRequest


def frames(detector: ModuleData, request: FramesRequest) -> xr.DataArray:
    """Return the frames that were asked for; see `xfelred.readers.euxfel.run.Run`."""
    request = replace(request, key=request.key or detector.spec.data)
    name, numbers = detector.detector_name, detector.modules
    detector = detector.reading(module_positions(request.modules, numbers, name))
    check_key(detector, request.key)
    detector = complete(detector, request)
    return build(ModuleFrames(detector, request), request)


def check_key(detector: ModuleData, key: str) -> None:
    """Raise an error for a key whose rows are not frames, or no pixels."""
    per_train = key.partition(".")[0] != detector.main_group
    if not per_train:
        # First the files: a damaged one is named, where `stored_as` misses the key.
        detector.key_headers(key)
        dtype, shape = detector.stored_as(key)
        per_train = bool(detector.spec.inner) and not shape
    if per_train:
        raise ArgumentError(
            f"{key!r} of {detector.detector_name} has one row per train, not one per"
            f" frame; read it with run.detector(...)[{key!r}].xarray()"
        )
    if dtype.kind not in "biufc":
        raise InconsistentDataError(
            f"{key} of {detector.detector_name} is {dtype}, which no image is;"
            f" read it with run.detector(...)[{key!r}]"
        )


def complete(detector: ModuleData, request: FramesRequest) -> ModuleData:
    """Return the detector without the trains that `missing` leaves out."""
    if request.missing == "fill":
        return detector
    positions = detector.positions
    here = detector.key_table(request.key).here(positions)
    whole = here.all(axis=1)
    if whole.all():
        return detector
    if request.missing == "raise":
        train, module = np.argwhere(~here)[0]
        raise InconsistentDataError(
            f"{int((~here).sum())} gaps (module x train) in"
            f" {detector.detector_name}: module"
            f" {detector.modules[positions[module]]} has no data in train"
            f" {detector.ids[train]}. Use missing='fill' or missing='drop'"
        )
    if not whole.any():
        raise SelectionEmptyError(
            f"no train of {detector.detector_name} has data of all {len(positions)}"
            " modules; use missing='fill' or fewer modules"
        )
    # By the key, not by its index group: a file may lack one of two keys of a group.
    return detector.kept(
        ("whole trains", request.key), lambda: detector.with_ids(detector.ids[whole])
    )


@dataclass(frozen=True, eq=False)
class ModuleFrames:
    """The `FrameSource` of the modules that are read."""

    detector: ModuleData
    request: FramesRequest

    @property
    def name(self) -> str:
        return self.detector.detector_name

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.detector.stored_as(self.request.key)[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image, without memory cells and the length-1 axis of raw data."""
        stored = self.detector.stored_as(self.request.key)[1]
        # Raw LPD and DSSC data are (1, slow, fast), JUNGFRAU (cell, slow, fast).
        inside = self.detector.spec.inner or stored[:1] == (1,)
        return stored[1:] if inside else stored

    @cached_property
    def laid(self) -> LaidOut:
        return laid_out(self.detector, self.request)

    @property
    def axes(self) -> FrameAxes:
        return self.laid.axes

    @property
    def gaps_count(self) -> bool:
        # A mask stays integers: as floats it has no bits.
        return self.request.key != self.detector.spec.mask

    @property
    def bad_widens(self) -> bool:
        """Whether the data have a mask that belongs to the pixels of the key."""
        spec = self.detector.spec
        pixels = {spec.data, spec.data.replace(".data", ".gain")}
        return self.request.key in pixels and self.detector.has_key(spec.mask)

    def node(self, pixels: Pixels, dims: tuple[str, ...]) -> Node:
        cells = self.laid.cells
        if cells is not None:
            window = (cells, *pixels.window)
            shape = (length(cells, self.detector.frames_per_entry), *pixels.shape)
            pixels = replace(pixels, window=window, shape=shape, n_inner=1)
        which = self.detector.positions
        key, layout = self.request.key, self.laid.layout
        plan = module_plan(self.detector, key, layout, pixels, which)
        if cells is None or self.request.layout == "train":
            return Source(plan, dims)
        apart = Source(plan, (TRAIN, PULSE, *dims[1:]))
        return per_cell(apart, self.detector.frames_per_entry)

    def bad(self, node: Node, window: tuple[Selector, ...]) -> Node | None:
        if not self.bad_widens:
            return None
        self.detector.key_table(self.detector.spec.mask)  # tells of files without one
        return mask_node(self.detector, sources(node)[0].plan, node.dims)

    def texts(self, dtype: np.dtype[Any]) -> FrameTexts:
        detector, request = self.detector, self.request
        chosen: Any = getattr(request.pulses, "value", request.pulses)
        by = "position" if chosen is request.pulses else type(request.pulses).__name__
        values = np.asarray(chosen).tolist() if np.ndim(chosen) else chosen
        cells = "position among the memory cells of a train"
        return FrameTexts(
            facility="euxfel",
            run_id=detector.data.run_id,
            fingerprint=fingerprint(detector),
            n_modules=detector.n_modules,
            first_module=detector.first_number,
            units="adu" if request.key == detector.spec.data else "1",
            data_kind="raw" if detector.is_raw else "corrected",
            left_out=detector.data.left_out,
            attrs={"detector_kind": detector.kind},
            history={"pulses": [by, jsonable(values)], "astype": request.astype},
            long_names={PULSE: cells} if detector.spec.inner else {},
        )


def fingerprint(detector: ModuleData) -> str:
    """Return what identifies the files behind a detector, as 16 letters."""
    files = {f.token() for e in detector.data.entries.values() for f in e.all_files}
    # Without directories: the same files elsewhere are the same data.
    names = sorted((p.rsplit("/", 1)[-1], size, mtime) for p, size, mtime in files)
    return str(tokenize(names))[:16]
