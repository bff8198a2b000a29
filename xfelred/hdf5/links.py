"""Links inside HDF5 files, looked at before HDF5 follows them.

HDF5 opens whatever an external link names, were it a pipe that blocks, and follows
links of links. What a group holds under a name is absent, or it is there, or it cannot
be read: three answers, where ``Group.get`` of h5py has two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeAlias

import h5py
from h5py import h5d, h5g, h5l, h5o, h5t

from xfelred.errors import BrokenFileError, MissingPartError
from xfelred.hdf5.guard import broken, check_regular, guarded

Opened: TypeAlias = h5g.GroupID | h5d.DatasetID | h5t.TypeID
MAX_LINKS = 16  # that lead to one object, as in HDF5


class Links:
    __slots__ = ("file", "path", "plain")

    def __init__(self, path: str, file: h5py.File) -> None:
        self.path = path
        self.file = file
        # Names, from the root, that were looked at: hard links all the way.
        self.plain: set[bytes] = set()

    def opened(self, name: str) -> Opened | None:
        """Open what a name, from the root, stands for; None for nothing."""
        if not self.there(name):
            return None
        with guarded(self.path, name or "/"):
            return h5o.open(self.file.id, os.fsencode(name) or b"/")

    def there(self, name: str, depth: int = 0) -> bool:
        """Tell whether a name, from the root, stands for something.

        BrokenFileError if a link on the way leads nowhere or in a circle, or a group on
        the way is damaged.
        """
        if depth > MAX_LINKS:
            raise broken(self.path, name, "its links lead in a circle")
        plain, root = True, self.file.id
        *above, last = [*prefixes(name)] or [b""]
        for part in (*above, last):
            if not part or part in self.plain:
                continue
            with guarded(self.path, os.fsdecode(part)):
                kind = link_kind(root, part)
                if kind is None:
                    return False
                if part is not last:
                    h5o.get_info(root, part)  # a damaged group may let one through
            if kind != h5l.TYPE_HARD:
                plain = False
                self.check_target(part, kind, depth)
            if plain:
                self.plain.add(part)
        return True

    def check_target(self, name: bytes, kind: int, depth: int) -> None:
        """Raise BrokenFileError unless a soft or external link leads somewhere."""
        text = os.fsdecode(name)
        with guarded(self.path, text):
            target = self.file.id.links.get_val(name)
        if kind == h5l.TYPE_SOFT:
            inside = os.fsdecode(target)
            if not inside.startswith("/"):
                inside = f"{os.path.dirname(text)}/{inside}"
            if not self.there(inside, depth + 1):
                raise broken(self.path, text, f"the link leads to {inside}, not there")
            return
        if kind != h5l.TYPE_EXTERNAL:
            raise broken(self.path, text, "a link of an unknown kind")
        file, inside = map(os.fsdecode, target)
        try:
            with opened_beside(self.path, text, file) as other:
                there = Links(other.filename, other).there(inside, depth + 1)
        except MissingPartError:
            raise
        except BrokenFileError as error:
            if depth:
                raise  # said once, of the link that was asked for
            raise broken(self.path, text, f"it is in another file: {error}") from error
        if not there:
            raise broken(self.path, text, f"it links to {inside} in {file}, not there")


def link_kind(group: h5g.GroupID, name: bytes) -> int | None:
    try:
        return int(group.links.get_info(name).type)
    except (KeyError, RuntimeError):
        if group.links.exists(name):
            raise
        return None


def prefixes(name: str) -> Iterator[bytes]:
    """Yield a, a/b, a/b/c for /a/b/c."""
    parts = [p for p in os.fsencode(name).split(b"/") if p and p != b"."]
    for i in range(1, len(parts) + 1):
        yield b"/".join(parts[:i])


def opened_beside(path: str, link: str, name: str) -> h5py.File:
    found = beside(path, name, "HDF5_EXT_PREFIX")
    if found is None:
        raise MissingPartError(
            f"{link} of {path} is in {name}, which is missing. Copy it next to the file"
        )
    check_regular(found)
    with guarded(found):
        return h5py.File(found, "r")


def beside(path: str, name: str, prefix: str) -> str | None:
    """Return where HDF5 finds a file that another one names; None if it does not.

    It looks at the place itself, then beside the file, and beside the real one if that
    is reached by a link; for an absolute name that is gone, too. The environment
    variable `prefix` has a directory to look into first.
    """
    folders = [os.path.dirname(path), os.path.dirname(os.path.realpath(path))]
    places = [os.path.join(folder, name) for folder in folders] + [name]
    if os.path.isabs(name):
        last = os.path.basename(name)
        places = [name, *(os.path.join(folder, last) for folder in folders)]
    first = os.environ.get(prefix, "").replace("${ORIGIN}", folders[0])
    if first:
        places.insert(0, os.path.join(first, name.lstrip("/")))
    return next((p for p in places if os.path.lexists(p)), None)
