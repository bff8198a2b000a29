"""What the runs of every facility share: frames, plans, ``with`` statements."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.lazy.estimate import RATE, Estimate, estimate
from xfelred.readers.by_train import ByTrain
from xfelred.readers.request import FramesRequest


class EveryRun(ByTrain):
    """Methods of a run, which says where frames are and how large datasets are.

    There is nothing to close: readers share a limited number of open files, and close
    what is not used. So a run stays usable behind a ``with`` block, as do its arrays.
    """

    def frames_of(
        self, detector: str | None, request: FramesRequest, **options: Any
    ) -> xr.DataArray:
        """Return the frames that were asked for."""
        raise NotImplementedError

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return the bytes of a value in the file, and of all the run has of a dataset.

        None if it is not of this run, or cannot be looked up.
        """
        raise NotImplementedError

    @entry
    def frames(
        self,
        detector: str | None = None,
        key: str | None = None,
        *,
        pulses: object = np.s_[:],
        layout: Literal["train", "frame"] = "train",
        modules: object = None,
        roi: object = (),
        fill_value: object = None,
        astype: object = None,
        bad_pixels: Literal["apply", "keep"] | None = "apply",
        chunk_size: str | float = "128MiB",
        missing: Literal["fill", "drop", "raise"] = "fill",
        **detector_options: Any,
    ) -> xr.DataArray:
        """Return pixels as a lazy array (train, pulse, module, slow_scan, fast_scan).

        Parameters
        ----------
        detector : str, optional
            Name of the detector; not needed if the run has exactly one.
        key : str, optional
            By default the pixel data.
        pulses : slice, int, list, ``by_id[...]`` or ``by_index[...]``, optional
            Pulses of each train: positions, or pulse IDs with ``by_id``. Of JUNGFRAU,
            memory cells: positions, or cell numbers with ``by_id``. SACLA and LCLS have
            one pulse per shot, number 0.
        layout : {"train", "frame"}, optional
            "train": one axis each for trains and pulses, padded where trains differ;
            "frame": one axis ``frame`` with coordinates train, pulse, cell, which is
            never padded and leaves out shots without an image.
        modules : int or sequence of int, optional
            Numbers of the modules to read. Only these must agree with each other.
        roi : slice, int or tuple of these, optional
            Pixels of each module to read; of raw AGIPD data the first axis is
            ``data_gain``, and an integer there drops it.
        fill_value : scalar, optional
            What was not recorded; by default NaN. Integers in which something is
            missing become float32 (up to 16 bits) or float64 for that, unless there is
            a fill value; the attribute ``stored_dtype`` tells what they were. Masks
            stay integers, with 0.
        astype : dtype, optional
            Cast to this while reading.
        bad_pixels : {"apply", "keep", None}, optional
            What to do with the bad pixels that the run knows. "apply": they are NaN,
            for which integers of the European XFEL become float32 or float64, and
            others stay as they are; "keep": a coordinate ``bad_pixels`` tells them;
            None: leave them alone. Where a file has no mask nothing is masked, and a
            warning names it once.
        chunk_size : str or int, optional
            Size of a block, all modules of whole trains or of some pulses of a train.
        missing : {"fill", "drop", "raise"}, optional
            What to do with trains in which a module has no data.
        **detector_options
            See `detector`.

        Returns
        -------
        DataArray (train, pulse[, gain], module[, data_gain], slow_scan, fast_scan)
            Lazy; coordinates train, pulse, module, ``cell``, ``available`` (train,
            module), ``n_pulses`` (train), what the facility tells of shots and, if
            padded, ``recorded`` (train, pulse). The attribute ``data_kind`` is "raw",
            "corrected" or "calibrated". The dtype holds that of every file.

        Raises
        ------
        SourceNameError, PropertyNameError
            If there is no such detector, or the key is unknown.
        InconsistentDataError
            If modules disagree on pulses, files store pixels in ways that no dtype and
            shape hold, or data are missing and ``missing="raise"``.
        SelectionEmptyError
            If ``missing="drop"`` leaves nothing, or a module in `modules` is not there.
        ValueError, OverflowError
            If `fill_value` does not fit the dtype, or a word is not one of the choices.
        """
        request = FramesRequest(
            key or "",
            pulses,
            layout,
            modules,
            roi,
            fill_value,
            astype,
            bad_pixels,
            chunk_size,
            missing,
        )
        return self.frames_of(detector, request, **detector_options)

    def plan(
        self,
        *results: Any,
        workers: int = 1,
        threads: int | None = None,
        rate: float = RATE,
    ) -> Estimate:
        """Return what computing some lazy results will read and need.

        No data are read and nothing is computed.

        Parameters
        ----------
        *results : DataArray, Dataset or dask array
            Frames of this run, or anything made from them. They are computed
            together: what they share counts once. Arrays in memory cost nothing.
        workers : int, optional
            Processes that compute.
        threads : int, optional
            Threads of each; by default the number of cores of this machine.
        rate : float, optional
            Bytes per second that one thread reads and reduces. The default is what one
            core of a small server did with uncompressed files in the page cache; give
            less for slow disks, and about 0.1e9 for gzip.

        Returns
        -------
        Estimate
            Bytes to read, of how many in the run; files, blocks, tasks; size of the
            result; peak memory per worker; seconds. See `xfelred.lazy.estimate`, which
            also tells how the memory is estimated.
        """
        return estimate(
            *results, workers=workers, threads=threads, rate=rate, stored=self.stored
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        """Do nothing, so that an exception goes on."""

    def close(self) -> None:
        """Do nothing: files that are not used are closed by themselves."""
