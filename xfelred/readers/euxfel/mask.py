"""The bad-pixel mask that corrected data carry, applied while reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, InconsistentDataError
from xfelred.kernels.image.masking import any_plane, masked
from xfelred.lazy import Map, Node, ReadPlan, Source
from xfelred.readers.euxfel.headers import Stored
from xfelred.readers.euxfel.module_data import ModuleData


@dataclass(frozen=True)
class Mask:
    """Which bits make a pixel bad (None: any) and what a bad pixel becomes."""

    bits: int | None
    value: Any

    def apply(self, images: NDArray[Any], bad: NDArray[Any]) -> NDArray[Any]:
        return masked(images, bad, bits=self.bits, value=self.value)

    def applied(self, data: Node, bad: Node) -> Map:
        args, params = (data, bad), {"bits": self.bits, "value": self.value}
        name = "apply_bad_pixels"
        return Map(masked, args, data.dims, (), (), data.dtype, name, params)

    def node(self, detector: ModuleData, plan: ReadPlan, dims: tuple[str, ...]) -> Node:
        """Return the recipe of the mask that goes with a plan of pixels."""
        names = dims or tuple(map(str, range(len(plan.shape))))
        return mask_node(detector, plan, names)


def mask_node(detector: ModuleData, plan: ReadPlan, dims: tuple[str, ...]) -> Node:
    """Return the bad-pixel bits of the elements that a plan of pixel data reads.

    Where a module was not recorded, or a file has no mask, the bits are 0. In the
    oldest corrected files the mask has three planes; a pixel is bad if any of them is
    set.
    """
    key = detector.spec.mask
    dtype, planes = mask_planes(detector)
    lacking = [i for i, h in detector.key_headers(key).items() if h is None]
    # Where a file has no mask, nothing is read and the bits stay 0.
    gone = np.isin(plan.target, lacking)
    bad = replace(
        plan,
        targets=detector.table(detector.main_group).places(key),
        target=np.where(gone, -1, plan.target).astype(plan.target.dtype),
        entry=(*plan.entry, *(slice(0, n, 1) for n in planes)),
        entry_shape=(*plan.entry_shape, *planes),
        dtype=dtype,
        fill_value=dtype.type(0),
        token=tokenize(plan.token, key),
    )
    if not planes:
        return Source(bad, dims)
    source_node = Source(bad, (*dims, "plane"))
    return Map(
        any_plane, (source_node,), dims, ("plane",), (), np.dtype(np.uint8), "any_plane"
    )


def mask_planes(detector: ModuleData) -> Stored:
    """Return the dtype of the mask, and its axes beyond those of the pixels."""
    dtype, shape = detector.stored_in(detector.spec.mask)
    _, pixels = detector.stored_as(detector.spec.data)
    if not detector.spec.inner:
        # Raw data, and so what is made of them, may have an axis of length 1.
        shape = shape[1:] if shape[:1] == (1,) else shape
        pixels = pixels[1:] if pixels[:1] == (1,) else pixels
    if dtype.kind not in "biu" or shape[: len(pixels)] != pixels:
        raise InconsistentDataError(
            f"{detector.spec.mask} of {detector.detector_name} is {dtype} {shape}, but"
            f" {detector.spec.data} has entries of shape {pixels}: it is not the mask"
            " of these pixels. Read them without it: bad_pixels=None"
        )
    return dtype.newbyteorder("="), shape[len(pixels) :]


def combined_bits(bits: int | Iterable[int] | None) -> int | None:
    """Return bits as one number; None stands for any bit."""
    if bits is None or isinstance(bits, (int, np.integer)):
        return None if bits is None else int(bits)
    combined = 0
    for bit in bits:
        combined |= int(bit)
    return combined


def checked_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a value for bad pixels; ValueError if the dtype cannot hold it."""
    if dtype.kind in "iu" and not np.isfinite(value):
        raise ArgumentError(
            f"bad pixels cannot become {value} in data of dtype {dtype}; pass"
            " masked_value= a number, or astype='float32' where the data are read"
        )
    return value
