"""Images of a SACLA detector as the lazy labelled array of the data model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.utils import parse_bytes
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, PropertyNameError
from xfelred.hdf5.shot_images import read_images
from xfelred.lazy import ReadPlan, Source, block_chunks, one_each, planned
from xfelred.names import (
    ABSOLUTE_GAIN,
    AVAILABLE,
    BEAM,
    CELL,
    DATA_KIND,
    DETECTOR_STATUS,
    FAST,
    FINGERPRINT,
    FIRST_MODULE,
    FRAME,
    IN_EVENT_TABLE,
    LASER_ON,
    LONG_NAME,
    MODULE,
    N_MODULES,
    N_PULSES,
    PHOTON_ENERGY,
    PHOTON_ENERGY_OK,
    PULSE,
    REFERENCE_GAIN,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.provenance import record
from xfelred.readers.coordinates import describe
from xfelred.readers.entry import entry_window
from xfelred.readers.left_out import as_attrs, as_params
from xfelred.readers.request import FramesRequest
from xfelred.readers.sacla.files import IMAGE, Tags
from xfelred.readers.shot_frames import chosen_pulse

if TYPE_CHECKING:
    from xfelred.readers.sacla.detector import Detector

REQUIRE = ("any", "all", "event")
LONG_NAMES = {
    SHUTTER_OPEN: "the X-ray shutter was open: not a dark shot; False if unknown",
    SHUTTER_KNOWN: "the run tells whether the shutter was open",
    BEAM: "the accelerator delivered beam",
    LASER_ON: "the pump laser was on",
    PHOTON_ENERGY_OK: "the photon energy of the shot was measured",
    DETECTOR_STATUS: "status of the image, 1 is good, -1 unknown",
    IN_EVENT_TABLE: "the tag is in the event table",
}

GAINS = {
    ABSOLUTE_GAIN: "absolute gain of the module",
    REFERENCE_GAIN: "absolute gain of the first module of the detector",
}


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
    chunk_size: str | int = "128MiB",
    missing: Literal["fill", "drop", "raise"] = "fill",
    require: Literal["any", "all", "event"] = "any",
) -> xr.DataArray:
    """Return images as a lazy array (train, pulse, module, slow_scan, fast_scan).

    Parameters
    ----------
    detector : Detector
    key : str, optional
        Only ``detector_data``, the images.
    pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``, optional
        There is one pulse per tag, number 0.
    layout : {"train", "frame"}, optional
        "frame": one axis ``frame`` with coordinates train, pulse, cell.
    modules : int or sequence of int, optional
        Numbers k of ``detector_2d_k``; 0 for an assembled image or a single sensor.
    roi : slice, int or tuple of these, optional
        Pixels of each module to read.
    fill_value : scalar, optional
        What was not recorded; by default NaN; integers in which something is missing
        become floating for that, and ``stored_dtype`` tells what they were.
    astype : dtype, optional
        Cast to this while reading.
    bad_pixels : {"apply", "keep", None}, optional
        Without effect: the files hold no mask.
    chunk_size : str or int, optional
        Size of a block: all modules of some tags.
    missing : {"fill", "drop", "raise"}, optional
        What to do with tags at which a module has no image.
    require : {"any", "all", "event"}, optional
        Tags with an image of any module, with images of all modules (as
        ``missing="drop"``), or those which the event table knows too.

    Returns
    -------
    DataArray (train, pulse, module, slow_scan, fast_scan)
        Lazy, adu as in the file. Coordinates on train: ``shutter_open``,
        ``shutter_known``, ``beam``, ``laser_on`` (each where the file tells, False
        where it is unknown of a shot), ``photon_energy`` (eV, cleaned) with
        ``photon_energy_ok``, ``in_event_table``, ``n_pulses``; ``available`` (train,
        module), ``detector_status`` (train[, module]), ``absolute_gain`` (module), and
        ``reference_gain`` (), that of the first module of the whole detector.

    Raises
    ------
    PropertyNameError
        If the key is not that of the images.
    InconsistentDataError
        If modules have other shapes, or data are missing and ``missing="raise"``.
    SelectionEmptyError
        If nothing is left, or a module in `modules` is not there.
    ValueError, OverflowError
        If `fill_value` does not fit the dtype, or a word is not one of the choices.
    """
    request = FramesRequest(
        key or IMAGE, pulses, layout, modules, roi, fill_value, astype, bad_pixels,
        chunk_size, missing,
    )  # fmt: skip
    check_words(detector, request, require)
    ids = detector.ids
    detector = detector.with_modules(modules)
    ids = detector.complete(ids, missing, require)
    usable, status = detector.images(ids)
    plan = image_plan(detector, request, ids, usable)
    lead = (FRAME,) if layout == "frame" else (TRAIN, PULSE)
    node = Source(plan, (*lead, MODULE, SLOW, FAST))
    array = xr.DataArray(
        planned(node, block_chunks(node, parse_bytes(request.chunk_size))),
        dims=node.dims,
        coords=coordinates(detector, request, ids, usable, status),
        name=request.key,
    )
    describe(array)
    array[TRAIN].attrs[LONG_NAME] = "tag number"
    array.attrs = (
        attributes(detector, request)
        | request.stored(detector.image_kind.dtype, plan.dtype)
        | as_attrs(detector.data.left_out)
    )
    chosen = chosen_pulse(pulses)
    if not chosen:
        array = array.isel({lead[-1]: slice(0, 0)})
    params = {"detector": detector.detector_name, "modules": detector.modules}
    return record(
        array, "frames", **params, bad_pixels=bad_pixels, astype=str(plan.dtype),
        fill_value=fill_value, key=request.key, layout=layout, missing=missing,
        pulses=chosen, require=require, roi=str(roi), run=detector.data.run_id,
        **as_params(detector.data.left_out),
    )  # fmt: skip


def check_words(detector: Detector, request: FramesRequest, require: str) -> None:
    """Raise ValueError for a word that is no choice, PropertyNameError for a key."""
    if require not in REQUIRE:
        raise ArgumentError(f"require must be one of {REQUIRE}, not {require!r}")
    if request.key != IMAGE:
        raise PropertyNameError(
            f"{request.key!r} of {detector.detector_name} are no images; the images"
            f" are {IMAGE!r}, single values are in run.scalars"
        )


def image_plan(
    detector: Detector, request: FramesRequest, ids: Tags, usable: NDArray[np.bool_]
) -> ReadPlan:
    """Return which images to read; a row of the plan's datasets is a tag."""
    kind = detector.image_kind
    window, lengths, _ = entry_window(request.roi, kind.shape)
    dtype, fill = request.pixels(
        kind.dtype, detector.detector_name, gaps=not usable.all()
    )
    n, m = usable.shape
    flat = request.layout == "frame"
    targets: list[tuple[str, str]] = []
    target = np.full((n, m), -1, np.int32)
    for column, group in enumerate(detector.groups):
        for piece in group.pieces:
            here = usable[:, column] & np.isin(ids, piece.tags)
            target[here, column] = len(targets)
            targets.append((piece.file, piece.dataset()))
    return ReadPlan(
        read_rows=read_images,
        targets=tuple(targets),
        target=target,
        first=np.broadcast_to(ids[:, None], (n, m)).copy(),
        pattern=np.zeros(n, np.int64),
        patterns=one_each(1),
        slot_shape=() if flat else (1,),
        entry=window,
        entry_shape=lengths,
        n_inner=0,
        dtype=dtype,
        fill_value=fill,
        flat=flat,
        token=tokenize(
            [file.token() for file in detector.data.files], targets, ids, usable,
            window, str(dtype), str(fill), flat,
        ),
        ids=ids,
        chunk=(1, *kind.chunk) if kind.chunk else (),
    )  # fmt: skip


def coordinates(
    detector: Detector,
    request: FramesRequest,
    ids: Tags,
    usable: NDArray[np.bool_],
    status: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the coordinates of the frames, with units and long names."""
    flat = request.layout == "frame"
    shot = FRAME if flat else TRAIN
    coords: dict[str, Any] = {TRAIN: (shot, ids), MODULE: detector.modules}
    zeros = np.zeros(len(ids), np.int64)
    if flat:
        coords |= {PULSE: (FRAME, zeros), CELL: (FRAME, zeros)}
    else:
        coords |= {PULSE: [0], N_PULSES: (shot, usable.any(axis=1).astype(np.int64))}
    coords[AVAILABLE] = ((shot, MODULE), usable)
    coords |= {k: (shot, v) for k, v in detector.data.shots.of(ids).items()}
    one_image = detector.kind in ("assembled", "single", "image") and (
        status.shape[1] == 1
    )
    coords[DETECTOR_STATUS] = (
        (shot, status[:, 0]) if one_image else ((shot, MODULE), status)
    )
    if np.isfinite(detector.reference_gain):
        coords[ABSOLUTE_GAIN] = (MODULE, detector.gains)
        coords[REFERENCE_GAIN] = ((), detector.reference_gain)
    kind = detector.image_kind
    window, lengths, _ = entry_window(request.roi, kind.shape)
    for d, w, n, full in zip((SLOW, FAST), window, lengths, kind.shape, strict=True):
        if n < full:
            coords[d] = np.arange(full)[w]
    return {k: described(k, v) for k, v in coords.items()}


def described(name: str, value: Any) -> xr.Variable:
    """Return a coordinate with its unit and long name where only SACLA has it."""
    dims, data = value if isinstance(value, tuple) else (name, value)
    attrs = {UNITS: "1", LONG_NAME: LONG_NAMES.get(name, name)}
    if name == PHOTON_ENERGY:
        attrs = {UNITS: "eV", LONG_NAME: "photon energy of the shot"}
    if name in GAINS:
        attrs = {UNITS: "electron/adu", LONG_NAME: GAINS[name]}
    return xr.Variable(dims, np.asarray(data), attrs)


def attributes(detector: Detector, request: FramesRequest) -> dict[str, Any]:
    files = [(f.path.rsplit("/", 1)[-1], f.size, f.mtime) for f in detector.data.files]
    whole = (detector.whole or detector.spec).modules
    return {
        UNITS: "adu",
        LONG_NAME: f"{detector.detector_name} {request.key}",
        "facility": "sacla",
        "detector": detector.detector_name,
        "detector_kind": detector.kind,
        N_MODULES: int(max(whole)) - int(min(whole)) + 1,
        FIRST_MODULE: int(min(whole)),
        # Nothing in the file tells whether a dark image was taken off before.
        DATA_KIND: "raw",
        "run": detector.data.run_id,
        "darks_from": detector.data.shots.told_by,
        FINGERPRINT: str(tokenize(files))[:16],
    }
