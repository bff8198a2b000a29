"""What scripts ask of the modules of a detector."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, NotPossibleError, listing
from xfelred.readers.euxfel.extra_data import cxi
from xfelred.readers.euxfel.extra_data.frame_keys import key_of
from xfelred.readers.euxfel.extra_data.module_keys import MultimodKeyData
from xfelred.readers.euxfel.frames import frames
from xfelred.readers.euxfel.mask import Mask, checked_value, combined_bits
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.request import FramesRequest


class Detector(ModuleData):
    """Data of all modules of one detector; nothing but indexes has been read."""

    @property
    def frame_counts(self) -> pd.Series:
        """Number of entries in each train, indexed by train ID."""
        return pd.Series(self.counts, index=self.ids)

    @property
    def train_ids_perframe(self) -> NDArray[np.uint64]:
        """Train ID of every entry."""
        return np.repeat(self.ids, self.counts)

    @property
    def frames_per_train(self) -> int:
        """Number of frames in every train; ValueError if trains differ."""
        distinct = np.unique(self.counts) * self.frames_per_entry
        if len(distinct) != 1:
            raise ArgumentError(
                f"{self.detector_name} has {len(self.counts)} trains with"
                f" {listing(distinct)} frames, so there is no one number of frames per"
                " train; see frame_counts"
            )
        return int(distinct[0])

    def __contains__(self, key: object) -> bool:
        return all(key in self.data.entries[s] for s in self.source_to_modno)

    def __getitem__(self, item: object) -> Any:
        """Return the data of a key, or the detector for a selection of trains."""
        if not isinstance(item, str):
            return self.select_trains(item)
        return self.key_data(item)

    def key_data(self, key: str) -> MultimodKeyData:
        """Return the data of one key; per-pulse keys know pulses."""
        return key_of(self, key)

    def __repr__(self) -> str:
        what = "raw" if self.is_raw else "proc"
        return (
            f"<{self.kind}: Data interface for detector {self.detector_name!r} -"
            f" {what} data with {len(self.modules)} modules>"
        )

    @entry
    def data_availability(self, module_gaps: bool = False) -> NDArray[np.bool_]:
        """Return where pixel data exist: bool (module, entry); reads no data.

        Parameters
        ----------
        module_gaps : bool, optional
            True: a row for every module of the complete detector.
        """
        return self.key_data(self.spec.data).data_availability(module_gaps)

    def frames(self, key: str | None = None, **options: Any) -> xr.DataArray:
        """Return pixel data as a lazy array; options are those of `Run.frames`."""
        return frames(self, FramesRequest(key or "", **options))

    @entry
    def masked_data(
        self,
        key: str | None = None,
        *,
        mask_bits: int | Iterable[int] | None = None,
        masked_value: object = np.nan,
    ) -> MultimodKeyData:
        """Return pixel data with `masked_value` at bad pixels.

        Parameters
        ----------
        key : str, optional
            By default the pixel data.
        mask_bits : int or iterable of int, optional
            Only these bits count; by default any.
        masked_value : scalar, optional

        Raises
        ------
        RuntimeError
            If the data have no mask.
        ValueError
            If `masked_value` does not fit the dtype of the data.
        """
        if not self.has_key(self.spec.mask):
            raise NotPossibleError(
                f"{self.detector_name} has no bad-pixel mask ({self.spec.mask}) in"
                " these data; raw data have none, corrected data do"
            )
        self.key_table(self.spec.mask)  # tells of files without one
        data = self.key_data(key or self.spec.data)
        bits = combined_bits(mask_bits)
        return data.with_mask(Mask(bits, checked_value(masked_value, data.dtype)))

    @entry
    def write_virtual_cxi(
        self, filename: str | os.PathLike[str], fillvalues: dict[str, Any] | None = None
    ) -> None:
        """Write a CXI file that shows the data of all modules without copying them.

        Parameters
        ----------
        filename : path
            Replaced if it exists; nothing is left there if writing fails.
        fillvalues : dict, optional
            Values for what was not recorded, for "data", "gain" or "mask". By default
            NaN or 0 in data, 0 in gain and all bits in mask.

        Raises
        ------
        ValueError
            If `fillvalues` names something else.
        OverflowError
            If a value does not fit the dtype.
        """
        cxi.write_virtual_cxi(self, filename, fillvalues)
