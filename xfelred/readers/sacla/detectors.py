"""Which groups of tags make up a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xfelred.detectors.sacla import FORMS, LAST_NUMBER, PARTS, SENSORS
from xfelred.errors import SourceNameError, did_you_mean, listing
from xfelred.hdf5.rows import open_group
from xfelred.readers.sacla.files import TagGroup


@dataclass(frozen=True, eq=False)
class DetectorSpec:
    """A detector: the groups of its modules, in the order of its modules.

    Attributes
    ----------
    name : str
        ``detector_name`` without the number of the module; the only name that is the
        same in all runs.
    kind : str
        "assembled", "octal", "dual", "single", or "image" for anything else.
    groups : tuple of TagGroup
    modules : tuple of int
        The numbers k of ``detector_2d_k``; 0 where there is just one sensor.
    """

    name: str
    kind: str
    groups: tuple[TagGroup, ...]
    modules: tuple[int, ...]


def find_detectors(groups: Sequence[TagGroup]) -> dict[str, DetectorSpec]:
    """Return the detectors of a run by name, assembled images apart from modules."""
    members: dict[tuple[bool, str], list[tuple[int, TagGroup]]] = {}
    for group in groups:
        base, module = module_of(group)
        members.setdefault((group.assembled, base), []).append((module, group))
    found = {}
    names = [base for _, base in members]
    for (assembled, base), parts in members.items():
        twice = assembled and names.count(base) > 1
        name = f"{base} assembled" if twice else base
        ordered = sorted(parts, key=lambda p: (p[0], p[1].number))
        found[name] = spec_of(name, assembled, [group for _, group in ordered])
    return found


def module_of(group: TagGroup) -> tuple[str, int]:
    """Return (name of the detector, number of the module in it)."""
    name = str(group.info.get("detector_name", "")).strip()
    if not name:
        return (group.name if group.assembled else "detector_2d"), group.number
    sensors = SENSORS.match(name)
    last = LAST_NUMBER.fullmatch(name)
    several = sensors is not None and int(sensors[1]) > 1
    if group.assembled or not several or last is None:
        return name, 0
    if len(name.split("-")) < PARTS:
        return name, 0
    return last[1], int(last[2])


def spec_of(name: str, assembled: bool, groups: list[TagGroup]) -> DetectorSpec:
    """Return the detector of some groups, in the order of its modules."""
    sensors = SENSORS.match(name)
    n = int(sensors[1]) if sensors else len(groups)
    several = n > 1 and not assembled
    kind = FORMS.get(n, "image") if sensors else "image"
    modules = [g.number for g in groups] if several or len(groups) > 1 else [0]
    return DetectorSpec(
        name, "assembled" if assembled else kind, tuple(groups), tuple(modules)
    )


def choose(
    detectors: dict[str, DetectorSpec], name: str | None, run: str
) -> DetectorSpec:
    """Return a detector by its name, or by the name of one of its groups.

    Raises
    ------
    SourceNameError
        If there is none of this name, or no name is given and there are several.
    """
    if name is None:
        if len(detectors) == 1:
            return next(iter(detectors.values()))
        what = "several detectors; name one of them" if detectors else "no detector"
        raise SourceNameError(f"{run} has {what}: {listing(detectors)}")
    if name in detectors:
        return detectors[name]
    for found in detectors.values():
        if name in {g.name for g in found.groups}:
            return found
    raise SourceNameError(
        f"no detector {name!r} in {run}.{did_you_mean(name, detectors)} There are:"
        f" {listing(detectors)}"
    )


def image_keys(spec: DetectorSpec) -> list[str]:
    """Return what the first tag of a detector has, sorted."""
    for group in spec.groups:
        if len(group.tags):
            first = group.piece_of(group.tags[0])
            name = f"{first.path}/{first.tag_name(group.tags[0])}"
            here = open_group(first.file, name)
            return sorted(here) if here is not None else []
    return []
