"""What `frames` of a run was asked for, the same for every facility."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from dask.utils import parse_bytes

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    InconsistentDataError,
    python_scalar,
    shown,
    warn,
)
from xfelred.names import STORED_DTYPE
from xfelred.readers.entry import as_dtype, checked_fill

LARGEST = 8  # bytes of a pixel; what is longer is no number of a detector


@entry
@dataclass(frozen=True)
class FramesRequest:
    """What `frames` was asked for, checked; see `xfelred.readers.every_run.EveryRun`.

    Without a key it is that of the pixels.
    """

    called = "frames"  # by users

    key: str = ""
    pulses: object = field(default_factory=lambda: slice(None))
    layout: Literal["train", "frame"] = "train"
    modules: object = None
    roi: object = ()
    fill_value: object = None
    astype: object = None
    bad_pixels: Literal["apply", "keep"] | None = "apply"
    chunk_size: str | float = "128MiB"
    missing: Literal["fill", "drop", "raise"] = "fill"

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunk_size", python_scalar(self.chunk_size))
        try:
            n_bytes = parse_bytes(self.chunk_size)
        except (ValueError, TypeError, OverflowError, AttributeError):
            n_bytes = 0
        if n_bytes < 1:
            raise ArgumentError(
                "chunk_size must be a number of bytes above 0, such as '128MiB', not"
                f" {shown(self.chunk_size)}"
            )

    def pixels(
        self, stored: np.dtype[Any], name: str, *, gaps: bool
    ) -> tuple[np.dtype[Any], Any]:
        """Return the dtype of frames, and the value of what was not recorded.

        Integers in which something is missing become float32 (up to 16 bits) or
        float64, so that a gap is NaN and no mean, minimum or comparison counts it. They
        stay integers if a fill value was asked for. `name` is that of the detector;
        there are `gaps` if an element of the result was not recorded.
        """
        if stored.kind not in "biuf" or stored.itemsize > LARGEST:
            raise InconsistentDataError(
                f"pixels of {name} are stored as {stored}, which are no numbers of up"
                " to 64 bits: the file is damaged, or this is no detector"
            )
        dtype = as_dtype(self.astype, stored)
        if gaps and self.fill_value is None and dtype.kind in "iu":
            if self.astype is None:
                dtype = np.result_type(dtype.newbyteorder("="), np.float32)
            else:
                warn(
                    f"what was not recorded is 0 in {dtype}, and counts in sums and"
                    " means; pass fill_value= to choose the number, or leave out astype"
                    " to have NaN"
                )
        return dtype, checked_fill(self.fill_value, dtype)

    def stored(self, stored: np.dtype[Any], dtype: np.dtype[Any]) -> dict[str, str]:
        """Return the attribute that tells of integers which had to become floating."""
        widened = self.astype is None and stored.kind in "iu" and dtype.kind == "f"
        return {STORED_DTYPE: stored.newbyteorder("=").name} if widened else {}
