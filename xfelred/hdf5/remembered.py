"""What was found out about a file, kept for the next session; see `cache_files`.

It is found again by path, size, time of change, the file itself (inode, device) and the
bytes at both ends of it; a file with any of these changed is looked at anew. What is
kept is JSON and plain numbers: nothing in it can be run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import HEARD, ArgumentTypeError, BrokenFileError, logger_of
from xfelred.hdf5.cache_files import digest, load_bytes, save_bytes
from xfelred.hdf5.raw import RawFile, identity_of
from xfelred.kernels.runs import Runs, from_runs, to_runs
from xfelred.settings import setting

log = logger_of(__name__)

FOLDER = "files"
ENDS = 4096  # bytes at each end of a file that are compared
# A file that was just written may change again without another time of change.
SETTLED = 10  # seconds
MARK = "\0"  # the only name in what stands for an array
MOST = 4 << 20  # bytes; to check more of them takes longer than HDF5 to read them
MANY_RUNS = 1000  # more of them take longer to read than the numbers
NUMBERS = "iufb"  # kinds of dtypes
ORDER = "<"  # of the bytes of kept numbers

Facts = dict[str, Any]  # str, int, bool, None, lists, dicts of these, and arrays (n,)


def remembered(path: str, what: str, find: Callable[[], Facts]) -> Facts:
    """Return facts of a file from the user's cache; else find them, and keep them.

    `what` names them, with a number that changes when their form does. Of what is
    warned, it is warned again: then, and where they are not of this form, nothing is
    kept.
    """
    key = key_of(path, what) if setting("cache_directory") else None
    if key is None:
        return find()
    body = load_bytes(FOLDER, key)
    if body is not None:
        try:
            return unpacked(body)
        except (BrokenFileError, ValueError, TypeError, LookupError) as error:
            log.debug("what is kept of %s is ignored: %s", path, error)
    with heard() as said:
        found = find()
    if not said and key == key_of(path, what):  # else it was changed meanwhile
        try:
            body = packed(found)
        except ArgumentTypeError as error:
            log.debug("nothing is kept of %s: %s", path, error)
            return found
        if len(body) <= MOST:
            save_bytes(FOLDER, key, body)
    return found


@contextmanager
def heard() -> Iterator[list[str]]:
    """Give the list of what is warned of in the block, by this thread."""
    said: list[str] = []
    before = HEARD.set(said)
    try:
        yield said
    finally:
        HEARD.reset(before)
        if (outer := HEARD.get()) is not None:
            outer += said


def kept_dtype(dtype: np.dtype[Any]) -> object:
    """Return a dtype as text; where it has none itself, so that nothing is kept.

    Texts and bytes of HDF5 are such of numpy afterwards.
    """
    return dtype if dtype.kind == "V" else dtype.str


def key_of(path: str, what: str) -> str | None:
    """Return what tells the present content of a file; None if that may change."""
    try:
        file = RawFile(path)
        about = os.fstat(file.number)
        if time.time() - about.st_mtime < SETTLED:
            return None
        first = os.pread(file.number, ENDS, 0)
        last = os.pread(file.number, ENDS, max(0, about.st_size - ENDS))
    except OSError:
        return None  # said by who reads it
    ends = digest(first, last).hex()
    return repr((what, os.path.abspath(path), *identity_of(about), ends))


def packed(facts: Facts) -> bytes:
    """Return facts as a line of JSON, then the numbers of its arrays."""
    arrays: list[bytes] = []

    def plain(value: object) -> object:
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in NUMBERS
        if not isinstance(value, np.ndarray) or not numbers or value.ndim != 1:
            raise ArgumentTypeError(f"{type(value).__name__} cannot be kept")
        flags = value.dtype == bool
        runs = to_runs(value.view(np.uint8) if flags else value)
        if isinstance(runs, Runs) and len(runs.count) <= MANY_RUNS:
            dtype = value.dtype.str
            return {MARK: ["runs", dtype, *runs.shape, runs.step, runs.count]}
        stored = value.astype(value.dtype.newbyteorder(ORDER), copy=False)
        start = sum(map(len, arrays))
        arrays.append(stored.tobytes())
        return {MARK: ["array", stored.dtype.str, len(value), start]}

    text = json.dumps(facts, default=plain)
    return text.encode() + b"\n" + b"".join(arrays)


def unpacked(body: bytes) -> Facts:
    """Return facts from what `packed` made; BrokenFileError and others if it is not."""
    line, _, numbers = body.partition(b"\n")

    def special(found: Facts) -> object:
        return made(found[MARK], numbers) if list(found) == [MARK] else found

    facts = json.loads(line, object_hook=special)
    if not isinstance(facts, dict):
        raise BrokenFileError("there are no facts in it")
    return facts


def made(about: list[Any], numbers: bytes) -> NDArray[Any]:
    kind, dtype, n, *rest = about
    if np.dtype(dtype).kind not in NUMBERS:
        raise BrokenFileError(f"{dtype} is no dtype of numbers")
    if kind == "runs":
        return from_runs(Runs((n,), dtype, tuple(rest[0]), tuple(rest[1])))
    stored = np.frombuffer(numbers, dtype, n, rest[0])
    return stored.astype(stored.dtype.newbyteorder("="))
