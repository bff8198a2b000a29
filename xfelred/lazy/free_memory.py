"""How much memory this process may still take."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 50  # version 1 has an enormous number for none
# Pages of files that were read count as used, but the system takes them back at need.
FILE_PAGES = {"active_file", "inactive_file"}


def free_memory() -> tuple[int, str]:
    """Return how many bytes are free, and what sets this limit; some 0.1 ms."""
    return min([machine(), *groups(), *address_space()])


def machine() -> tuple[int, str]:
    """Return what the system has available; where it does not tell, all there is."""
    _, _, rest = text_of(PROC / "meminfo").partition("MemAvailable:")
    if rest:
        return int(rest.split()[0]) * 1024, "this machine"
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return pages, "this machine"


def address_space() -> Iterator[tuple[int, str]]:
    """Yield what ``ulimit -v`` leaves to this process."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return
    pages = text_of(PROC / "self" / "statm").split()
    # The first number of statm counts pages of addresses, which the limit is on.
    used = int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else 0
    yield max(0, most - used), "the limit on its addresses (ulimit -v)"


@dataclass(frozen=True)
class Group:
    """A control group that has a limit: a job of SLURM, a container.

    Lines of ``memory.stat`` that count the groups below as well begin with `prefix`.
    """

    limit: Path
    used: Path
    prefix: str = ""

    def most(self) -> int | None:
        """Return the limit, None if there is none."""
        found = text_of(self.limit).strip()
        return int(found) if found.isdigit() and int(found) < NO_LIMIT else None

    def left(self) -> int:
        """Return how many bytes its processes may still take."""
        used = int(text_of(self.used).strip() or 0)
        for line in text_of(self.limit.with_name("memory.stat")).splitlines():
            kind, _, size = line.partition(" ")
            if kind.startswith(self.prefix) and kind[len(self.prefix) :] in FILE_PAGES:
                used -= int(size)
        return max(0, (self.most() or NO_LIMIT) - used)


def groups() -> Iterator[tuple[int, str]]:
    """Yield what is left in the control groups of this process."""
    for group in limited_groups():
        yield group.left(), "the limit of this job or container"


@cache
def limited_groups() -> tuple[Group, ...]:
    """Return the control groups with a limit: a process stays in its groups."""
    found = []
    for line in text_of(PROC / "self" / "cgroup").splitlines():
        _, kinds, name = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        # Version 2 has one tree for everything, version 1 one for a resource.
        root = CGROUPS / "memory" if kinds else CGROUPS
        place = root / name.lstrip("/")
        # Inside of a container its own group is the root, whatever its name outside.
        for at in (place, *place.parents) if place.is_dir() else (root,):
            group = Group(at / "memory.max", at / "memory.current")
            if kinds:
                limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
                group = Group(at / limit, at / used, "total_")
            found += [group] if group.most() is not None else []
            if at == root:
                break
    return tuple(found)


def text_of(path: Path) -> str:
    """Return a file of the system, nothing if it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""
