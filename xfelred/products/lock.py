"""One writer at a time for each product."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xfelred.errors import MissingFileError, OutputExistsError
from xfelred.products.atomic import check_directory, remove

# Not to follow a link, nor to wait for the reader of a pipe.
FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What else may have the name of a lock file.
IN_THE_WAY = {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV}
LARGEST_PROCESS = 1 << 22  # of Linux
# Disks that cannot lock files, as some network disks.
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other processes, and other threads, from writing the same product.

    What a killed process has left beside the product `path` is removed.
    """
    check_directory(path)
    lock = path.with_name(f".{path.name}.lock")
    with ExitStack() as at_end:
        if take(lock, path, at_end):
            remove_leftovers(path)
        yield


def take(lock: Path, path: Path, at_end: ExitStack) -> bool:
    """Lock a file; return whether the disk guarantees that there is no other writer."""
    # The system drops the lock when its process ends, in whatever way and on whatever
    # machine: a file that is not locked says nothing, whoever made it.
    while True:
        descriptor = opened(lock)
        attempt = at_end.enter_context(ExitStack())
        attempt.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        # Signing it would change the other file of a hard link.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise no_lock(lock, "it is no regular file of one name")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            certain = True
        except BlockingIOError:
            raise busy(lock, path, owner(descriptor)) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            check_owner(lock, path, owner(descriptor))
            certain = False
        if is_still(descriptor, lock):
            attempt.callback(lock.unlink, missing_ok=True)
            sign(descriptor)
            return certain
        # Its last owner has just deleted it.
        attempt.close()


def opened(lock: Path) -> int:
    try:
        return os.open(lock, FLAGS, 0o666)
    except FileNotFoundError:
        raise MissingFileError(
            f"no file can be made in {lock.parent}; choose another directory"
        ) from None
    except OSError as error:
        if error.errno not in IN_THE_WAY:
            raise
        raise no_lock(lock, os.strerror(error.errno)) from None


def no_lock(lock: Path, why: str) -> OutputExistsError:
    return OutputExistsError(
        f"{lock} should be the lock of one writer, but {why}; move it away"
    )


def is_still(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False


def sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    text = json.dumps({"host": socket.gethostname(), "process": os.getpid()})
    os.pwrite(descriptor, text.encode(), 0)


def owner(descriptor: int) -> tuple[str, int] | None:
    """Return host and process that signed a lock file, if it says so."""
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        host, process = str(content["host"]), int(content["process"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    # Other numbers stand for groups of processes, or for none.
    return (host, process) if 0 < process < LARGEST_PROCESS else None


def check_owner(lock: Path, path: Path, signed: tuple[str, int] | None) -> None:
    """Raise unless the owner of a file that cannot be locked is known to be dead."""
    if signed is None and not os.path.getsize(lock):
        return
    if signed is not None and signed[0] == socket.gethostname():
        try:
            os.kill(signed[1], 0)  # sends nothing, but fails if there is no process
        except ProcessLookupError:
            return
        except PermissionError:
            pass
    raise busy(lock, path, signed)


def busy(lock: Path, path: Path, signed: tuple[str, int] | None) -> OutputExistsError:
    host, process = signed or ("unknown", 0)
    who = f"process {process} on {host}" if signed else "another process"
    return OutputExistsError(
        f"{path} is being written by {who}; wait until it has finished, or stop it."
        f" If it is certainly gone, delete {lock}"
    )


def remove_leftovers(path: Path) -> None:
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.(partial|old)")
    for found in [p for p in path.parent.iterdir() if name.fullmatch(p.name)]:
        if found.suffix == ".old" and not path.exists():
            # It was killed between the two steps of replacing a directory.
            found.rename(path)
        else:
            remove(found)
