"""HDF5 files on a disk that may become full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, cast

import h5py
from numpy.typing import NDArray


class Sink(FileIO):
    """A file for HDF5 to write into, in which writing never fails.

    HDF5 crashes the whole process when it closes a file that it could not write
    (segmentation fault of 2.0 and earlier, with the open objects in its caches). So
    it is told that all is well, and we ask afterwards.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view) and self.error is None:
            try:
                written += super().write(view[written:])
            except OSError as error:
                self.error = error
        return len(view)  # also of what the disk did not take: see `check`

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def close(self) -> None:
        """Do nothing, whoever calls it: `checked_sink` closes the file."""


@contextmanager
def checked_sink(path: Path) -> Iterator[Sink]:
    """Open a new file for HDF5; raise at the end if the disk did not take all of it."""
    sink = Sink(path)
    try:
        yield sink
    except Exception:
        # What HDF5 says about a file that is not as it was told is of no use.
        sink.check()
        raise
    finally:
        FileIO.close(sink)
    sink.check()


class BlockTarget(Protocol):
    """Such as a dataset of h5py."""

    def __setitem__(self, where: tuple[slice, ...], values: NDArray[Any]) -> None: ...


class CheckedTarget:
    """Where blocks go, as long as the disk takes them."""

    def __init__(self, target: BlockTarget, check: Callable[[], None]) -> None:
        self.target, self.check = target, check

    def __setitem__(self, where: tuple[Any, ...], values: NDArray[Any] | bytes) -> None:
        """Write values, or a packed chunk to the corner where it begins."""
        self.check()
        if isinstance(values, bytes):
            cast(h5py.Dataset, self.target).id.write_direct_chunk(where, values)
        else:
            self.target[where] = values
        self.check()
