"""Bytes kept for the next session, in the directory that `xf.options` names.

Nothing here is trusted: a file must belong to this user, nobody else may be able to
write it, and every byte must be as expected. What is not so is ignored and written
anew; a directory that cannot be written is no error. Old files are never removed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress

from xfelred.errors import logger_of
from xfelred.settings import setting

log = logger_of(__name__)

DIGEST = 32  # bytes
MOST = 256 << 20  # bytes of a file
# Neither a link nor a pipe may stand in the place of a file.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST).digest()


def cache_directory(folder: str, *, create: bool) -> str | None:
    """Return where files of a kind are kept; None if there is no safe place."""
    root = setting("cache_directory")
    if not root:
        return None
    path = os.path.join(root, folder)
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


def head_of(folder: str, key: str) -> bytes:
    return f"xfelred {folder} 1".encode() + digest(key.encode())


def load_bytes(folder: str, key: str) -> bytes | None:
    """Return what was kept under a key, None if nothing was or it is damaged."""
    place = cache_directory(folder, create=False)
    if place is None:
        return None
    path = os.path.join(place, file_name(key))
    try:
        number = os.open(path, FLAGS)
    except OSError:
        return None
    head = head_of(folder, key)
    try:
        found = os.fstat(number)
        own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not own or found.st_mode & OTHERS or found.st_size > MOST:
            log.debug("%s is ignored: wrong owner, mode or size", path)
            return None
        with open(number, "rb", closefd=False) as file:
            data = file.read(found.st_size)
    except OSError as error:
        log.debug("%s is ignored: %s", path, error)
        return None
    finally:
        os.close(number)
    body = data[len(head) : -DIGEST]
    if data[: len(head)] != head or data[-DIGEST:] != digest(head, body):
        log.debug("%s is ignored: it is damaged", path)
        return None
    return body


def save_bytes(folder: str, key: str, body: bytes) -> None:
    """Keep bytes under a key, if there is a place for them."""
    place = cache_directory(folder, create=True)
    if place is None or len(body) > MOST // 2:
        return
    head = head_of(folder, key)
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
