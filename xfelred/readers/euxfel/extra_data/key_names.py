"""Names of EXtra-data for one key of one source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xfelred.hdf5 import as_text
from xfelred.readers.euxfel.run_section import check_single, run_value

if TYPE_CHECKING:
    from xfelred.readers.euxfel.files import FileIndex


class KeyNames:
    """What scripts ask of a key; mixed into `KeyData`."""

    source: str
    key: str
    all_files: tuple[FileIndex, ...]
    single: bool

    __iter__ = None  # key[0] selects a train, so a loop would be misleading

    @property
    def is_single_run(self) -> bool:
        """Whether all data come from one run."""
        return self.single

    @property
    def is_auxiliary(self) -> bool:
        """False: sources that describe a reduction of data are not read."""
        return False

    def attributes(self: Any) -> dict[str, Any]:
        """Return the HDF5 attributes of the key, text as str."""
        return {
            k: as_text(v) if isinstance(v, bytes) else v for k, v in self.attrs.items()
        }

    def run_value(self: Any, allow_multi_run: bool = False) -> Any:
        """Return the value of the key at the start of the run.

        Raises
        ------
        NoDataError
            If the source has no such values, as instrument sources.
        PropertyNameError
            If the source has none of this key.
        MultiRunError
            If the source comes from several runs, unless `allow_multi_run`.
        """
        check_single(self.all_files, self.source, self.single or allow_multi_run)
        return run_value(self.all_files, self.canonical_name, self.key)
