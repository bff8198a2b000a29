"""A product appears under its final name complete, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask

from xfelred.errors import ArgumentError, MissingFileError, OutputExistsError
from xfelred.lazy.scheduler import n_threads, threads_compute

# A directory with one of these is a zarr group, and may be replaced as a whole.
ZARR_FILES = ("zarr.json", ".zgroup")


@contextmanager
def atomic_output(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, which gets that name at the end.

    After any failure, also Ctrl-C, the sibling is removed and `path` is what it was.
    """
    check_free(path, overwrite=overwrite)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with idle_threads_at_end():
            yield partial
        publish(partial, path, overwrite=overwrite)
    except BaseException:
        if partial.is_file():
            # HDF5 keeps a file open that it could not write, and with it the space.
            os.truncate(partial, 0)
        remove(partial)
        raise


def check_free(path: Path, *, overwrite: bool) -> None:
    check_directory(path)
    refuse_link(path)
    if not path.exists():
        return
    if not overwrite:
        raise OutputExistsError(
            f"{path} exists; pass overwrite=True (--overwrite) to replace it, or"
            " another name"
        )
    is_zarr = any((path / name).is_file() for name in ZARR_FILES)
    if path.is_dir() and any(path.iterdir()) and not is_zarr:
        raise OutputExistsError(
            f"{path} is a directory that holds other things than a zarr product;"
            " it is never replaced: choose another name"
        )


def refuse_link(path: Path) -> None:
    if path.is_symlink():  # replacing it, or what it leads to, might both be meant
        raise OutputExistsError(f"{path} is a link; give the name of its target")


def check_directory(path: Path) -> None:
    try:
        known = "\0" not in path.name and os.fsencode(path)
    except UnicodeEncodeError:
        known = False
    if not known:
        raise ArgumentError(
            f"{str(path)!r} cannot be the name of a file; choose another one"
        )
    if not path.parent.is_dir():
        raise MissingFileError(
            f"cannot write {path.name}: there is no directory {path.parent};"
            " create it first"
        )


def publish(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Give a complete product its final name; the old one stays until then."""
    check_free(path, overwrite=overwrite)
    if partial.is_file():
        flush_to_disk(partial)
    if not (partial.is_dir() or path.is_dir()):
        os.replace(partial, path)
        return
    # A directory cannot be replaced in one step: put the old one aside first.
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    with ExitStack() as undo:
        if path.exists():
            path.rename(old)
            undo.callback(old.rename, path)
        partial.rename(path)
        undo.pop_all()
    remove(old)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # a full network disk says so only now
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def idle_threads_at_end() -> Iterator[None]:
    """Let dask use threads that have stopped when the block ends."""
    if not threads_compute() or dask.config.get("pool", None) is not None:
        yield
        return
    # After a failure the threads of dask's own pool still finish the task they are
    # in, and may write into a directory that is being removed.
    with ThreadPoolExecutor(n_threads()) as pool, dask.config.set(pool=pool):
        yield
