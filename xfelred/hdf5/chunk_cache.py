"""Arrays kept for the next session, in the directory that `xf.options` names.

Nothing here is trusted: a file must belong to this user, nobody else may be able to
write it, and every byte must be as expected. What is not so is ignored and written
anew; a directory that cannot be written is no error. Old files are never removed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import logger_of
from xfelred.settings import setting

log = logger_of(__name__)

MAGIC = b"xfelred chunks 1"
DIGEST = 32  # bytes
# Neither a link nor a pipe may stand in the place of a file.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
OTHERS = stat.S_IWGRP | stat.S_IWOTH

Ints = NDArray[np.int64]


def digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST).digest()


def cache_directory(*, create: bool) -> str | None:
    """Return where files are kept; None if there is no safe place."""
    root = setting("cache_directory")
    if not root:
        return None
    path = os.path.join(root, "chunks")
    try:
        if create:
            os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        log.debug("no cache in %s: %s", path, error)
        return None
    safe = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not safe or found.st_mode & OTHERS:
        log.debug("no cache in %s: others may write there", path)
        return None
    return path


def file_name(key: str) -> str:
    return digest(key.encode()).hex() + ".idx"


def load_arrays(key: str, n: int) -> Ints | None:
    """Return three arrays of `n` numbers that were kept under a key, None if not."""
    place = cache_directory(create=False)
    if place is None:
        return None
    path = os.path.join(place, file_name(key))
    try:
        number = os.open(path, FLAGS)
    except OSError:
        return None
    head = MAGIC + digest(key.encode())
    size = len(head) + 3 * 8 * n + DIGEST
    try:
        found = os.fstat(number)
        own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not own or found.st_mode & OTHERS or found.st_size != size:
            log.debug("%s is ignored: wrong owner, mode or size", path)
            return None
        with open(number, "rb", closefd=False) as file:
            data = file.read(size)
    except OSError as error:
        log.debug("%s is ignored: %s", path, error)
        return None
    finally:
        os.close(number)
    body = data[len(head) : -DIGEST]
    if data[: len(head)] != head or data[-DIGEST:] != digest(head, body):
        log.debug("%s is ignored: it is damaged", path)
        return None
    return np.frombuffer(body, "<i8").astype(np.int64).reshape(3, n)


def save_arrays(key: str, arrays: Sequence[Ints]) -> None:
    """Keep three arrays under a key, if there is a place for them."""
    place = cache_directory(create=True)
    if place is None:
        return
    head = MAGIC + digest(key.encode())
    body = np.stack(arrays).astype("<i8").tobytes()
    try:
        # Of mode 600; never under the final name before it is complete.
        number, temporary = tempfile.mkstemp(dir=place, suffix=".part")
    except OSError as error:
        log.debug("no index is kept in %s: %s", place, error)
        return
    try:
        with os.fdopen(number, "wb") as file:
            file.write(head + body + digest(head, body))
        os.replace(temporary, os.path.join(place, file_name(key)))
    except OSError as error:
        log.debug("no index is kept in %s: %s", place, error)
        with suppress(OSError):
            os.remove(temporary)
