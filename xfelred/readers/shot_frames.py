"""Frames of runs with one image, or one stack of modules, for every shot.

A reader says which row of which dataset belongs to each shot (`ShotImages`), and gets
the lazy labelled array that all facilities share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.utils import parse_bytes
from numpy.typing import NDArray

from xfelred.errors import (
    ArgumentTypeError,
    InconsistentDataError,
    SelectionEmptyError,
    shown,
    warn,
)
from xfelred.hdf5.rows import read_rows
from xfelred.kernels.image.masking import masked
from xfelred.lazy import (
    Const,
    Map,
    Node,
    ReadPlan,
    RowReader,
    Source,
    View,
    block_chunks,
    one_each,
    planned,
)
from xfelred.lazy.indexing import Selector, as_slice
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    CELL,
    DATA_KIND,
    FAST,
    FINGERPRINT,
    FIRST_MODULE,
    FRAME,
    LONG_NAME,
    MODULE,
    N_MODULES,
    N_PULSES,
    PIXEL_DIMS,
    PULSE,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.provenance import record
from xfelred.readers.coordinates import describe
from xfelred.readers.data_kind import DataKind
from xfelred.readers.entry import as_dtype, cut, entry_window
from xfelred.readers.left_out import LeftOut, as_attrs, as_params
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import ById, ByIndex, as_positions, matches

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
    target : int32 (shot,)
        Dataset of each shot, as a position in `targets`; -1: no image.
    row : int64 (shot,)
        Row of that dataset.
    shape : (slow, fast) or (module, slow, fast)
        Of a row.
    dtype : dtype
        In the files.
    modules : tuple of int
        Number of each module; one number where rows have two axes.
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
        Coordinates along ``train``, one value for each shot of the images.
    attrs : mapping
        More attributes.
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
    data_kind: DataKind = "raw"
    left_out: tuple[LeftOut, ...] = ()


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
    positions = module_positions(request.modules, images.modules, images.name)
    keep = complete(images, request)
    images = images.of(keep)
    shots = {k: v[keep] for k, v in (labels.shots or {}).items()}
    lead = (FRAME,) if request.layout == "frame" else (TRAIN, PULSE)
    node = image_node(images, request, positions, lead)
    bad = bad_pixels_of(images, request, positions)
    chunks = block_chunks(node, parse_bytes(request.chunk_size))
    asked = as_dtype(request.astype, images.dtype)
    if bad is not None and request.bad_pixels == "apply" and asked.kind == "f":
        node = without_bad(node, bad)
    coords = coordinates(images, request, positions, lead)
    coords |= {k: (lead[0], v.data, v.attrs) for k, v in shots.items()}
    if bad is not None and request.bad_pixels == "keep":
        attrs = {UNITS: "1", LONG_NAME: "bad pixels, 0 is good"}
        coords[BAD_PIXELS] = (PIXEL_DIMS, bad, attrs)
    array = xr.DataArray(
        planned(node, chunks), dims=node.dims, coords=coords,
        name=request.key.split("/")[-1],
    )  # fmt: skip
    describe(array)
    array[TRAIN].attrs = {UNITS: "1", LONG_NAME: labels.train}
    array.attrs = {
        UNITS: labels.units,
        LONG_NAME: f"{images.name} {request.key}",
        "facility": labels.facility,
        "detector": images.name,
        "run": labels.run_id,
        DATA_KIND: labels.data_kind,
        **places(images.modules),
        FINGERPRINT: labels.fingerprint,
        **request.stored(images.dtype, node.dtype),
        **(labels.attrs or {}),
        **as_attrs(labels.left_out),
    }
    chosen = chosen_pulse(request.pulses)
    if not chosen:
        array = array.isel({lead[-1]: slice(0, 0)})
    params = {
        k: getattr(request, k)
        for k in ("bad_pixels", "fill_value", "key", "layout", "missing")
    }
    return record(
        array, "frames", **params, astype=str(node.dtype), detector=images.name,
        modules=[images.modules[i] for i in positions], pulses=chosen,
        roi=str(request.roi), run=labels.run_id, **as_params(labels.left_out),
    )  # fmt: skip


def module_positions(modules: Any, numbers: tuple[int, ...], name: str) -> list[int]:
    """Return the positions, in order, of modules chosen by number; None: all.

    Raises
    ------
    SelectionEmptyError
        If one is not there.
    TypeError
        If `modules` are no integers.
    """
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
        raise SelectionEmptyError(
            f"{name} has no module {unknown}; it has {list(numbers)}"
        )
    return [i for i, m in enumerate(numbers) if m in wanted]


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


def image_node(
    images: ShotImages,
    request: FramesRequest,
    positions: list[int],
    lead: tuple[str, ...],
) -> Node:
    """Return the recipe (*lead, module, slow_scan, fast_scan) of the images."""
    window, lengths, _ = entry_window(request.roi, images.shape[-2:])
    dtype, fill = request.pixels(
        images.dtype, images.name, gaps=bool((images.target < 0).any())
    )
    stacked = len(images.shape) > 2
    entry: tuple[Selector, ...] = window
    if stacked:
        entry = (as_slice(np.asarray(positions, np.int64)), *window)
        lengths = (len(positions), *lengths)
    flat = lead == (FRAME,)
    target = images.target.astype(np.int32)[:, None]
    plan = ReadPlan(
        read_rows=images.reader,
        targets=images.targets,
        target=target if stacked or positions else target[:, :0],
        first=images.row.astype(np.int64)[:, None],
        pattern=np.zeros(len(target), np.int64),
        patterns=one_each(1),
        slot_shape=() if flat else (1,),
        entry=entry,
        entry_shape=lengths,
        n_inner=int(stacked),
        dtype=dtype,
        fill_value=fill,
        flat=flat,
        token=tokenize(
            images.token, images.targets, images.ids, images.target, images.row, entry,
            str(dtype), str(fill), flat,
        ),
        ids=images.ids,
        chunk=images.chunk,
    )  # fmt: skip
    if not stacked:
        return Source(plan, (*lead, *PIXEL_DIMS))
    # All modules stand in one row: their axis is one inside a row.
    source = Source(plan, (*lead, MODULE, STORED_APART, SLOW, FAST))
    return View(source, (*lead, *PIXEL_DIMS))


def bad_pixels_of(
    images: ShotImages, request: FramesRequest, positions: list[int]
) -> NDArray[Any] | None:
    """Return the bad pixels of what is read, None if they are unknown or unwanted."""
    if request.bad_pixels is not None and images.bad_misfit:
        warn(images.bad_misfit)
    if images.bad is None or request.bad_pixels is None:
        return None
    window, _, _ = entry_window(request.roi, images.shape[-2:])
    return np.ascontiguousarray(cut(images.bad[positions], window))


def without_bad(node: Node, bad: NDArray[Any]) -> Node:
    """Return the recipe with NaN for bad pixels."""
    params = {"bits": None, "value": float("nan")}
    const = Const(bad, PIXEL_DIMS, tokenize(bad))
    args = (node, const)
    return Map(masked, args, node.dims, (), (), node.dtype, "apply_bad_pixels", params)


def coordinates(
    images: ShotImages,
    request: FramesRequest,
    positions: list[int],
    lead: tuple[str, ...],
) -> dict[str, Any]:
    n, shot = len(images.ids), lead[0]
    here = images.target >= 0
    coords: dict[str, Any] = {
        TRAIN: (shot, images.ids),
        MODULE: [images.modules[i] for i in positions],
        AVAILABLE: ((shot, MODULE), np.repeat(here[:, None], len(positions), axis=1)),
    }
    if shot == FRAME:
        zeros = np.zeros(n, np.int64)
        coords |= {PULSE: (FRAME, zeros), CELL: (FRAME, zeros)}
    else:
        coords |= {PULSE: [0], N_PULSES: (shot, here.astype(np.int64))}
    window, lengths, _ = entry_window(request.roi, images.shape[-2:])
    for d, w, length, full in zip(
        (SLOW, FAST), window, lengths, images.shape[-2:], strict=True
    ):
        if length < full:
            coords[d] = np.arange(full)[w]
    return coords
