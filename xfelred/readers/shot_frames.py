"""Frames of runs with one image, or one stack of modules, for every shot.

A reader says which row of which dataset belongs to each shot (`ShotImages`), and gets
the lazy labelled array that all facilities share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, SelectionEmptyError, warn
from xfelred.hdf5.rows import read_rows
from xfelred.lazy import (
    Const,
    Node,
    ReadPlan,
    RowReader,
    Source,
    View,
    one_each,
)
from xfelred.lazy.indexing import Selector, as_slice
from xfelred.names import (
    CELL,
    FAST,
    FRAME,
    MODULE,
    N_PULSES,
    PIXEL_DIMS,
    PULSE,
    SLOW,
    TRAIN,
)
from xfelred.readers.entry import cut
from xfelred.readers.frames import (
    DataKind,
    FrameAxes,
    FrameTexts,
    Pixels,
    build,
    module_positions,
)
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import ById, ByIndex, matches

# The axis of a plan for modules in datasets of their own; here it has length 1.
STORED_APART = "stored_apart"


@dataclass(frozen=True, eq=False)
class ShotImages:
    """Where the images of a detector are; nothing has been read."""

    name: str  # of the detector
    ids: NDArray[Any]  # (shot,), train IDs or the like: sorted, unique
    targets: tuple[tuple[str, str], ...]  # (path, dataset)
    # (shot,), or (shot, module) where modules are stored apart: position in `targets`
    # of the dataset with the image, -1: there is none; and the row of that dataset.
    target: NDArray[np.int32]
    row: NDArray[np.int64]
    shape: tuple[int, ...]  # of a row, (slow, fast) or (module, slow, fast)
    dtype: np.dtype[Any]  # in the files
    modules: tuple[int, ...]  # one number for rows of two axes with all of a shot
    token: str  # identity of the files, such as paths, sizes and times
    # Rows, and elements along the axes of a row, that the files store in one piece.
    chunk: tuple[int, ...] = ()
    bad: NDArray[Any] | None = None  # (module, slow, fast), not 0 where a pixel is bad
    bad_misfit: str = ""  # why known bad pixels are not in `bad`, for a warning
    reader: RowReader = read_rows

    @property
    def n_modules(self) -> int:
        """Of the complete detector, where numbers count from 0."""
        return int(max(self.modules, default=-1)) + 1

    @property
    def per_shot(self) -> tuple[NDArray[Any], ...]:
        return self.ids, self.target, self.row

    def of(self, keep: NDArray[np.int64]) -> ShotImages:
        """Return the images of some shots."""
        ids, target, row = (each[keep] for each in self.per_shot)
        return replace(self, ids=ids, target=target, row=row)


def of_psana_key(key: str) -> DataKind:
    """Return the kind of what psana names ``raw``, ``calib``, ``image``, ..."""
    return "raw" if "raw" in key.lower().rpartition("/")[2] else "calibrated"


Coordinates = Mapping[str, xr.Variable]


def shot_frames(
    images: ShotImages,
    request: FramesRequest,
    texts: FrameTexts,
    coords: Coordinates = MappingProxyType({}),
) -> xr.DataArray:
    """Return images as a lazy array (train, pulse, module, slow_scan, fast_scan).

    With ``layout="frame"`` the dims are (frame, module, slow_scan, fast_scan), and
    shots without an image are left out. ``bad_pixels="apply"`` gives NaN where the
    result is of floating point, and is without effect on integers, which are raw data;
    "keep" adds a coordinate ``bad_pixels``. Others are ``train``, ``pulse`` (0),
    ``module``, ``available`` (train, module), ``n_pulses`` (train), and `coords`, along
    ``train``.
    """
    keep = complete(images, request)
    coords = {k: v[keep] for k, v in coords.items()}
    return assembled(images.of(keep), request, texts, coords)


def assembled(
    images: ShotImages, request: FramesRequest, texts: FrameTexts, coords: Coordinates
) -> xr.DataArray:
    """Return the images of all given shots; see `shot_frames`."""
    array = build(ShotFrames(images, request, texts, coords), request)
    if chosen_pulse(request.pulses):
        return array
    return array.isel({array.dims[array.dims.index(MODULE) - 1]: slice(0, 0)})


@dataclass(frozen=True, eq=False)
class ShotFrames:
    """Frames of one pulse per shot; see `xfelred.readers.frames.FrameSource`."""

    images: ShotImages
    request: FramesRequest
    known_texts: FrameTexts
    coords: Coordinates  # along ``train``, one entry for each image, or without it

    gaps_count = True
    bad_widens = False  # integers are raw data

    @property
    def name(self) -> str:
        return self.images.name

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.images.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape[-2:]

    @cached_property
    def positions(self) -> list[int]:
        numbers = list(self.images.modules)
        return module_positions(self.request.modules, numbers, self.name)

    @cached_property
    def axes(self) -> FrameAxes:
        images, n = self.images, len(self.images.ids)
        here = images.target >= 0
        if here.ndim == 1:
            here = np.repeat(here[:, None], len(images.modules), axis=1)
        if self.request.layout == "frame":
            leading: tuple[str, ...] = (FRAME,)
            zeros = np.zeros(n, np.int64)
            coords: dict[str, Any] = {PULSE: (FRAME, zeros), CELL: (FRAME, zeros)}
        else:
            leading = (TRAIN, PULSE)
            n_pulses = here.any(axis=1).astype(np.int64)
            coords = {PULSE: [0], N_PULSES: (TRAIN, n_pulses)}
        coords[TRAIN] = (leading[0], images.ids)
        for name, each in self.coords.items():
            dims = [leading[0] if d == TRAIN else d for d in each.dims]
            coords[name] = (dims, each.data, each.attrs)
        modules = [images.modules[i] for i in self.positions]
        return FrameAxes(leading, coords, modules, here[:, self.positions])

    def node(self, pixels: Pixels, dims: tuple[str, ...]) -> Node:
        flat = self.axes.leading == (FRAME,)
        plan = image_plan(self.images, pixels, self.positions, flat=flat)
        if len(self.images.shape) == 2:
            return Source(plan, dims)
        # All modules stand in one row: their axis is one inside a row.
        stored = (*self.axes.leading, MODULE, STORED_APART, SLOW, FAST)
        return View(Source(plan, stored), dims)

    def bad(self, node: Node, window: tuple[Selector, ...]) -> Node | None:
        if self.images.bad_misfit:
            warn(self.images.bad_misfit)
        if self.images.bad is None:
            return None
        bad = np.ascontiguousarray(cut(self.images.bad[self.positions], window))
        return Const(bad, PIXEL_DIMS, tokenize(bad))

    def texts(self, dtype: np.dtype[Any]) -> FrameTexts:
        texts = self.known_texts
        history = {
            "astype": str(dtype),
            "pulses": chosen_pulse(self.request.pulses),
            "run": texts.run_id,
            **texts.history,
        }
        n = texts.n_modules or self.images.n_modules
        return replace(texts, n_modules=n, history=history)


def complete(images: ShotImages, request: FramesRequest) -> NDArray[np.int64]:
    """Return the positions of the shots that stay."""
    here = images.target >= 0
    if request.missing == "raise" and not here.all():
        raise InconsistentDataError(
            f"{int((~here).sum())} of {len(here)} shots of {images.name} have no image,"
            f" the first is {images.ids[~here][0]}. Use missing='fill' or"
            " missing='drop'"
        )
    if request.missing == "drop" and len(here) and not here.any():
        raise SelectionEmptyError(
            f"none of {len(here)} shots of {images.name} has an image; use"
            " missing='fill'"
        )
    if request.missing == "fill" and request.layout == "train":
        return np.arange(len(here))
    return np.flatnonzero(here)


def chosen_pulse(pulses: object) -> list[int]:
    """Return [0] if a selection takes the only pulse, else []."""
    value = pulses.value if isinstance(pulses, (ById, ByIndex)) else pulses
    return [0] if matches(np.zeros(1, np.int64), value)[0] else []


def image_plan(
    images: ShotImages, pixels: Pixels, positions: list[int], *, flat: bool
) -> ReadPlan:
    """Return which rows of which datasets go where."""
    stacked = len(images.shape) > 2
    entry, lengths = pixels.window, pixels.shape
    if stacked:
        entry = (as_slice(np.asarray(positions, np.int64)), *entry)
        lengths = (len(positions), *lengths)
    target, row = images.target.astype(np.int32), images.row.astype(np.int64)
    if target.ndim == 1:
        target, row = target[:, None], row[:, None]
    if not stacked:
        target, row = target[:, positions], row[:, positions]
    asked = (entry, str(pixels.dtype), str(pixels.fill_value), flat)
    return ReadPlan(
        read_rows=images.reader,
        targets=images.targets,
        target=target,
        first=row,
        pattern=np.zeros(len(target), np.int64),
        patterns=one_each(1),
        slot_shape=() if flat else (1,),
        entry=entry,
        entry_shape=lengths,
        n_inner=int(stacked),
        dtype=pixels.dtype,
        fill_value=pixels.fill_value,
        flat=flat,
        token=tokenize(images.token, images.targets, *images.per_shot, *asked),
        ids=images.ids,
        chunk=images.chunk,
    )
