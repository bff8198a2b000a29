"""Pixel data of a detector as the lazy labelled array of the data model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.utils import parse_bytes
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    InconsistentDataError,
    SelectionEmptyError,
    logger_of,
    shown,
    warn,
)
from xfelred.kernels.image.masking import masked
from xfelred.lazy import Map, Node, Source, block_chunks, planned
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    DATA_KIND,
    FAST,
    FINGERPRINT,
    FIRST_MODULE,
    FRAME,
    LONG_NAME,
    MODULE,
    N_MODULES,
    PULSE,
    RECORDED,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.provenance import jsonable, record
from xfelred.readers.coordinates import describe
from xfelred.readers.entry import checked_fill, entry_window
from xfelred.readers.euxfel.frame_axes import (
    FrameAxes,
    cell_axes,
    per_cell,
    pulse_axes,
)
from xfelred.readers.euxfel.mask import mask_node
from xfelred.readers.euxfel.module_plans import (
    Pixels,
    has_key,
    key_table,
    module_plan,
    stored_as,
)
from xfelred.readers.left_out import as_attrs, as_params
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import as_positions

if TYPE_CHECKING:
    from xfelred.readers.euxfel.detector import Detector

log = logger_of(__name__)


@entry
def frames(
    detector: Detector,
    key: str | None = None,
    *,
    pulses: Any = np.s_[:],
    layout: Literal["train", "frame"] = "train",
    modules: Any = None,
    roi: Any = (),
    fill_value: Any = None,
    astype: Any = None,
    bad_pixels: Literal["apply", "keep"] | None = "apply",
    chunk_size: str | float = "128MiB",
    missing: Literal["fill", "drop", "raise"] = "fill",
) -> xr.DataArray:
    """Return pixel data as a lazy array (train, pulse, module, slow_scan, fast_scan).

    Parameters
    ----------
    detector : Detector
    key : str, optional
        By default the pixel data.
    pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``, optional
        Pulses of each train: positions, or pulse IDs with ``by_id``. Of JUNGFRAU,
        memory cells: positions, or cell numbers with ``by_id``.
    layout : {"train", "frame"}, optional
        "train": one axis each for trains and pulses, padded where trains differ;
        "frame": one axis ``frame`` with coordinates train, pulse, cell, never padded.
    modules : int or sequence of int, optional
        Numbers of the modules to read. Only these must agree with each other.
    roi : slice, int or tuple of these, optional
        Pixels of each module to read; of raw AGIPD data the first axis is
        ``data_gain``, and an integer there drops it.
    fill_value : scalar, optional
        What was not recorded; by default NaN. Integers in which something is missing
        become float32 (up to 16 bits) or float64 for that, unless there is a fill
        value; the attribute ``stored_dtype`` tells what they were. Masks stay integers,
        with 0.
    astype : dtype, optional
        Cast to this while reading.
    bad_pixels : {"apply", "keep", None}, optional
        What to do with the mask of corrected data. "apply": bad pixels are NaN
        (integers become float32 or float64 for that); "keep": a lazy coordinate
        ``bad_pixels`` holds the bits; None: leave it alone. Where a file has no mask
        nothing is masked, and a warning names it once.
    chunk_size : str or int, optional
        Size of a block, all modules of whole trains or of some pulses of a train.
    missing : {"fill", "drop", "raise"}, optional
        What to do with trains in which a module has no data.

    Returns
    -------
    DataArray (train, pulse[, gain], module[, data_gain], slow_scan, fast_scan)
        Lazy; coordinates train, pulse, module, ``cell``, ``available`` (train, module),
        ``n_pulses`` (train) and, if padded, ``recorded`` (train, pulse). The attribute
        ``data_kind`` is "raw" or "corrected". The dtype holds that of every file.

    Raises
    ------
    PropertyNameError
        If the key is unknown.
    InconsistentDataError
        If modules disagree on pulses, files store pixels in ways that no dtype and
        shape hold, or data are missing and ``missing="raise"``.
    SelectionEmptyError
        If ``missing="drop"`` leaves nothing, or a module in `modules` is not there.
    ValueError, OverflowError
        If `fill_value` does not fit the dtype, or a word is not one of the choices.
    """
    request = FramesRequest(
        key or detector.spec.data, pulses, layout, modules, roi, fill_value, astype,
        bad_pixels, chunk_size, missing,
    )  # fmt: skip
    positions = module_positions(detector, request.modules)
    detector = detector.reading(positions)
    check_group(detector, request.key)
    detector = complete(detector, positions, request)
    make_axes: Any = cell_axes if detector.spec.inner else pulse_axes
    axes: FrameAxes = make_axes(detector, request)
    node, bad = nodes(detector, request, axes, positions)
    if detector.spec.inner and layout == "frame":
        node = per_cell(node, detector.frames_per_entry)
        bad = None if bad is None else per_cell(bad, detector.frames_per_entry)
    array = labelled(detector, request, axes, positions, node)
    if bad is not None and request.bad_pixels == "keep":
        bits = planned(bad, dict(zip(bad.dims, array.chunks or (), strict=True)))
        array = array.assign_coords({BAD_PIXELS: (array.dims, bits)})
        array[BAD_PIXELS].attrs = {UNITS: "1", LONG_NAME: "bad-pixel bits, 0 is good"}
    return recorded_history(detector, request, array)


def check_group(detector: Detector, key: str) -> None:
    """Raise ValueError for a key whose rows are not frames."""
    group = detector.main_group
    if key.partition(".")[0] != group or (
        detector.spec.inner and not stored_as(detector, key)[1]
    ):
        raise ArgumentError(
            f"{key!r} of {detector.detector_name} has one row per train, not one per"
            f" frame; read it with run.detector(...)[{key!r}].xarray()"
        )


def module_positions(detector: Detector, modules: Any) -> list[int]:
    if modules is None:
        return list(range(len(detector.modules)))
    listed = sorted(modules) if isinstance(modules, (set, frozenset)) else modules
    numbers = np.atleast_1d(as_positions(listed))
    if (numbers.size and numbers.dtype.kind not in "iu") or numbers.ndim != 1:
        raise ArgumentTypeError(
            "modules takes module numbers, such as modules=[0, 3], not"
            f" {shown(modules)}"
        )
    wanted = [int(m) for m in numbers.tolist()]
    unknown = sorted(set(wanted) - set(detector.modules))
    if unknown:
        raise SelectionEmptyError(
            f"{detector.detector_name} has no module {unknown}; it has"
            f" {detector.modules}"
        )
    return [i for i, m in enumerate(detector.modules) if m in wanted]


def complete(
    detector: Detector, positions: list[int], request: FramesRequest
) -> Detector:
    """Return the detector without the trains that `missing` leaves out."""
    if request.missing == "fill":
        return detector
    here = key_table(detector, request.key).count[:, positions] > 0
    whole = here.all(axis=1)
    if whole.all():
        return detector
    if request.missing == "raise":
        train, module = np.argwhere(~here)[0]
        raise InconsistentDataError(
            f"{int((~here).sum())} gaps (module x train) in"
            f" {detector.detector_name}: module"
            f" {detector.modules[positions[module]]} has no data in train"
            f" {detector.data.ids[train]}. Use missing='fill' or missing='drop'"
        )
    if not whole.any():
        raise SelectionEmptyError(
            f"no train of {detector.detector_name} has data of all {len(positions)}"
            " modules; use missing='fill' or fewer modules"
        )
    return detector.with_ids(detector.data.ids[whole])


def nodes(
    detector: Detector, request: FramesRequest, axes: FrameAxes, positions: list[int]
) -> tuple[Node, Node | None]:
    """Return the recipes of the pixels, and of the bad-pixel bits if there are any."""
    stored, shape = stored_as(detector, request.key)
    if stored.kind not in "biufc":
        raise InconsistentDataError(
            f"{request.key} of {detector.detector_name} is {stored}, which no image is;"
            f" read it with run.detector(...)[{request.key!r}]"
        )
    shape = shape[1:] if axes.drops_raw_axis(shape) else shape
    window, lengths, _ = entry_window(axes.full_roi(request.roi), shape)
    window = axes.window(window)
    lengths = axes.lengths(lengths)
    gaps = request.key != detector.spec.mask and has_gaps(
        detector, request, axes, positions
    )
    dtype, fill = request.pixels(stored, detector.detector_name, gaps=gaps)
    masking = request.bad_pixels is not None and usable_mask(detector, request.key)
    if masking:
        key_table(detector, detector.spec.mask)  # tells of files without one
    if masking and request.bad_pixels == "apply" and dtype.kind != "f":
        if request.astype is not None:
            raise ArgumentError(
                f"bad pixels cannot be NaN in {dtype}; use bad_pixels='keep' or None"
                " together with an integer astype"
            )
        dtype = np.result_type(dtype, np.float32)
        fill = checked_fill(request.fill_value, dtype)
    pixels = Pixels(window, lengths, dtype, fill, axes.n_inner)
    plan = module_plan(detector, request.key, axes.layout, pixels, positions)
    dims = axes.dims(len(lengths) - axes.n_inner)
    node: Node = Source(plan, dims)
    bad = mask_node(detector, plan, dims) if masking else None
    if bad is not None and request.bad_pixels == "apply":
        params = {"bits": None, "value": float("nan")}
        node = Map(masked, (node, bad), dims, (), (), dtype, "apply_bad_pixels", params)
    return node, bad


def recorded_frames(
    detector: Detector, request: FramesRequest, axes: FrameAxes, positions: list[int]
) -> NDArray[np.bool_]:
    """Return which modules have data, (train or frame, module)."""
    here = key_table(detector, request.key).count[:, positions] > 0
    return here if request.layout == "train" else here[axes.train_of_frame]


def has_gaps(
    detector: Detector, request: FramesRequest, axes: FrameAxes, positions: list[int]
) -> bool:
    """Return whether a frame of a module is missing in the array."""
    padded = axes.recorded is not None and not axes.recorded.all()
    return padded or not recorded_frames(detector, request, axes, positions).all()


def usable_mask(detector: Detector, key: str) -> bool:
    """Return whether the data have a mask that belongs to the pixels of a key."""
    pixels = {detector.spec.data, detector.spec.data.replace(".data", ".gain")}
    return key in pixels and has_key(detector, detector.spec.mask)


def labelled(
    detector: Detector,
    request: FramesRequest,
    axes: FrameAxes,
    positions: list[int],
    node: Node,
) -> xr.DataArray:
    """Return the lazy array with its coordinates and attributes."""
    numbers = [detector.modules[i] for i in positions]
    here = recorded_frames(detector, request, axes, positions)
    coords: dict[str, Any] = {**axes.coords, MODULE: numbers}
    coords |= pixel_coordinates(
        request, node, axes, stored_as(detector, request.key)[1]
    )
    if request.layout == "train":
        coords[AVAILABLE] = ((TRAIN, MODULE), here)
        if axes.recorded is not None:
            coords[RECORDED] = ((TRAIN, PULSE), axes.recorded)
            warn_padding(detector, axes.recorded)
    else:
        coords[AVAILABLE] = ((FRAME, MODULE), here)
    array = xr.DataArray(
        planned(node, block_chunks(node, parse_bytes(request.chunk_size))),
        dims=node.dims,
        coords=coords,
        name=request.key.split(".")[-1],
    )
    squeezed = [d for d in axes.dropped(request.roi, node) if d in array.dims]
    array = array.isel(dict.fromkeys(squeezed, 0))
    array.attrs = {
        UNITS: "adu" if request.key == detector.spec.data else "1",
        LONG_NAME: f"{detector.detector_name} {request.key}",
        "facility": "euxfel",
        "detector": detector.detector_name,
        "detector_kind": detector.kind,
        N_MODULES: detector.n_modules,
        FIRST_MODULE: detector.first_number,
        DATA_KIND: "raw" if detector.is_raw else "corrected",
        "run": detector.data.run_id,
        FINGERPRINT: fingerprint(detector),
        **request.stored(stored_as(detector, request.key)[0], node.dtype),
    }
    describe(array)
    if detector.spec.inner:
        array[PULSE].attrs[LONG_NAME] = "position among the memory cells of a train"
    return array


def pixel_coordinates(
    request: FramesRequest, node: Node, axes: FrameAxes, stored: tuple[int, ...]
) -> dict[str, Any]:
    """Return pixel numbers along the axes of which only a part is read."""
    shape = stored[1:] if axes.drops_raw_axis(stored) else stored
    window, lengths, _ = entry_window(axes.full_roi(request.roi), shape)
    coords: dict[str, Any] = {}
    for d, w, n, full in list(
        zip(node.dims[::-1], window[::-1], lengths[::-1], shape[::-1], strict=False)
    )[:2]:
        if n < full and d in (SLOW, FAST):
            coords[d] = np.arange(full)[w]
    return coords


def warn_padding(detector: Detector, recorded: NDArray[np.bool_]) -> None:
    """Say once how much of a dense array is padding."""
    part = 1 - recorded.mean()
    warn(
        f"trains of {detector.detector_name} differ in their pulses: {part:.0%} of the"
        " train x pulse array is padding. layout='frame' avoids it"
    )


def fingerprint(detector: Detector) -> str:
    """Return what identifies the files behind a detector, as 16 letters."""
    files = {f.token() for e in detector.data.entries.values() for f in e.all_files}
    names = sorted((p.rsplit("/", 1)[-1], size, mtime) for p, size, mtime in files)
    return str(tokenize(names))[:16]


def recorded_history(
    detector: Detector, request: FramesRequest, array: xr.DataArray
) -> xr.DataArray:
    """Return the array with its first line of history."""
    params = {
        k: v for k, v in vars(request).items()
        if k not in ("chunk_size", "modules")
    }  # fmt: skip
    chosen = getattr(request.pulses, "value", request.pulses)
    by = "position" if chosen is request.pulses else type(request.pulses).__name__
    values = np.asarray(chosen).tolist() if np.ndim(chosen) else chosen
    params["pulses"] = [by, jsonable(values)]
    params["roi"] = str(request.roi)
    params["detector"] = detector.detector_name
    params["modules"] = [int(m) for m in array[MODULE].values.ravel()]
    left_out = detector.data.left_out
    array.attrs |= as_attrs(left_out)
    return record(array, "frames", **params, **as_params(left_out))
