"""Names of EXtra-data for one source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, MultiRunError, NoDataError
from xfelred.readers.euxfel.metadata import run_metadata
from xfelred.readers.euxfel.run_section import check_single, run_values

if TYPE_CHECKING:
    from xfelred.readers.euxfel.files import FileIndex
    from xfelred.readers.euxfel.source_data import SourceData


class SourceNames:
    """What scripts ask of a source; mixed into `SourceData`."""

    source: str
    section: Any
    all_files: tuple[FileIndex, ...]
    selected_keys: frozenset[str] | None
    single: bool

    __iter__ = None  # source[0] selects a train, so a loop would be misleading

    @property
    def is_single_run(self) -> bool:
        """Whether all data come from one run."""
        return self.single

    @property
    def sel_keys(self) -> frozenset[str] | None:
        """Selected keys; None: all."""
        return self.selected_keys

    @property
    def is_run_only(self: Any) -> bool:
        """Whether this has only values of the start of the run, none per train."""
        return self.is_control and not self.keys()

    @property
    def is_auxiliary(self) -> bool:
        """False: sources that describe a reduction of data are not read."""
        return False

    @property
    def index_groups(self: Any) -> set[str]:
        """Groups of selected keys that share an index; {""} for control sources."""
        return set(self.groups)

    @property
    def aggregator(self) -> str | None:
        """The data aggregator that recorded it, such as ``DA01``."""
        return self.all_files[0].aggregator

    @property
    def data_category(self) -> str | None:
        """``RAW``, ``CORR`` or another kind, from the file name."""
        return self.all_files[0].data_category

    @property
    def storage_class(self) -> str | None:
        """``raw``, ``proc`` or another class, from where the facility keeps the run."""
        return self.all_files[0].storage_class

    def train_id_coordinates(
        self: Any, index_group: str | None = None
    ) -> NDArray[np.uint64]:
        """Return the train ID of every entry.

        Parameters
        ----------
        index_group : str, optional
            Entries of this group; by default those that all groups have in common.

        Raises
        ------
        NoDataError
            If the source has no such group, or none at all.
        InconsistentDataError
            If no group is given and trains have other entries in another group.
        """
        groups = self.groups if index_group is None else (index_group,)
        if not groups:
            raise NoDataError(f"{self.source!r} has no data per train")
        first = self.group_counts(groups[0])
        for other in groups[1:]:
            if not np.array_equal(first, self.group_counts(other)):
                raise InconsistentDataError(
                    f"{self.source!r} has other numbers of entries in {other!r} than in"
                    f" {groups[0]!r}, so no train IDs fit both. Name the group:"
                    f" train_id_coordinates({groups[0]!r})"
                )
        where = self.location(groups[0])
        return np.repeat(self.ids[where.order], where.count[where.order])

    def run_metadata(self) -> dict[str, Any]:
        """Return METADATA of the run; MultiRunError if several were joined."""
        if not self.single:
            raise MultiRunError(
                f"{self.source!r} comes from several runs, which have no common"
                " metadata; ask them before they are joined"
            )
        return run_metadata(self.all_files)

    def run_keys(self, inc_timestamps: bool = True) -> set[str]:
        """Return the keys of the values at the start of the run, selected or not."""
        check_single(self.all_files, self.source, self.single)
        return set(run_values(self.all_files, self.source, inc_timestamps))

    def __or__(self: Any, other: SourceData) -> SourceData:
        return self.union(other)
