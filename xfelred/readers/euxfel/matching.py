"""Which sources and keys a user means: globs, pairs, dicts or other data objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from xfelred.errors import ArgumentError, listing
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.extra_data.source_data import SourceData
from xfelred.readers.euxfel.run_data import RunData, no_source
from xfelred.readers.euxfel.source_facts import matching_keys
from xfelred.readers.selection import glob_pairs

Sources = Mapping[str, SourceData]
Chosen = dict[str, frozenset[str] | None]  # None: all keys of the source


def chosen(sources: Sources, what: object, key_glob: str = "*") -> Chosen:
    """Return the selected sources and their keys; see `Run.select`."""
    if isinstance(what, str):
        return by_globs(sources, [(what, key_glob)])
    if isinstance(what, Mapping):
        return by_names(sources, what)
    if isinstance(what, KeyData):
        return by_names(sources, {what.source: {what.key}})
    if isinstance(what, SourceData):
        return by_names(sources, {what.source: what.selected_keys})
    if isinstance(what, RunData):
        return by_names(sources, {s: e.selected_keys for s, e in what.entries.items()})
    return by_globs(sources, glob_pairs(what, "*"))


def by_globs(sources: Sources, pairs: Iterable[tuple[str, str]]) -> Chosen:
    """Return what matches at least one of the (source glob, key glob) pairs."""
    found: Chosen = {}
    for source_glob, key_glob in pairs:
        matched = False
        for name, source in sources.items():
            if not fnmatchcase(name, source_glob):
                continue
            keys = keys_of(source, key_glob)
            if keys is not None and not keys:  # the name matches, but no key does
                continue
            matched = True
            old = found.get(name, frozenset())
            # None, all keys, takes in whatever another glob adds.
            found[name] = None if keys is None or old is None else old | keys
        if not matched:
            raise ArgumentError(
                f"nothing matches source {source_glob!r} and key {key_glob!r};"
                f" the sources are {listing(sorted(sources))}"
            )
    return found


def keys_of(source: SourceData, key_glob: str) -> frozenset[str] | None:
    """Return the keys of a source that match a glob; None if all do."""
    if key_glob == "*":
        return source.selected_keys
    return matching_keys(source.keys(), key_glob, source.is_control)


def by_names(sources: Sources, what: Mapping[str, Any]) -> Chosen:
    """Return what a dict names, with control keys completed to ``.value``."""
    found: Chosen = {}
    for name, keys in what.items():
        source = sources.get(name)
        if source is None:
            raise no_source(name, sources)
        # Text that is empty stands for all, as None does.
        wanted = keys or None if isinstance(keys, str) else keys
        found[name] = source.select_keys(wanted).selected_keys
    return found


def without(sources: Sources, removed: Chosen) -> Chosen:
    """Return what stays when sources or some of their keys are removed."""
    left: Chosen = {}
    for name, source in sources.items():
        if name not in removed:
            left[name] = source.selected_keys
            continue
        keys = removed[name]
        rest = frozenset(source.keys()) - (keys if keys is not None else source.keys())
        if rest:
            left[name] = rest
    return left
