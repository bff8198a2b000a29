"""The kinds of multi-module detectors; names as in the scripts of the facility."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, InconsistentDataError
from xfelred.readers.euxfel import arrays, frame_writer, labels
from xfelred.readers.euxfel.detector import Detector
from xfelred.readers.euxfel.frame_keys import FrameKeyData
from xfelred.readers.euxfel.module_keys import MultimodKeyData

if TYPE_CHECKING:
    from xfelred.readers.euxfel.run import Run


class XtdfDetector(Detector):
    """AGIPD, LPD and DSSC: entries are frames, labelled by pulse and memory cell."""

    def key_data(self, key: str) -> MultimodKeyData:
        """Return the data of one key; per-pulse keys know pulses."""
        if key.startswith("image."):
            return FrameKeyData(self, key)
        return MultimodKeyData(self, key)

    @entry
    def get_array(
        self,
        key: str,
        pulses: Any = np.s_[:],
        unstack_pulses: bool = True,
        *,
        fill_value: Any = None,
        subtrain_index: str = "pulseId",
        roi: Any = (),
        astype: Any = None,
    ) -> xr.DataArray:
        """Read the data of one key; see `xfelred.readers.euxfel.arrays.get_array`."""
        return arrays.get_array(
            self, key, pulses, unstack_pulses, fill_value, subtrain_index, roi, astype
        )

    @entry
    def get_dask_array(
        self,
        key: str,
        subtrain_index: str = "pulseId",
        fill_value: Any = None,
        astype: Any = None,
    ) -> xr.DataArray:
        """Return the data of one key as a lazy array (module, train_pulse, ...)."""
        return arrays.get_dask_array(self, key, subtrain_index, fill_value, astype)

    @entry
    def trains(
        self, pulses: Any = np.s_[:], require_all: bool = True
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
        return arrays.trains(self, pulses, require_all)

    def pulse_labels(self) -> labels.Labels:
        """Return pulse and memory cell of every frame, checked between modules."""
        if "labels" not in self.memo:
            self.memo["labels"] = labels.read_labels(self)
        return self.memo["labels"]

    @entry
    def write_frames(
        self, filename: str | os.PathLike[str], trains: Any, pulses: Any
    ) -> None:
        """Write chosen frames to a new run file; see `frame_writer.write_frames`."""
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
        data: Run,
        detector_name: str | None = None,
        modules: Iterable[int] | None = None,
        *,
        min_modules: int = 1,
        raw: bool | None = None,
        parallel_gain: bool = False,
        checked: bool = True,
    ) -> None:
        self.three_stages = bool(parallel_gain)
        super().__init__(
            data, detector_name, modules,
            min_modules=min_modules, raw=raw, checked=checked,
        )  # fmt: skip

    @property
    def parallel_gain(self) -> bool:
        """Whether each pulse was recorded in three gain stages."""
        return self.three_stages

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
        data: Run,
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
        """Number of modules of the complete detector."""
        if self.modules_given is not None:
            return self.modules_given
        return max(self.all_numbers) - self.first_modno + 1

    @property
    def frames_per_entry(self) -> int:
        """Number of memory cells in a row."""
        return self.key_data(self.spec.data).entry_shape[0]

    @entry
    def get_array(
        self, key: str, *, fill_value: Any = None, roi: Any = (), astype: Any = None
    ) -> xr.DataArray:
        """Read the data of one key; see `arrays.get_cell_array`."""
        return arrays.get_cell_array(self, key, fill_value, roi, astype)

    @entry
    def get_dask_array(
        self, key: str, fill_value: Any = None, astype: Any = None
    ) -> xr.DataArray:
        """Return the data of one key as a lazy array (module, train, cell, ...)."""
        return arrays.get_cell_dask_array(self, key, fill_value, astype)

    @entry
    def trains(
        self, require_all: bool = True
    ) -> Iterator[tuple[int, dict[str, xr.DataArray]]]:
        """Yield (train ID, {key: array}) for every train; see `XtdfDetector.trains`."""
        return arrays.cell_trains(self, require_all)

    def cell_ids(self) -> NDArray[np.uint8]:
        """Return the memory cell of each frame of a train, uint8 (cell,).

        Raises
        ------
        InconsistentDataError
            If modules disagree in the first train.
        """
        return labels.first_cells(self)


CLASSES: tuple[type[Detector], ...] = (
    AGIPD1M,
    AGIPD500K,
    DSSC1M,
    LPD1M,
    LPDSolo,
    JUNGFRAU,
)
