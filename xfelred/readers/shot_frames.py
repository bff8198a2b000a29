"""Frames of runs with one image, or one stack of modules, for every shot.

A reader says which row of which dataset belongs to each shot (`ShotImages`), and gets
the lazy labelled array that all facilities share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
    FIRST_MODULE,
    FRAME,
    MODULE,
    N_MODULES,
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
from xfelred.readers.left_out import LeftOut
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import ById, ByIndex, matches

# The axis of a plan for modules in datasets of their own; here it has length 1.
STORED_APART = "stored_apart"


@dataclass(frozen=True, eq=False)
class ShotImages:
    """Where the images of a detector are; nothing has been read.

    Attributes
    ----------
    name : str
        Of the detector, for messages and labels.
    ids : int64 or uint64 (shot,)
        Train ID or the like of each shot: sorted, unique.
    targets : tuple of (path, dataset name)
    target : int32 (shot,), or (shot, module) where modules are stored apart
        Dataset of each shot, as a position in `targets`; -1: no image.
    row : int64, shaped like `target`
        Row of that dataset.
    shape : (slow, fast) or (module, slow, fast)
        Of a row.
    dtype : dtype
        In the files.
    modules : tuple of int
        Number of each module; one number for rows of two axes with all of a shot.
    token : str
        Identity of the files, such as paths, sizes and times.
    chunk : tuple of int, optional
        Rows, and elements along the axes of a row, that the files store in one piece.
    bad : bool or integer (module, slow, fast), optional
        Non-zero where a pixel is bad.
    bad_misfit : str, optional
        Why bad pixels that are known are not in `bad`; warned of where they are wanted.
    reader : RowReader, optional
        What reads rows; by default rows of HDF5 datasets.
    """

    name: str
    ids: NDArray[Any]
    targets: tuple[tuple[str, str], ...]
    target: NDArray[np.int32]
    row: NDArray[np.int64]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    modules: tuple[int, ...]
    token: str
    chunk: tuple[int, ...] = ()
    bad: NDArray[Any] | None = None
    bad_misfit: str = ""
    reader: RowReader = read_rows

    def of(self, keep: Any) -> ShotImages:
        """Return the images of some shots."""
        return replace(
            self, ids=self.ids[keep], target=self.target[keep], row=self.row[keep]
        )


@dataclass(frozen=True, eq=False)
class Labels:
    """What an array of frames says about itself.

    Attributes
    ----------
    facility, run_id, fingerprint : str
    units : str
    train : str
        Long name of the coordinate ``train``.
    shots : mapping of str to Variable
        Coordinates along ``train`` first, one entry for each shot of the images.
    attrs, coords, params : mapping
        More attributes, other coordinates, more for the line of history.
    data_kind : {"raw", "corrected", "calibrated"}
    left_out : tuple of LeftOut
        Files that could not be used.
    """

    facility: str
    run_id: str
    fingerprint: str
    units: str = "adu"
    train: str = "shot ID"
    shots: Mapping[str, xr.Variable] | None = None
    attrs: Mapping[str, Any] | None = None
    coords: Mapping[str, xr.Variable] | None = None
    params: Mapping[str, Any] | None = None
    data_kind: DataKind = "raw"
    left_out: tuple[LeftOut, ...] = ()


def of_psana_key(key: str) -> DataKind:
    """Return the kind of what psana names ``raw``, ``calib``, ``image``, ..."""
    return "raw" if "raw" in key.lower().rpartition("/")[2] else "calibrated"


def places(numbers: Sequence[int]) -> dict[str, int]:
    """Return how many modules a detector has, as attributes; LCLS counts from 0."""
    return {N_MODULES: int(max(numbers, default=-1)) + 1, FIRST_MODULE: 0}


def shot_frames(
    images: ShotImages, request: FramesRequest, labels: Labels
) -> xr.DataArray:
    """Return images as a lazy array (train, pulse, module, slow_scan, fast_scan).

    Parameters
    ----------
    images : ShotImages
    request : FramesRequest
        With ``layout="frame"`` the dims are (frame, module, slow_scan, fast_scan), and
        shots without an image are left out. ``bad_pixels="apply"`` gives NaN where the
        result is of floating point, and is without effect on integers, which are raw
        data; "keep" adds a coordinate ``bad_pixels``.
    labels : Labels

    Returns
    -------
    DataArray
        Coordinates ``train``, ``pulse`` (0), ``module``, ``available`` (train,
        module), ``n_pulses`` (train), and those of `labels`.

    Raises
    ------
    InconsistentDataError
        If an image is missing and ``missing="raise"``.
    SelectionEmptyError
        If ``missing="drop"`` leaves nothing, or a module is not there.
    ValueError, OverflowError
        If the fill value does not fit the dtype.
    """
    keep = complete(images, request)
    shots = {k: v[keep] for k, v in (labels.shots or {}).items()}
    return assembled(images.of(keep), request, replace(labels, shots=shots))


def assembled(
    images: ShotImages, request: FramesRequest, labels: Labels
) -> xr.DataArray:
    """Return the images of all given shots; see `shot_frames`."""
    array = build(ShotFrames(images, request, labels), request)
    if chosen_pulse(request.pulses):
        return array
    return array.isel({array.dims[array.dims.index(MODULE) - 1]: slice(0, 0)})


@dataclass(frozen=True, eq=False)
class ShotFrames:
    """Frames of one pulse per shot; see `xfelred.readers.frames.FrameSource`."""

    images: ShotImages
    request: FramesRequest
    labels: Labels

    gaps_count = True
    bad_widens = False  # integers are raw data

    @property
    def name(self) -> str:
        """Of the detector."""
        return self.images.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels in the files."""
        return self.images.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of an image along slow_scan and fast_scan."""
        return self.images.shape[-2:]

    @cached_property
    def positions(self) -> list[int]:
        """Which modules are read."""
        numbers = list(self.images.modules)
        return module_positions(self.request.modules, numbers, self.name)

    @cached_property
    def axes(self) -> FrameAxes:
        """The axes before the pixels."""
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
        for name, each in (self.labels.shots or {}).items():
            coords[name] = ((leading[0], *each.dims[1:]), each.data, each.attrs)
        coords |= self.labels.coords or {}
        modules = [images.modules[i] for i in self.positions]
        return FrameAxes(leading, coords, modules, here[:, self.positions])

    def node(self, pixels: Pixels, dims: tuple[str, ...]) -> Node:
        """Return the recipe (*leading, module, slow_scan, fast_scan)."""
        flat = self.axes.leading == (FRAME,)
        plan = image_plan(self.images, pixels, self.positions, flat=flat)
        if len(self.images.shape) == 2:
            return Source(plan, dims)
        # All modules stand in one row: their axis is one inside a row.
        stored = (*self.axes.leading, MODULE, STORED_APART, SLOW, FAST)
        return View(Source(plan, stored), dims)

    def bad(self, node: Node, window: tuple[Selector, ...]) -> Node | None:
        """Return the bad pixels of what is read, None if they are unknown."""
        if self.images.bad_misfit:
            warn(self.images.bad_misfit)
        if self.images.bad is None:
            return None
        bad = np.ascontiguousarray(cut(self.images.bad[self.positions], window))
        return Const(bad, PIXEL_DIMS, tokenize(bad))

    def texts(self, dtype: np.dtype[Any]) -> FrameTexts:
        """Return what the array says about itself."""
        labels = self.labels
        history = {
            "astype": str(dtype), "pulses": chosen_pulse(self.request.pulses),
            "run": labels.run_id, **(labels.params or {}),
        }  # fmt: skip
        return FrameTexts(
            labels.facility,
            labels.run_id,
            labels.fingerprint,
            n_modules=int(max(self.images.modules, default=-1)) + 1,
            first_module=0,
            units=labels.units,
            data_kind=labels.data_kind,
            left_out=labels.left_out,
            attrs=labels.attrs or {},
            history=history,
            long_names={TRAIN: labels.train},
        )


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


def chosen_pulse(pulses: Any) -> list[int]:
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
        token=tokenize(
            images.token, images.targets, images.ids, images.target, images.row, entry,
            str(pixels.dtype), str(pixels.fill_value), flat,
        ),
        ids=images.ids,
        chunk=images.chunk,
    )  # fmt: skip
