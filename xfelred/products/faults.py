"""What can go wrong outside of the data: a full disk, lost workers."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xfelred.errors import NoAccessError, OutputError, WorkersLostError, XfelredError
from xfelred.lazy.scheduler import current_scheduler

# Errors of the disk that takes the product; those of input files have their own class.
DISK = {
    errno.ENOSPC: "free space, or choose another disk",
    errno.EDQUOT: "free space, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose another directory",
    errno.EROFS: "choose another disk",
    errno.EIO: "choose another disk: this one is damaged, or its server is gone",
    errno.ESTALE: "wait until the server of the disk answers",
}
# What HDF5 and numpy say instead of a number.
HDF5_NUMBER = re.compile(r"errno = (\d+)")
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


@contextmanager
def explained(path: Path, *, resume: bool = False) -> Iterator[None]:
    """Raise errors of the disk and of workers as errors that say what to do.

    `path` is the product that is being written; `resume`: finished blocks are kept.
    """
    current_scheduler()  # raises before anything is written
    kept = "finished blocks are kept" if resume else "nothing of it is kept"
    try:
        yield
    except XfelredError:
        raise
    except Exception as error:
        if refused := refusal(error, path):
            raise NoAccessError(
                f"cannot write {path}: {refused}; {kept}. Choose a directory in which"
                " you may write, or ask its owner"
            ) from error
        if number := disk_error(error):
            raise OutputError(
                number,
                f"cannot write {path}: {os.strerror(number)}; {kept}."
                f" {DISK[number].capitalize()}, then repeat the call",
            ) from error
        if text := lost_workers(error):
            raise WorkersLostError(f"cannot compute {path}: {text}; {kept}") from error
        raise


def refusal(error: BaseException, path: Path) -> str:
    """Return why this user may not write beside a product, or nothing."""
    if not isinstance(error, PermissionError):
        return ""
    name = error.filename
    place = os.fspath(path.parent)
    # Files that are read may be refused, too, but elsewhere.
    beside = not isinstance(name, str) or name == place or name.startswith(f"{place}/")
    return f"{error.strerror} ({name})" if beside else ""


def disk_error(error: BaseException | None) -> int:
    """Return the number of the disk's error behind an exception, or 0."""
    while error is not None:
        number = getattr(error, "errno", None) if isinstance(error, OSError) else None
        if found := HDF5_NUMBER.search(str(error)):
            number = int(found[1])
        if isinstance(error, OSError) and SHORT_WRITE.search(str(error)):
            number = errno.ENOSPC
        if number in DISK:
            return int(number)
        # Libraries raise errors of their own from that of the system.
        error = error.__cause__ or error.__context__
    return 0


def lost_workers(error: Exception) -> str:
    """Return what happened to the workers of a cluster, or nothing."""
    # No cluster, no such error: the package works without importing distributed.
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return ""
    if isinstance(error, distributed.KilledWorker):
        limit = getattr(error.last_worker, "memory_limit", 0)
        memory = f" with a limit of {limit / 2**30:.1f} GiB" if limit else ""
        return (
            f"the task {str(error.task)[:80]} was tried {error.allowed_failures + 1}"
            " times, and each time its worker died. Most likely they needed more"
            f" memory than they have{memory}: give workers more memory"
            " (memory_limit=..., or fewer workers or threads), or read smaller blocks"
            " (run.frames(chunk_size='32MiB')). What they printed says more:"
            " client.get_worker_logs(), or the log files of the jobs"
        )
    lost = (distributed.client.FutureCancelledError, distributed.comm.CommClosedError)
    if isinstance(error, lost):
        return (
            f"the scheduler of the cluster is gone ({error}); start it again, or"
            " connect to it again, and repeat the call"
        )
    return ""
