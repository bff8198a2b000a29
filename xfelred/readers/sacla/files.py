"""What one SACLA file holds: its runs, their detectors and tags; names are listed once.

Layout: files that the facility's ``DataConvert`` writes (format version 3). A run is a
group ``run_<number>``; each detector in it has one group ``tag_<number>`` per image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError
from xfelred.hdf5 import Dataset, Group, as_text, open_group
from xfelred.hdf5.objects import say_lost
from xfelred.readers.left_out import told
from xfelred.readers.paths import StoredFile, file_at

Tags = NDArray[np.int64]

RUN = re.compile(r"run_(\d+)")
DETECTOR = re.compile(r"detector_2d_(assembled_)?(\d+)")
TAG = re.compile(rb"tag_(\d+)")
MAX_TAG = 2**63 - 1  # tags are int64 here, for differences that do not wrap around
EVENTS = "event_info"
IMAGE = "detector_data"
STATUS = "detector_status"


@dataclass(frozen=True)
class SaclaFile(StoredFile):
    runs: tuple[int, ...]  # their numbers


@dataclass(frozen=True, eq=False)
class TagGroup:
    """One group ``detector_2d_...``: an image per tag."""

    name: str  # such as detector_2d_3 or detector_2d_assembled_1
    run: int
    number: int  # at the end of the name; it differs from run to run
    assembled: bool  # one image of all modules
    tags: Tags  # sorted by number: by name, 100 comes before 99
    own: bool  # no link leads to another place or file, so it can be read past HDF5
    info: dict[str, Any]  # of ``detector_info``: text, number or list
    # Of tags whose group is not called as usual, such as tag_007 for 7.
    names: dict[int, str] = field(default_factory=dict)
    strange: tuple[str, ...] = ()  # groups tag_... that name no tag
    file: str = ""  # path of the file that it is in
    # The same group of each file, with its tags, where the run is in several.
    parts: tuple[TagGroup, ...] = ()

    @property
    def pieces(self) -> tuple[TagGroup, ...]:
        """The groups of single files, each with the tags that are taken from it."""
        return self.parts or (self,)

    def piece_of(self, tag: int) -> TagGroup:
        return next(p for p in self.pieces if tag in p.tags)

    @property
    def path(self) -> str:
        return f"run_{self.run}/{self.name}"

    def dataset(self, key: str = IMAGE) -> str:
        """Return the names of the values of all tags, ``*`` standing for the tag."""
        return f"{self.path}/tag_*/{key}"

    def tag_name(self, tag: int) -> str:
        return self.names.get(int(tag), f"tag_{tag}")


def read_file(path: str) -> SaclaFile:
    """Open a file and list its runs."""
    try:
        found = file_at(path)
    except OSError as error:
        raise BrokenFileError(f"cannot open {path}: {error}") from error
    try:
        top = group(path, "/")
    except BrokenFileError as error:
        raise told(path, error) from error
    names = (RUN.fullmatch(name) for name in top)
    return SaclaFile(*found.token(), tuple(sorted(int(m[1]) for m in names if m)))


def group(path: str, name: str) -> Group:
    """Return a group of a file; BrokenFileError if there is none."""
    found = open_group(path, name)
    if found is None:
        raise BrokenFileError(
            f"{path} has no group {name}. If it is still being written, open the run"
            " again when it is complete"
        )
    return found


def detector_groups(path: str, run: int) -> Iterator[TagGroup]:
    """Yield the detectors of a run, in the order of their numbers."""
    names = [(DETECTOR.fullmatch(n), n) for n in group(path, f"run_{run}")]
    found = sorted((m[1] or "", int(m[2]), n) for m, n in names if m)
    for one, other in pairwise(found):
        if one[:2] == other[:2]:
            raise InconsistentDataError(
                f"run_{run} of {path} holds the same detector twice: {one[2]} and"
                f" {other[2]}. Which images are those of the shots is not known: remove"
                " one"
            )
    for assembled, number, name in found:
        here = open_group(path, f"run_{run}/{name}")
        if here is None:
            continue
        info = values_of(here.group("detector_info"))
        hard, others = here.raw_names()
        own = not others and here.own
        tags, odd, strange = tags_of(hard + others, f"{path}:{here.name}")
        yield TagGroup(
            name, run, number, bool(assembled), tags, own, info, odd, strange, path
        )


def tags_of(
    names: list[bytes], where: str
) -> tuple[Tags, dict[int, str], tuple[str, ...]]:
    """Return the tags that names stand for, sorted; odd names; names of no tag."""
    tags: list[int] = []
    odd: dict[int, str] = {}
    strange: list[str] = []
    for name in names:
        match = TAG.fullmatch(name)
        tag = int(match[1]) if match else MAX_TAG + 1
        if tag > MAX_TAG:
            if name.startswith(b"tag_"):
                strange.append(as_text(name))
            continue
        tags.append(tag)
        if len(name) != len(b"tag_%d" % tag):  # zeros in front
            if tag in odd:
                raise twice(tag, where)
            odd[tag] = as_text(name)
    found = np.sort(np.array(tags, np.int64))
    if odd and (again := found[1:][np.diff(found) == 0]).size:
        raise twice(int(again[0]), where)
    return found, odd, tuple(sorted(strange))


def twice(tag: int, where: str) -> InconsistentDataError:
    return InconsistentDataError(
        f"{where} holds tag {tag} more than once, with and without zeros in front of"
        " the number. Which image belongs to the shot is not known: remove one"
    )


def values_of(here: Group | None) -> dict[str, Any]:
    """Return the small datasets of a group as text, numbers and lists."""
    found, lost = {}, {}
    for name, item in () if here is None else here.readable():
        try:
            if isinstance(item, Dataset) and item.size:
                found[name] = small_value(item)
        except BrokenFileError as error:
            lost[name] = error
    if here is not None:
        say_lost(here, lost)
    return found


def small_value(dataset: Dataset) -> Any:
    """Return a small dataset as text, a number, or a list of these."""
    value = np.asarray(dataset[()])
    if value.dtype.kind in "SO":
        texts = [as_text(v) for v in value.ravel().tolist()]
        return texts[0] if len(texts) == 1 else texts
    if value.dtype == np.float32:
        # Somebody typed -89.9062: nearer to the truth than what float32 makes of it.
        value = np.array([float(str(v)) for v in value.ravel()])
    return value.ravel()[0].item() if value.size == 1 else value.ravel().tolist()


def number(value: Any) -> float:
    """Return the first number of a value of `values_of`, NaN if there is none."""
    first = value[0] if isinstance(value, list) and value else value
    try:
        return float(first)
    except (TypeError, ValueError):
        return float("nan")
