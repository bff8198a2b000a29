"""Gain range of every pixel, from its own bits and the configuration."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.detectors import CATALOGUE
from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, MissingConstantError
from xfelred.kernels.arrays import Array
from xfelred.kernels.calibration.gain_bits import (
    NO_RANGE,
    epix10ka_index,
    index_of_bits,
)
from xfelred.kernels.image.masking import masked
from xfelred.lazy import map_frames
from xfelred.names import FAST, LONG_NAME, MODULE, SLOW, UNITS
from xfelred.ops.calibration.raw_words import has_words, raw_words
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.companions import Mask, matching
from xfelred.provenance import record


@entry
def gain_index(
    da: xr.DataArray,
    *,
    kind: str,
    config: xr.DataArray | Array | None = None,
    trbit: xr.DataArray | Array | int | None = None,
) -> xr.DataArray:
    """Return the gain range of every pixel of raw frames.

    Parameters
    ----------
    da : DataArray, integer (..., slow_scan, fast_scan), adu
        Raw frames with their gain bits.
    kind : str
        "epix10ka" and "epixhr" need `config`; "jungfrau" and "lpd" do not.
    config : DataArray or array, integer ([module,] slow_scan, fast_scan), optional
        Configuration of the pixels: bits 2 and 3 of the control word; also its bit 4,
        unless there is `trbit`.
    trbit : DataArray, array or int, optional
        Bit 4 of the control word: one number, one for each module, each pixel, or each
        ASIC, (..., 2, 2) as the ASICs lie in the image.

    Returns
    -------
    DataArray, uint8 (...)
        Lazy. epix10ka: 0 to 6 are FH, FM, FL, AHL-H, AML-M, AHL-L and AML-L. Others: 0
        is the highest gain. 255 where the bits stand for none, or nothing was recorded.

    Raises
    ------
    ValueError
        If the kind does not switch its gain by bits, or the data are not integers.
    MissingConstantError
        If the configuration is needed and not given.
    GeometryMismatchError
        If it does not fit the frames.

    Notes
    -----
    Control word of psana: ``c = config | trbit << 4 | gain bit << 5``, where the gain
    bit is bit 14 of the number.

    Examples
    --------
    >>> raw = xr.DataArray(np.array([[0, 1, 2, 3]], "u2") << 14,
    ...                    dims=("slow_scan", "fast_scan"))
    >>> gain_index(raw, kind="jungfrau").values
    array([[  0,   1, 255,   2]], dtype=uint8)
    """
    found = kind_of(kind)
    name, rule = found.kind, found.gain.rule
    check_switching(da, name)
    words, gaps = raw_words(da)
    if found.gain.tells == "configuration":
        if config is None:
            raise MissingConstantError(
                f"the gain index of {name} needs the configuration of the pixels;"
                " pass config= and, unless it is its bit 4, trbit="
            )
        companions = [on_pixels(config, da, "config")]
        if trbit is not None:
            companions.append(on_pixels(trbit, da, "trbit"))
        out = map_frames(
            epix10ka_index,
            words,
            *companions,
            core_dims=(SLOW, FAST),
            dtype=np.uint8,
            name="gain_index",
        )
    elif found.gain.tells == "bits":
        out = map_frames(
            index_of_bits,
            words,
            dtype=np.uint8,
            name="gain_index",
            shift=rule.shift,
            code_bits=rule.code_bits,
            codes=rule.codes,
        )
    else:
        switching = dict.fromkeys(
            d.kind for d in CATALOGUE.values() if d.gain.rule.shift
        )
        raise ArgumentError(
            f"the numbers of {name} hold no gain bits; those of {', '.join(switching)}"
            " do"
        )
    # The word 0 of a gap would stand for a gain range.
    for gap in gaps:
        out = map_frames(masked, out, gap, value=NO_RANGE)
    out.name = "gain_index"
    out.attrs = {**da.attrs, UNITS: "1", LONG_NAME: "gain range of the pixel"}
    return record(out, "gain_index", da, kind=name, config=config, trbit=trbit)


def check_switching(da: xr.DataArray, kind: str) -> None:
    """Raise ValueError unless the data are integers, which have bits."""
    if not has_words(da):
        raise ArgumentError(
            f"the data are {da.dtype}, but raw numbers of {kind} are integers that hold"
            " gain bits; were these frames calibrated already? Read the raw ones"
        )


def on_pixels(given: Mask, da: xr.DataArray, name: str) -> xr.DataArray:
    """Return bits of the configuration, labelled as the pixels of the data.

    Raises GeometryMismatchError if the shape or labels do not fit.
    """
    if not isinstance(given, xr.DataArray):
        values = np.asarray(given)
        dims = tuple(d for d in (MODULE, SLOW, FAST) if d in da.dims)
        shape = tuple(da.sizes[d] for d in dims)
        if values.shape == shape[:1] and len(dims) == 3:
            return xr.DataArray(values, dims=MODULE)
        # Of four ASICs, unless the module has no more pixels.
        if values.shape[-2:] == (2, 2) != shape[-2:]:
            rows, columns = shape[-2] // 2, shape[-1] // 2
            values = values.repeat(rows, axis=-2).repeat(columns, axis=-1)
        if values.ndim and values.shape not in {shape, shape[-2:]}:
            raise GeometryMismatchError(
                f"{name} has shape {np.shape(given)}, the frames have {shape}; give a"
                f" DataArray with dims {dims}"
            )
        given = xr.DataArray(values, dims=dims[len(dims) - values.ndim :])
    if given.dtype.kind not in "biu":
        raise ArgumentError(f"{name} must be integer bits, not {given.dtype}")
    return matching(given, da, name)
