"""The kinds of multi-module detectors; names as in the scripts of the facility."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.detectors.catalogue import SOURCES
from xfelred.entries import entry
from xfelred.errors import ArgumentError, InconsistentDataError
from xfelred.names import CELL, FAST, MODULE, SLOW
from xfelred.readers.entry import entry_window
from xfelred.readers.euxfel.extra_data import frame_writer
from xfelred.readers.euxfel.extra_data.detector import Detector
from xfelred.readers.euxfel.extra_data.frame_keys import FrameKeyData, short_label
from xfelred.readers.euxfel.extra_data.module_keys import MultimodKeyData
from xfelred.readers.euxfel.extra_data.single_trains import by_train, frames_of_train
from xfelred.readers.euxfel.frame_axes import check_one_entry, memory_cells
from xfelred.readers.euxfel.run_data import RunData

TRAIN_AXIS = "train"


class XtdfDetector(Detector):
    """AGIPD, LPD and DSSC: entries are frames, labelled by pulse and memory cell."""

    @entry
    def get_array(
        self,
        key: str,
        pulses: object = np.s_[:],
        unstack_pulses: bool = True,
        *,
        fill_value: object = None,
        subtrain_index: str = "pulseId",
        roi: object = (),
        astype: object = None,
    ) -> xr.DataArray:
        """Read one key of all modules.

        Parameters
        ----------
        key : str
            For example ``image.data``.
        pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``
            Pulses of each train; for per-pulse keys (``image.*``) only.
        unstack_pulses : bool
            Give trains and pulses an axis each.
        fill_value : scalar or None
            For modules without data; None: NaN for floats and 0 for others.
        subtrain_index : {"pulseId", "cellId"}
            What labels the frames of a train.
        roi : slice, int or tuple of these
            What to read of each entry.
        astype : dtype or None
            Cast to this while reading.

        Returns
        -------
        DataArray
            Per-pulse keys: (module, train[, gain], pulse, ...) or stacked
            (module, train_pulse, ...); others: (module, trainId, ...). Combinations of
            train and pulse that do not occur are NaN, and integers then become floats:
            float32 up to 16 bits, else float64, with a warning where that rounds.

        Raises
        ------
        PropertyNameError
            If the key is unknown.
        ValueError
            If an argument makes no sense, or labels are not unique in a train.
        """
        short_label(subtrain_index)
        data = self.key_data(key)
        if not isinstance(data, FrameKeyData):
            return data.xarray(fill_value=fill_value, roi=roi, astype=astype)
        return data.select_pulses(pulses).xarray(
            fill_value=fill_value,
            roi=roi,
            astype=astype,
            subtrain_index=subtrain_index,
            unstack_pulses=unstack_pulses,
        )

    @entry
    def get_dask_array(
        self,
        key: str,
        subtrain_index: str = "pulseId",
        fill_value: object = None,
        astype: object = None,
    ) -> xr.DataArray:
        """Return one key of all modules as a lazy array.

        Per-pulse keys come stacked, (module, train_pulse, dim_0, ...), labelled by a
        multi-index of ``trainId`` and ``pulseId`` or ``cellId``, and keep the axis of
        length 1 that raw data have.
        """
        short_label(subtrain_index)
        data = self.key_data(key)
        if not isinstance(data, FrameKeyData):
            return data.dask_array(labelled=True, fill_value=fill_value, astype=astype)
        lazy = data.lazy(fill_value, astype)
        if len(data.stored[1]) > len(data.entry_shape):
            lazy = lazy[:, :, np.newaxis]
        dims = [MODULE, "train_pulse", *(f"dim_{i}" for i in range(lazy.ndim - 2))]
        return data.stacked(lazy, dims, subtrain_index, ("trainId", subtrain_index))

    @entry
    def trains(
        self, pulses: object = np.s_[:], require_all: bool = True
    ) -> Iterator[tuple[int, dict[str, xr.DataArray]]]:
        """Yield (train ID, {key: array}) for every train.

        Parameters
        ----------
        pulses : slice, list, ``by_id[...]`` or ``by_index[...]``, optional
            Pulses of each train, as in `get_array`.
        require_all : bool, optional
            Leave out trains in which a module lacks data. Else a module that a file
            lists for the train stays, NaN where it has no such pulse.
        """
        return by_train(self, require_all, partial(frames_of_train, pulses=pulses))

    @entry
    def write_frames(
        self, filename: str | os.PathLike[str], trains: object, pulses: object
    ) -> None:
        """Write chosen frames of all modules to a new file in the facility's layout.

        Parameters
        ----------
        filename : path
            Replaced if it exists; nothing is left there if writing fails.
        trains, pulses : int arrays (n,)
            Train and pulse ID of each frame; unknown pairs are ignored. Of each module
            the rows are written that it has under these IDs, also where modules
            disagree.

        Raises
        ------
        ValueError
            If `trains` and `pulses` are not one-dimensional and equally long, or for
            parallel-gain data, whose pulse IDs do not tell frames apart.
        """
        frame_writer.write_frames(self, filename, trains, pulses)


class AGIPD1M(XtdfDetector):
    """AGIPD with 1 megapixel: 16 modules of 512 x 128 pixels."""

    kind = "AGIPD1M"


class AGIPD500K(XtdfDetector):
    """AGIPD with half a megapixel: 8 modules of 512 x 128 pixels."""

    kind = "AGIPD500K"


class DSSC1M(XtdfDetector):
    """DSSC: 16 modules of 128 x 512 hexagonal pixels."""

    kind = "DSSC1M"


class LPD1M(XtdfDetector):
    """LPD: 16 super-modules of 256 x 256 pixels.

    Parameters
    ----------
    parallel_gain : bool, optional
        Each train holds its pulses three times: high, medium and low gain.
    """

    kind = "LPD1M"

    @entry
    def __init__(
        self,
        data: RunData,
        detector_name: str | None = None,
        modules: Iterable[int] | None = None,
        *,
        min_modules: int = 1,
        raw: bool | None = None,
        parallel_gain: bool = False,
        checked: bool = True,
    ) -> None:
        self.parallel_gain = bool(parallel_gain)
        self.build(data, detector_name, modules, min_modules, raw)
        if checked:
            self.check()

    def check(self) -> None:
        """Raise InconsistentDataError where frames cannot be three gain stages."""
        super().check()
        if self.parallel_gain and (self.counts % 3).any():
            bad = self.data.ids[self.counts % 3 > 0]
            raise InconsistentDataError(
                "parallel_gain=True needs three times as many frames as pulses in every"
                f" train, but train {bad[0]} has {self.frame_counts[bad[0]]} frames"
            )


class LPDSolo(LPD1M):
    """A single LPD super-module."""

    kind = "LPDSolo"


class JUNGFRAU(Detector):
    """JUNGFRAU: modules of 512 x 1024 pixels, one row per train with memory cells.

    Parameters
    ----------
    n_modules : int, optional
        Modules of the complete detector; by default up to the largest in the data.
    first_modno : int, optional
        Number, in the source names, of the first module.
    """

    kind = "JUNGFRAU"

    @entry
    def __init__(
        self,
        data: RunData,
        detector_name: str | None = None,
        modules: Iterable[int] | None = None,
        *,
        min_modules: int = 1,
        raw: bool | None = None,
        n_modules: int | None = None,
        first_modno: int = 1,
        checked: bool = True,
    ) -> None:
        self.build(data, detector_name, modules, min_modules, raw, first_modno)
        self.modules_given = n_modules
        self.first_modno = first_modno
        outside = [n for n in self.modules if not 1 <= n <= self.n_modules]
        if outside:
            raise ArgumentError(
                f"modules {outside} of {self.detector_name} lie outside 1 to"
                f" {self.n_modules}; check first_modno={first_modno} and"
                f" n_modules={n_modules}, or choose modules="
            )
        if checked:
            self.check()

    @property
    def n_modules(self) -> int:
        if self.modules_given is not None:
            return self.modules_given
        return max(self.all_numbers) - self.first_modno + 1

    @entry
    def get_array(
        self,
        key: str,
        *,
        fill_value: object = None,
        roi: object = (),
        astype: object = None,
    ) -> xr.DataArray:
        """Read the data of one key.

        Parameters
        ----------
        key : str
            For example ``data.adc``.
        fill_value, roi, astype
            As of other detectors; the first axis of `roi` is that of memory cells.

        Returns
        -------
        DataArray (module, train[, cell[, slow_scan, fast_scan]])
        """
        check_one_entry(self)
        data = self.key_data(key)
        values = data.ndarray(fill_value=fill_value, roi=roi, astype=astype)
        _, _, dropped = entry_window(roi, data.entry_shape)
        dims = [d for i, d in enumerate(cell_dims(data)) if i - 1 not in dropped]
        coords = {MODULE: data.modules, TRAIN_AXIS: data.ids}
        return xr.DataArray(values, dims=dims, coords=coords)

    @entry
    def get_dask_array(
        self, key: str, fill_value: object = None, astype: object = None
    ) -> xr.DataArray:
        """Return the data of one key as a lazy array (module, train, cell, ...)."""
        check_one_entry(self)
        data = self.key_data(key)
        coords = {MODULE: data.modules, TRAIN_AXIS: data.ids}
        return xr.DataArray(
            data.lazy(fill_value, astype), dims=cell_dims(data), coords=coords
        )

    @entry
    def trains(
        self, require_all: bool = True
    ) -> Iterator[tuple[int, dict[str, xr.DataArray]]]:
        """Yield (train ID, {key: array}) for every train; see `XtdfDetector.trains`."""
        check_one_entry(self)

        def cells(one: JUNGFRAU, key: str, here: list[int]) -> xr.DataArray:
            return one.only(here).get_array(key).isel(train=0, drop=True)

        return by_train(self, require_all, cells)

    def cell_ids(self) -> NDArray[np.uint8]:
        """Return the memory cell of each frame of a train, uint8 (cell,).

        Raises
        ------
        InconsistentDataError
            If modules disagree in the first train.
        """
        cells = memory_cells(self.with_ids(self.ids[:1]))[0]
        return cells.astype(self.key_data("data.memoryCell").dtype)


NAMED = (AGIPD1M, AGIPD500K, DSSC1M, LPD1M, LPDSolo, JUNGFRAU)


def class_of(kind: str) -> type[Detector]:
    """Return the class of a kind; one that no script names is made from its axes."""
    found = {cls.kind: cls for cls in NAMED}.get(kind)
    if found is not None:
        return found
    base = JUNGFRAU if SOURCES[kind].inner else XtdfDetector
    made = type(kind, (base,), {"kind": kind, "__module__": __name__})
    return globals().setdefault(kind, made)  # by this name it is unpickled


CLASSES = tuple(map(class_of, SOURCES))


def cell_dims(data: MultimodKeyData) -> list[str]:
    """Return the names of the axes of a JUNGFRAU key."""
    n = len(data.entry_shape)
    inner = {3: [CELL, SLOW, FAST], 1: [CELL], 0: []}
    return [MODULE, TRAIN_AXIS, *inner.get(n, [f"dim_{i}" for i in range(n)])]
