"""European XFEL: trains of a file, and its index against its datasets."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.checks.findings import Finding, fault, suspect
from xfelred.checks.structure import FileFacts
from xfelred.errors import BrokenFileError, listing
from xfelred.readers.euxfel.files import FileIndex, read_file

MASKS = {"mask": "data", "image.mask": "image.data"}  # key and what it masks


def trains_of(file: FileIndex) -> Iterator[Finding]:
    """Yield what is wrong with the train IDs of a file."""
    where: dict[str, Any] = {"file": file.path, "object": "INDEX/trainId"}
    ids = valid_ids(file)
    if not len(file.train_ids):
        yield suspect("no trains", "the file lists no train", **where)
        return
    values, counts = np.unique(ids, return_counts=True)
    again = values[counts > 1]
    if len(again):
        text = f"{len(again)} trains come more than once: {listing(again, 3)}"
        yield fault("duplicate trains", text, count=len(again), **where)
    back = np.flatnonzero(np.diff(ids) < 0)
    if len(back):
        at = int(back[0])
        text = f"train {ids[at + 1]} follows {ids[at]}"
        yield fault("trains out of order", text, count=len(back), **where)
    rows = file.rows
    if not isinstance(rows, slice):
        holes = int((np.diff(rows) > 1).sum() + (rows[0] > 0))
        text = "train ID 0 stands before the last train"
        yield fault("zero train ID", text, count=holes, **where)
    suspicious = int((~file.valid).sum())
    if suspicious:
        text = f"the file itself marks {suspicious} trains as suspect (INDEX/flag)"
        yield suspect("suspect trains", text, count=suspicious, **where)


def index_of(file: FileIndex, facts: FileFacts) -> Iterator[Finding]:
    """Yield where the index of a file and its datasets do not fit."""
    lengths: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for name, header in facts.headers.items():
        place = place_of(file, name)
        if place is not None and header.shape:
            lengths[place[:2]][name] = header.shape[0]
    yield from unlisted(file, facts)
    own = file.instrument - file.legacy.keys()
    groups = {(source, group) for source in own for group in file.groups[source]}
    for source, group in sorted({*groups, *((s, "") for s in file.control)}):
        yield from rows_of(file, source, group, lengths.get((source, group), {}))
    for source, group in sorted(lengths.keys() - groups):
        if group:
            text = f"{group} has data, and no train can be found in it"
            yield fault("no index", text, file=file.path, object=source)


def unlisted(file: FileIndex, facts: FileFacts) -> Iterator[Finding]:
    """Yield a finding for data of which no listed source is the owner."""
    sections = ("CONTROL/", "INSTRUMENT/")
    names = [n for n in facts.headers if n.startswith(sections)]
    lost = [n for n in names if place_of(file, n) is None]
    if lost:
        text = f"no source in METADATA has {len(lost)} datasets: {listing(lost, 2)}"
        yield fault("unlisted source", text, file=file.path, count=len(lost))


def place_of(file: FileIndex, name: str) -> tuple[str, str, str] | None:
    """Return (source, index group, key) of a dataset, None if it is of no train."""
    section, _, rest = name.partition("/")
    if section not in ("CONTROL", "INSTRUMENT"):
        return None
    known = file.control if section == "CONTROL" else file.instrument
    at = len(rest)
    # Names of sources have slashes too: the longest one that is known.
    while (at := rest.rfind("/", 0, at)) > 0:
        if rest[:at] in known:
            key = rest[at + 1 :].replace("/", ".")
            group = key.split(".", 1)[0] if section == "INSTRUMENT" else ""
            return rest[:at], group, key
    return None


def rows_of(
    file: FileIndex, source: str, group: str, lengths: dict[str, int]
) -> Iterator[Finding]:
    name = f"INDEX/{source}/{group}".rstrip("/")
    where: dict[str, Any] = {"file": file.path, "object": name}
    try:
        first, count = file.index(source, group)
    except BrokenFileError as error:
        yield fault("damaged index", str(error), **where)
        return
    lost = (count < 0) | ((first < 0) & (count != 0))
    if lost.any():
        text = f"it has numbers that no row can have: {trains(file, lost)}"
        yield fault("impossible index", text, count=int(lost.sum()), **where)
    used = np.flatnonzero((count > 0) & ~lost)
    end = first[used] + count[used]
    if not lengths:
        if len(used):
            n = int(count[used].sum())
            text = f"{n} rows are announced, and there is no dataset"
            yield fault("no data", text, count=len(used), **where)
        return
    shortest = min(lengths, key=lambda n: lengths[n])
    beyond = end > lengths[shortest]
    if beyond.any():
        at = used[beyond]
        text = (
            f"rows up to {int(end.max())} are announced, {shortest} has"
            f" {lengths[shortest]}: {trains(file, at)}"
        )
        yield fault("index beyond data", text, count=len(at), **where)
    order = np.argsort(first[used], kind="stable")
    # By their begin, two that follow each other are the first to overlap.
    shared = end[order][:-1] > first[used][order][1:]
    if shared.any():
        text = f"rows belong to two trains: {trains(file, used[order][1:][shared])}"
        yield fault("overlapping index", text, count=int(shared.sum()), **where)


def trains(file: FileIndex, chosen: NDArray[Any]) -> str:
    return f"trains {listing(file.train_ids[chosen].tolist(), 3)}"


def parsed(facts: FileFacts) -> FileIndex | Finding:
    try:
        return read_file(facts.path)
    except BrokenFileError as error:
        return fault("no usable index", str(error), file=facts.path)


def across_files(
    files: Iterable[tuple[FileIndex, FileFacts]],
) -> Iterator[Finding]:
    """Yield what does not fit between files: trains twice, other dtypes or shapes."""
    several = list(files)
    yield from other_runs([file for file, _ in several])
    yield from trains_twice([file for file, _ in several])
    kinds: dict[tuple[str, str], dict[Any, list[str]]] = defaultdict(dict)
    for file, facts in several:
        for name, header in facts.headers.items():
            place = place_of(file, name)
            if place is not None and header.shape:
                by_kind = kinds[place[0], place[2]]
                by_kind.setdefault(header.entry, []).append(file.path)
                yield from mask_fits(file.path, name, place[2], facts)
    for (source, key), by_kind in kinds.items():
        if len(by_kind) > 1:
            usual, *others = sorted(by_kind, key=lambda k: -len(by_kind[k]))
            most, here = (f"{k[1]} {k[0]}" for k in (usual, others[0]))
            text = f"{most} in most files, {here} in this one"
            where = {"file": by_kind[others[0]][0], "object": f"{source}, {key}"}
            n = sum(len(by_kind[k]) for k in others)
            yield fault("dtype or shape", text, count=n, **where)


def other_runs(files: list[FileIndex]) -> Iterator[Finding]:
    """Yield the files that say they are of another run than most."""
    known = [(file.path, file.identity) for file in files if file.identity is not None]
    usual = Counter(identity for _, identity in known).most_common(1)
    for path, identity in known:
        if identity != usual[0][0]:
            here, most = (f"p{p} r{r:04}" for p, r in (identity, usual[0][0]))
            text = f"METADATA says {here} in this file, {most} in most"
            yield suspect("another run", text, file=path)


def trains_twice(files: list[FileIndex]) -> Iterator[Finding]:
    """Yield the files that hold trains of a source which another one holds too."""
    by_source: dict[str, list[FileIndex]] = defaultdict(list)
    for file in files:
        for source in (file.control | file.instrument) - file.legacy.keys():
            by_source[source].append(file)
    twice: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source, some in sorted(by_source.items()):
        each = [np.unique(valid_ids(f)) for f in some]
        every = np.concatenate(each)
        if len(np.unique(every)) == len(every):
            continue
        for (one, a), (two, b) in combinations(zip(some, each, strict=True), 2):
            if np.intersect1d(a, b).size:
                twice[one.path, two.path].append(source)
    ids = {f.path: valid_ids(f) for f in files}
    for (path, other), sources in twice.items():
        both = np.intersect1d(ids[path], ids[other])
        names = f"trains {listing(both.tolist(), 3)} of {listing(sources, 3)}"
        text = f"{os.path.basename(path)} holds {names} as well"
        yield fault("trains in two files", text, file=other, count=len(both))


def valid_ids(file: FileIndex) -> NDArray[np.int64]:
    """Return the trains that the file itself does not regard as suspect."""
    return file.train_ids[file.valid].astype(np.int64)


def mask_fits(path: str, name: str, key: str, facts: FileFacts) -> Iterator[Finding]:
    """Yield a finding for a mask that is not of the shape of what it masks."""
    if key not in MASKS:
        return
    data = facts.headers.get(f"{name.rpartition('/')[0]}/{MASKS[key].split('.')[-1]}")
    mask = facts.headers[name]
    if data is not None and mask.shape[: len(data.shape)] != data.shape:
        text = f"it has shape {mask.shape}, the data {data.shape}"
        yield fault("mask of other shape", text, file=path, object=name)
