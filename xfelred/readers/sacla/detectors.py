"""Which groups of tags make up a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xfelred.detectors.sacla import FORMS, LAST_NUMBER, PARTS, SENSORS
from xfelred.hdf5 import Group, open_group
from xfelred.readers.sacla.files import TagGroup


@dataclass(frozen=True, eq=False)
class DetectorSpec:
    """A detector: the groups of its modules, in the order of its modules."""

    # ``detector_name`` without the number of the module: the only name that is the same
    # in all runs.
    name: str
    kind: str  # "assembled", "octal", "dual", "single", or "image" for anything else
    groups: tuple[TagGroup, ...]
    modules: tuple[
        int, ...
    ]  # the k of ``detector_2d_k``; 0 if there is just one sensor


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
    # The last number is the serial number then.
    if len(name.split("-")) < PARTS:
        return name, 0
    return last[1], int(last[2])


def spec_of(name: str, assembled: bool, groups: list[TagGroup]) -> DetectorSpec:
    """Return the detector of some groups, in the order of its modules."""
    sensors = SENSORS.match(name)
    n = int(sensors[1]) if sensors else len(groups)
    several = n > 1 and not assembled
    kind = FORMS.get(n, "image") if sensors else "image"
    kind = "assembled" if assembled else kind
    modules = [g.number for g in groups] if several or len(groups) > 1 else [0]
    return DetectorSpec(name, kind, tuple(groups), tuple(modules))


def first_tag(spec: DetectorSpec) -> Group | None:
    """Return the group of the first tag of a detector, which holds what all do."""
    group = next((g for g in spec.groups if len(g.tags)), None)
    if group is None:
        return None
    first = group.piece_of(group.tags[0])
    return open_group(first.file, f"{first.path}/{first.tag_name(group.tags[0])}")
