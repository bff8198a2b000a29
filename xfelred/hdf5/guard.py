"""One error for whatever goes wrong in an HDF5 file, and limits on what it may ask for.

HDF5 raises errors of any kind on damaged files, with words about its own insides. All
calls of it are made in this package, inside `guarded`.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from xfelred.errors import (
    BrokenFileError,
    MissingFileError,
    UnreadableFileError,
    XfelredError,
)
from xfelred.small_files import KINDS

MAX_METADATA = 512 << 20  # bytes that are read at once of anything but frames
WAIT = "If the file was moved or is still being copied, open the run again when it is"
ELSE = (
    "if it stays damaged, select trains or modules of other files, or open only those"
)


class guarded:  # noqa: N801 - reads as a statement
    """Turn what HDF5 raises into one error that names the file and the object.

    Errors of ours pass as they are.
    """

    __slots__ = ("name", "path")

    def __init__(self, path: str, name: str = "") -> None:
        self.path = path
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, XfelredError):
            raise broken(self.path, self.name, error) from error


def broken(path: str, name: str, error: Exception | str) -> BrokenFileError:
    if isinstance(error, PermissionError) and error.filename in (None, path):
        return UnreadableFileError(
            f"cannot open {path}: this user may not read it"
            f" ({os.strerror(error.errno or errno.EACCES)}). Ask its owner, or open the"
            " run as somebody of the experiment"
        )
    what = f"cannot read {name} in {path}" if name else f"cannot open {path}"
    return BrokenFileError(f"{what}: {reason(error)}. {WAIT} complete; {ELSE}")


def reason(error: Exception | str) -> str:
    if isinstance(error, MemoryError):
        return "it wants more memory than there is"
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    lines = str(text).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def check_regular(path: str) -> os.stat_result:
    """Return what the system knows of a regular file.

    Nothing else is opened, with an error: a pipe would block, a device never ends.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        hint = " (a link that leads nowhere)" if os.path.islink(path) else ""
        raise MissingFileError(f"{path} is not there{hint}. {WAIT} back") from error
    except (OSError, ValueError) as error:
        raise broken(path, "", error) from error
    if not stat.S_ISREG(found.st_mode):
        raise irregular(path, found.st_mode)
    return found


def irregular(path: str, mode: int) -> BrokenFileError:
    kind = KINDS.get(stat.S_IFMT(mode), "no file")
    return BrokenFileError(f"cannot open {path}: it is {kind}, not a regular file")


def check_size(path: str, name: str, n_bytes: int) -> None:
    """Raise BrokenFileError before memory is taken for absurd metadata."""
    if n_bytes > MAX_METADATA:
        raise BrokenFileError(
            f"{name} in {path} claims {n_bytes:.3g} bytes; what describes a run may"
            f" have {MAX_METADATA}: the file is damaged, or {name} is not what its"
            " name says"
        )
