"""Records of jobs that can be resumed: JSON that is whole at any moment, or refused.

A record begins with a checksum of all that follows, which is compared before anything
is made of the text: what a disk or an editor has changed is found, and nothing large
is built from a file that is not ours.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import numpy as np

from xfelred import __version__
from xfelred.errors import (
    ArgumentError,
    InconsistentDataError,
    MissingFileError,
    warn,
)
from xfelred.products.atomic import flush_to_disk
from xfelred.small_files import opened, read_bytes

SCHEMA_VERSION = 1
LARGEST = 1 << 28  # bytes; a million blocks take 100 MB
ANY = 1 << 62  # bytes: no limit
LARGEST_OF_OTHERS = 1 << 22  # to see of which version a record without checksum is
START_ANEW = "start anew with overwrite=True (--overwrite)"
CHECKSUM = re.compile(rb'\{"checksum": "([0-9a-f]{64})", ')


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file in one step: a reader sees the old one or the new one."""
    text = io.StringIO()
    json.dump(content, text)
    body = text.getvalue().encode()[1:]
    new = path.with_suffix(".new")
    with new_file(new) as file:
        file.write(b'{"checksum": "%s", ' % digest(body).encode() + body)
    flush_to_disk(new)
    os.replace(new, path)
    flush_to_disk(path.parent)


def new_file(path: Path) -> io.BufferedWriter:
    # Whatever has this name is not followed: a link could lead anywhere, and a pipe
    # would wait for a reader.
    with suppress(FileNotFoundError):
        path.unlink()
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    return open(number, "wb")


def read_record(path: Path, what: str) -> dict[str, Any]:
    """Return what `write_record` wrote; InconsistentDataError if it is damaged."""
    data = read_bytes(
        path, what, wrong=InconsistentDataError, limit=LARGEST, links=False
    )
    found = CHECKSUM.match(data)
    if not found and len(data) > LARGEST_OF_OTHERS:
        raise damaged(path, "it has no checksum")
    if found and digest(data[found.end() :]) != found[1].decode():
        raise damaged(path, "its checksum is wrong")
    try:
        content = json.loads(b"{" + data[found.end() :] if found else data)
        version = content["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, repr(error)) from None
    if version != SCHEMA_VERSION:
        raise InconsistentDataError(
            f"{path} is a {what} of version {version!r}, this xfelred {__version__}"
            f" knows {SCHEMA_VERSION}: another one wrote it; go on with that, or"
            f" {START_ANEW}"
        )
    if not found:
        raise damaged(path, "it has no checksum: it was edited, or is an old one")
    return dict(content)


def versions() -> dict[str, str]:
    """Return the versions on which the last bits of a result depend."""
    return {"xfelred": __version__, "numpy": np.__version__, "dask": dask.__version__}


def versions_in(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that a record tells, as far as it does."""
    found = dict(content.get("software", {}), xfelred=content["xfelred_version"])
    if not all(isinstance(v, str) for v in found.values()):
        raise ArgumentError(f"versions {found}")
    return found


def check_versions(path: Path, found: Mapping[str, str]) -> None:
    """Raise, or warn, if what has been done was done by other versions.

    Another xfelred may add up in another order, so that the parts do not belong
    together; numpy and dask are seldom seen in the result, and then in its last digits.
    """
    other = {n: v for n, v in versions().items() if found.get(n, v) != v}
    told = ", ".join(f"{n} {found[n]} (now {v})" for n, v in other.items())
    if "xfelred" in other:
        raise InconsistentDataError(
            f"what {path} tells to be done was done by {told}: a result of both would"
            f" have the bits of neither; go on with those versions, or {START_ANEW}"
        )
    if other:
        warn(
            f"what {path} tells to be done was done by {told}: the last digits may"
            f" differ from those of one call; if that matters, {START_ANEW}"
        )


def damaged(path: Path, why: str) -> InconsistentDataError:
    return InconsistentDataError(
        f"{path} is damaged ({why}), so that nobody knows what is done; {START_ANEW}"
    )


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def checksum_of(path: Path) -> str:
    try:
        what, wrong = "part of a product", InconsistentDataError
        with opened(path, what, wrong=wrong, limit=ANY, links=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except MissingFileError:
        raise damaged(path, "it is gone") from None
