"""What EXtra-data's ``FileAccess`` tells of one file."""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import File, open_group

# RAW-R0102-DA01-S00000.h5: category, run, aggregator, sequence.
FILE_NAME = re.compile(r"([A-Z]+)-R(\d{4})-(\w+?)(?:-S(\d{5}))?\.h5$")
# Where the facility keeps runs: by proposal with the class of storage below it, or by
# class of storage (online, offline, archive) with the proposal below it.
PLACES = (
    re.compile(
        r"/gpfs/exfel/exp/(?P<instrument>\w+)/(?P<cycle>\d{6})/p(?P<proposal>\d{6})"
        r"/(?P<storage>[a-z]+)/r\d{4}"
    ),
    re.compile(
        r"/(?:gpfs/exfel/[du]|pnfs/xfel\.eu/exfel/archive/XFEL)/(?P<storage>[a-z]+)"
        r"/(?P<instrument>\w+)/(?P<cycle>\d{6})/p(?P<proposal>\d{6})/r\d{4}"
    ),
)


class FileNames:
    """Facts of a file under EXtra-data's names."""

    path: str
    version: str
    train_ids: NDArray[np.uint64]
    valid: NDArray[np.bool_]
    control: frozenset[str]
    instrument: frozenset[str]

    @property
    def filename(self) -> str:
        """Path of the file."""
        return self.path

    @property
    def format_version(self) -> str:
        """Version of the data format."""
        return self.version

    @property
    def validity_flag(self) -> NDArray[np.bool_]:
        """False for suspect trains, in file order."""
        return self.valid

    @property
    def valid_train_ids(self) -> NDArray[np.uint64]:
        """Train IDs that are not suspect."""
        return self.train_ids[self.valid]

    def has_train_ids(self, tids: object, inc_suspect: bool = False) -> bool:
        """Return whether the file holds any of some trains."""
        own = self.train_ids if inc_suspect else self.valid_train_ids
        return bool(np.isin(own, np.asarray(tids, np.uint64)).any())

    @property
    def all_sources(self) -> frozenset[str]:
        """All source names."""
        return self.control | self.instrument

    @property
    def control_sources(self) -> frozenset[str]:
        """Sources with one row per train."""
        return self.control

    @property
    def instrument_sources(self) -> frozenset[str]:
        """Sources with any number of rows per train."""
        return self.instrument

    @property
    def file(self) -> File:
        """The open file; other readers share it, so leave it open."""
        root = open_group(self.path, "/")
        if root is None:
            raise BrokenFileError(f"{self.path} cannot be opened")
        return root.links.file

    def close(self) -> None:
        """Do nothing: readers share open files, and close what is not used."""

    def name_part(self, number: int) -> str | None:
        """Return a part of the file name, None if it is not one of the facility."""
        found = FILE_NAME.match(os.path.basename(self.path))
        return found[number] if found else None

    @property
    def data_category(self) -> str | None:
        """``RAW``, ``CORR`` or another kind, from the file name."""
        return self.name_part(1)

    @property
    def run(self) -> int | None:
        """Run number, from the file name."""
        part = self.name_part(2)
        return None if part is None else int(part)

    @property
    def aggregator(self) -> str | None:
        """The data aggregator, such as ``DA01``, from the file name."""
        return self.name_part(3)

    @property
    def sequence(self) -> int | None:
        """Number of the file within its aggregator, from the file name."""
        part = self.name_part(4)
        return None if part is None else int(part)

    def place_part(self, name: str) -> str | None:
        """Return a part of the directory, None if it is not one of the facility."""
        parent = os.path.dirname(os.path.realpath(self.path))
        found = next((m for p in PLACES if (m := p.match(parent))), None)
        return found[name] if found else None

    @property
    def storage_class(self) -> str | None:
        """``raw``, ``proc`` or another class of storage, from the directory."""
        return self.place_part("storage")

    @property
    def cycle(self) -> str | None:
        """Cycle of the proposal, such as ``202301``, from the directory."""
        return self.place_part("cycle")

    @property
    def proposal(self) -> int | None:
        """Number of the proposal, from the directory."""
        part = self.place_part("proposal")
        return None if part is None else int(part)
