"""How much a run holds of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xfelred.errors import BrokenFileError, InconsistentDataError

if TYPE_CHECKING:
    from xfelred.readers.euxfel.run import Run


def stored(run: Run, path: str, dataset: str) -> tuple[int, int] | None:
    """Return the bytes of a value in the file, and of all the run holds of a dataset.

    Parameters
    ----------
    run : Run
    path : str
        One of the files that hold it.
    dataset : str
        Name in the file, such as ``INSTRUMENT/<source>/image/data``.

    Returns
    -------
    (int, int) or None
        None if it is not of this run, or cannot be looked up.
    """
    _, _, rest = dataset.lstrip("/").partition("/")
    for name, entry in run.entries.items():
        if rest.startswith(f"{name}/") and path in {f.path for f in entry.all_files}:
            try:
                data = entry.key_data(rest[len(name) + 1 :].replace("/", "."))
                return data.dtype.itemsize, data.nbytes
            except (BrokenFileError, InconsistentDataError, KeyError):
                return None
    return None
