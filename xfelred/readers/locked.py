"""Files that another process has open for writing."""

from __future__ import annotations

from xfelred.errors import BrokenFileError

# HDF5's words where a lock is held, and where the writer has marked the file.
WORDS = ("unable to lock file", "already open for")


def is_locked(error: Exception) -> bool:
    """Tell whether an error says that another process has a file open for writing."""
    return any(words in str(error) for words in WORDS)


def locked(path: str, error: Exception) -> BrokenFileError:
    """Return the error for a file that another process has open for writing."""
    return BrokenFileError(
        f"{path} is open in another process, which is writing it or has not closed it"
        " (HDF5: unable to lock the file, or marked as already open). Open the run"
        " again when it is complete; if the writer has died, copy the file or clear"
        f" its mark with h5clear -s. {first_line(error)}"
    )


def first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"[{lines[0]}]" if lines else ""
