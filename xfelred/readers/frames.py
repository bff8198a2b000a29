"""The lazy labelled array of frames that every facility gives.

A facility tells what it has of a detector (`FrameSource`): the axes before the pixels,
a recipe that reads them, and what they are called. `build` does the rest alike for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import xarray as xr
from dask.utils import parse_bytes
from numpy.typing import NDArray

from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    SelectionEmptyError,
    shown,
    warn,
)
from xfelred.kernels.image.masking import masked
from xfelred.lazy import Const, Map, Node, block_chunks, planned
from xfelred.lazy.indexing import Selector
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    CELL,
    DATA_GAIN,
    DATA_KIND,
    FAST,
    FINGERPRINT,
    FIRST_MODULE,
    GAIN,
    LONG_NAME,
    MODULE,
    N_MODULES,
    N_PULSES,
    PULSE,
    RECORDED,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.provenance import record
from xfelred.readers.entry import as_dtype, checked_fill, entry_window, roi_items
from xfelred.readers.left_out import LeftOut, as_attrs, as_params
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import as_positions

# As recorded; corrected by the facility, before we read them; calibrated by
# `xfelred.ops.calibrate`, or by psana when it made the file or the array.
DataKind = Literal["raw", "corrected", "calibrated"]

LONG_NAMES = {
    TRAIN: "train ID",
    PULSE: "pulse ID",
    MODULE: "module number",
    CELL: "memory cell",
    GAIN: "gain stage (0 high, 1 medium, 2 low)",
    AVAILABLE: "data were recorded",
    RECORDED: "the train has this pulse",
    N_PULSES: "number of pulses in the train",
    SLOW: "pixel along the slow axis",
    FAST: "pixel along the fast axis",
}


@dataclass(frozen=True)
class Pixels:
    """What is read of each image, and how it is stored in memory."""

    window: tuple[Selector, ...]  # for every axis of an entry
    shape: tuple[int, ...]  # what the window leaves
    dtype: np.dtype[Any]
    fill_value: object
    n_inner: int = 0  # axes of an entry that stand before the module axis


@dataclass(frozen=True, eq=False)
class FrameAxes:
    """The axes of frames before their pixels."""

    leading: tuple[str, ...]  # before ``module``: (train, pulse[, gain]) or (frame,)
    coords: dict[str, Any]
    modules: list[int]  # numbers of those that are read
    here: NDArray[np.bool_]  # (train or frame, module): which have data
    recorded: NDArray[np.bool_] | None = None  # (train, pulse); None: all have all


@dataclass(frozen=True, eq=False)
class FrameTexts:
    """What an array of frames says about itself."""

    facility: str
    run_id: str
    fingerprint: str
    n_modules: int = 0  # of the complete detector, as is the next
    first_module: int = 0
    units: str = "adu"
    data_kind: DataKind = "raw"
    left_out: tuple[LeftOut, ...] = ()
    attrs: Mapping[str, object] = field(default_factory=dict)
    history: Mapping[str, object] = field(default_factory=dict)
    long_names: Mapping[str, str] = field(default_factory=dict)  # where unusual


class FrameSource(Protocol):
    """What a facility tells of the frames that were asked for."""

    @property
    def name(self) -> str:
        """Of the detector."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels in the files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of an image: (slow, fast), perhaps with axes in front."""

    @property
    def axes(self) -> FrameAxes:
        """The axes before the pixels."""

    @property
    def gaps_count(self) -> bool:
        """Whether integers with gaps become floats; of masks they do not."""

    @property
    def bad_widens(self) -> bool:
        """Whether integers with bad pixels become floats."""

    def node(self, pixels: Pixels, dims: tuple[str, ...]) -> Node:
        """Return the recipe (*leading, module, *pixels)."""

    def bad(self, node: Node, window: tuple[Selector, ...]) -> Node | None:
        """Return the bad pixels of what is read, None if they are unknown."""

    def texts(self, dtype: np.dtype[Any]) -> FrameTexts:
        """Return what an array of a dtype says about itself."""


def build(source: FrameSource, request: FramesRequest) -> xr.DataArray:
    """Return frames as a lazy array (train, pulse, module, slow_scan, fast_scan)."""
    axes = source.axes
    window, lengths, _ = entry_window(request.roi, source.shape)
    padded = axes.recorded is not None
    gaps = source.gaps_count and (padded or not axes.here.all())
    dtype, fill = request.pixels(source.dtype, source.name, gaps=gaps)
    apply = request.bad_pixels == "apply"
    if apply and source.bad_widens and dtype.kind != "f":
        if request.astype is not None:
            raise ArgumentError(
                f"bad pixels cannot be NaN in {dtype}; use bad_pixels='keep' or None"
                " together with an integer astype"
            )
        dtype = np.result_type(dtype, np.float32)
        fill = checked_fill(request.fill_value, dtype)
    dims = (*axes.leading, MODULE, *pixel_dims(len(lengths)))
    node = source.node(Pixels(window, lengths, dtype, fill), dims)
    bad = None if request.bad_pixels is None else source.bad(node, window)
    floating = source.bad_widens or as_dtype(request.astype, source.dtype).kind == "f"
    if bad is not None and apply and floating:
        how = {"bits": None, "value": float("nan")}
        args = (node, bad)
        node = Map(masked, args, dims, (), (), dtype, "apply_bad_pixels", how)
    chunks = block_chunks(node, parse_bytes(request.chunk_size))
    array = xr.DataArray(
        planned(node, chunks),
        {**coordinates(axes), **pixel_numbers(source.shape, window)},
        dims,
        name=request.key.split(".")[-1].split("/")[-1],
    )
    if bad is not None and request.bad_pixels == "keep":
        array = array.assign_coords({BAD_PIXELS: bad_coordinate(bad, chunks)})
    if axes.recorded is not None:
        part = 1 - axes.recorded.mean()
        warn(
            f"trains of {source.name} differ in their pulses: {part:.0%} of the train x"
            " pulse array is padding. layout='frame' avoids it"
        )
    first = next(iter(roi_items(request.roi, source.shape)), None)
    if isinstance(first, (int, np.integer)) and DATA_GAIN in dims:
        array = array.isel({DATA_GAIN: 0})
    texts = source.texts(dtype)
    for name, text in LONG_NAMES.items():
        if name in array.coords:
            text = texts.long_names.get(name, text)
            array[name].attrs = {UNITS: "1", LONG_NAME: text}
    array.attrs = frame_attrs(texts, source.name, request, source.dtype, dtype)
    asked = ("bad_pixels", "fill_value", "key", "layout", "missing")
    params: dict[str, Any] = {k: getattr(request, k) for k in asked}
    params |= {"detector": source.name, "modules": source.axes.modules}
    params |= {"roi": str(request.roi), **texts.history, **as_params(texts.left_out)}
    return record(array, "frames", **params)


def pixel_dims(n: int) -> tuple[str, ...]:
    names = {3: (DATA_GAIN, SLOW, FAST), 2: (SLOW, FAST)}
    return names.get(n, tuple(f"dim_{i}" for i in range(n)))


def coordinates(axes: FrameAxes) -> dict[str, Any]:
    found = {**axes.coords, MODULE: axes.modules}
    found[AVAILABLE] = ((axes.leading[0], MODULE), axes.here)
    if axes.recorded is not None:
        found[RECORDED] = ((TRAIN, PULSE), axes.recorded)
    return found


def pixel_numbers(
    shape: tuple[int, ...], window: tuple[Selector, ...]
) -> dict[str, NDArray[np.int64]]:
    """Return pixel numbers along the axes of which only a part is read."""
    axes = zip(pixel_dims(len(shape)), shape, window, strict=True)
    taken = {d: (np.arange(n)[w], n) for d, n, w in axes if d in (SLOW, FAST)}
    return {d: numbers for d, (numbers, n) in taken.items() if len(numbers) < n}


def bad_coordinate(bad: Node, chunks: Mapping[str, tuple[int, ...]]) -> tuple[Any, ...]:
    if isinstance(bad, Const):
        attrs = {UNITS: "1", LONG_NAME: "bad pixels, 0 is good"}
        return bad.dims, bad.array, attrs
    bits = planned(bad, {d: chunks[d] for d in bad.dims})
    return bad.dims, bits, {UNITS: "1", LONG_NAME: "bad-pixel bits, 0 is good"}


def frame_attrs(
    texts: FrameTexts,
    detector: str,
    request: FramesRequest,
    stored: np.dtype[Any],
    dtype: np.dtype[Any],
) -> dict[str, object]:
    return {
        UNITS: texts.units,
        LONG_NAME: f"{detector} {request.key}",
        "facility": texts.facility,
        "detector": detector,
        "run": texts.run_id,
        DATA_KIND: texts.data_kind,
        N_MODULES: texts.n_modules,
        FIRST_MODULE: texts.first_module,
        FINGERPRINT: texts.fingerprint,
        **request.stored(stored, dtype),
        **texts.attrs,
        **as_attrs(texts.left_out),
    }


def module_positions(modules: object, numbers: list[int], name: str) -> list[int]:
    """Return the positions, in order, of modules chosen by number; None: all."""
    if modules is None:
        return list(range(len(numbers)))
    listed = sorted(modules) if isinstance(modules, (set, frozenset)) else modules
    wanted = np.atleast_1d(as_positions(listed))
    if (wanted.size and wanted.dtype.kind not in "iu") or wanted.ndim != 1:
        raise ArgumentTypeError(
            "modules takes module numbers, such as modules=[0, 3], not"
            f" {shown(modules)}"
        )
    unknown = sorted({int(m) for m in wanted.tolist()} - set(numbers))
    if unknown:
        raise SelectionEmptyError(f"{name} has no module {unknown}; it has {numbers}")
    return [i for i, m in enumerate(numbers) if m in wanted]
