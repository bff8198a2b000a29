"""Names of EXtra-data for a run."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xfelred.entries import entry
from xfelred.errors import MultiRunError, TrainIDError
from xfelred.readers.description import print_lines
from xfelred.readers.euxfel import summary
from xfelred.readers.euxfel.extra_data.missing_data import plot_missing_data
from xfelred.readers.euxfel.extra_data.virtual_dataset import virtual_dataset
from xfelred.readers.euxfel.locate import files_with
from xfelred.readers.euxfel.metadata import run_metadata

if TYPE_CHECKING:
    from xfelred.hdf5 import NewDataset
    from xfelred.readers.euxfel.files import FileIndex


class RunNames:
    """What scripts ask of a run besides its data; mixed into `Run`."""

    @cached_property
    def files(self: Any) -> tuple[FileIndex, ...]:
        """The files that hold selected sources and trains; one file if none does."""
        used = {f.path for e in self.entries.values() for f in e.all_files}
        some = tuple(f for f in self.all_files if f.path in used)
        return files_with(some or self.all_files, self.ids, self.inc_suspect_trains)

    @property
    def selection(self: Any) -> dict[str, set[str] | None]:
        """Selected keys of every source; None: all."""
        return {
            s: None if e.selected_keys is None else set(e.selected_keys)
            for s, e in self.entries.items()
        }

    @entry
    def keys_for_source(self: Any, source: str) -> set[str]:
        """Return the keys of a source as they stand in the files."""
        return self.source(source).keys()

    @entry
    def get_dtype(self: Any, source: str, key: str) -> np.dtype[Any]:
        """Return the dtype of a key."""
        return self[source, key].dtype

    @entry
    def get_entry_shape(self: Any, source: str, key: str) -> tuple[int, ...]:
        """Return the shape of one entry of a key."""
        return self[source, key].entry_shape

    def run_metadata(self: Any) -> dict[str, Any]:
        """Return METADATA of the run; MultiRunError if several were joined."""
        if not self.single:
            raise MultiRunError(
                "these data come from several runs, which have no common metadata"
            )
        return run_metadata(self.all_files)

    @entry
    def detector_info(self: Any, source: str) -> dict[str, Any]:
        """Return dims, frames per train and total frames of a detector module."""
        return summary.detector_info(self, source)

    @entry
    def info(
        self: Any,
        details_for_sources: Any = (),
        with_aggregators: bool = False,
        *,
        counts: bool = False,
        group_sources: bool = False,
    ) -> None:
        """Print what the run holds.

        Parameters
        ----------
        details_for_sources : str or sequence of str, optional
            Globs of sources of which every key is shown with its dtype and shape.
        with_aggregators : bool, optional
            Show which data aggregator recorded each source, from the file names.
        counts : bool, optional
            Show the number of entries of each instrument source.
        group_sources : bool, optional
            Show the modules of a detector on one line, unless details, aggregators or
            counts are asked for; by default every source has its line.
        """
        summary.print_info(
            self, details_for_sources, with_aggregators, counts, group_sources
        )

    @entry
    def train_info(self: Any, train_id: int) -> None:
        """Print which sources were recorded in the files of a train.

        Raises
        ------
        TrainIDError
            If it is not selected.
        """
        if train_id < 0 or train_id not in self.ids:
            raise TrainIDError(
                f"train {train_id} is not among the {len(self.ids)} selected trains"
            )
        print_lines(summary.train_text(self, train_id).split("\n"))

    @entry
    def get_virtual_dataset(
        self: Any, source: str, key: str, filename: str | os.PathLike[str] | None = None
    ) -> NewDataset:
        """Return a virtual dataset of a key; see `virtual_dataset`."""
        return virtual_dataset(self[source, key], filename)

    @entry
    def plot_missing_data(
        self: Any, min_saved_pct: float = 95, expand_instrument: bool = False
    ) -> Any:
        """Plot which trains some sources lack; see `missing_data`."""
        return plot_missing_data(self, min_saved_pct, expand_instrument)

    def _ipython_key_completions_(self: Any) -> list[str]:
        return self.sources
