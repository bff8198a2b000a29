"""Small files of users: recipes, geometries, manifests.

A name may lead to a pipe, a device, a directory or something huge. Reading one must
end, at once, with its text or with an error that says what is there.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice

from xfelred.errors import (
    ArgumentTypeError,
    BrokenFileError,
    MissingFileError,
    NoAccessError,
    OutputError,
    XfelredError,
    listing,
    one_line,
)

MAX_BYTES = 1 << 24  # a CrystFEL geometry of 256 panels has 0.2 MB
# Opening a pipe would otherwise wait for somebody who writes to it.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link",
}
AT_ONCE = 1 << 20  # bytes
MOST_NEIGHBOURS = 2000  # names that are looked at for an error

Path = str | os.PathLike[str]
# Makes the error of a text.
MakeError = Callable[[str], XfelredError]


def read_text(
    path: Path,
    what: str,
    *,
    wrong: MakeError = BrokenFileError,
    limit: int = MAX_BYTES,
    links: bool = True,
    errors: str = "strict",
) -> str:
    """Return the text of a small file in UTF-8, of at most `limit` bytes.

    Parameters
    ----------
    what : str
        What the file should be, for messages: "recipe".
    wrong : callable
        Class of the error for a file that cannot be one.
    links : bool
        Whether the name may be a link.
    errors : {"strict", "replace"}
        What to do with bytes that are no UTF-8.

    Raises
    ------
    MissingFileError, NoAccessError
        If there is none, with names of files like it; if this user must not read it.
    """
    data = read_bytes(path, what, wrong=wrong, limit=limit, links=links)
    try:
        return data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise wrong(
            f"{os.fspath(path)} is no {what}, as it is no text in UTF-8: {error.reason}"
            f" at byte {error.start}"
        ) from None


def read_bytes(
    path: Path,
    what: str,
    *,
    wrong: MakeError = BrokenFileError,
    limit: int = MAX_BYTES,
    links: bool = True,
) -> bytes:
    """Return the bytes of a small file; see `read_text`."""
    with opened(path, what, wrong=wrong, limit=limit, links=links) as file:
        data = up_to(file, limit + 1)
    if len(data) > limit:
        raise too_large(os.fspath(path), what, wrong, limit)
    return data


@contextmanager
def opened(
    path: Path,
    what: str,
    *,
    wrong: MakeError = BrokenFileError,
    limit: int = MAX_BYTES,
    links: bool = True,
) -> Iterator[BufferedReader]:
    """Yield a regular file to read from; see `read_text`."""
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(
            f"the path of a {what} must be text or a Path, not {type(path).__name__}"
        )
    name = os.fspath(path)
    try:
        check_kind(os.stat(name) if links else os.lstat(name), name, what, wrong, limit)
        number = os.open(name, FLAGS | (0 if links else os.O_NOFOLLOW))
        with open(number, "rb") as file:
            # Another file may have got the name.
            check_kind(os.fstat(number), name, what, wrong, limit)
            yield file
    except XfelredError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise missing(name, what) from None
    except PermissionError as error:
        raise NoAccessError(
            f"cannot read the {what} {name}: {error.strerror}; ask its owner for it"
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise wrong(f"cannot read the {what} {name}: {why}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise what the disk says to a new file or directory as errors of ours.

    NoAccessError if this user must not write there, else OutputError.
    """
    try:
        yield
    except XfelredError:
        raise
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        if isinstance(error, PermissionError):
            raise NoAccessError(
                f"cannot write {os.fspath(path)}: {why}. Choose a directory in which"
                " you may write, or ask its owner"
            ) from error
        raise OutputError(
            error.errno,
            f"cannot write {os.fspath(path)}: {why}. Choose another place, then repeat"
            " the call",
        ) from error


def up_to(file: BufferedReader, n: int) -> bytes:
    """Return at most n bytes; those that a file says to have may be any number."""
    parts = []
    while n and (part := file.read(min(n, AT_ONCE))):
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def check_kind(
    found: os.stat_result, name: str, what: str, wrong: MakeError, limit: int
) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise wrong(f"{name} is {kind}; the {what} must be a regular file")
    if found.st_size > limit:
        raise too_large(name, what, wrong, limit)


def too_large(name: str, what: str, wrong: MakeError, limit: int) -> XfelredError:
    return wrong(
        f"{name} is no {what}: it has more than {limit} bytes, the most that one may"
        " have"
    )


def missing(name: str, what: str) -> MissingFileError:
    folder, last = os.path.split(os.path.abspath(name))
    try:
        with os.scandir(folder) as entries:
            known = [entry.name for entry in islice(entries, MOST_NEIGHBOURS)]
    except OSError:
        return MissingFileError(
            f"there is no {what} {name}: no directory {folder} that can be read"
        )
    ending = os.path.splitext(last)[1]
    near = difflib.get_close_matches(last, known, n=3)
    alike = sorted(n for n in known if ending and n.endswith(ending) and n not in near)
    beside = listing(map(one_line, near + alike)) if near + alike else ""
    return MissingFileError(
        f"there is no {what} {name};"
        + (f" next to it: {beside}" if beside else f" {folder} has no file like it")
    )
