"""What a resumable job has done, in a file that is whole at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from numpy.typing import NDArray
from pydantic import StrictInt, TypeAdapter

from xfelred.errors import ConfigError
from xfelred.products.resumable import (
    SCHEMA_VERSION,
    damaged,
    read_record,
    versions,
    versions_in,
    write_record,
)
from xfelred.recipes.sources import Source, changes, fingerprint

NAME = "manifest.json"
PENDING: Final = "pending"
DONE: Final = "done"


@dataclass(frozen=True)
class Block:
    """Consecutive shots that are worked off together."""

    id: StrictInt
    trains: tuple[StrictInt, StrictInt]  # IDs of the first and the last one
    n_trains: StrictInt
    status: Literal["pending", "done"] = PENDING  # done: its sums are safe on disk

    @property
    def done(self) -> bool:
        return self.status == DONE


def blocks_of_ids(ids: NDArray[Any], n: int) -> tuple[Block, ...]:
    """Return blocks of `n` consecutive shots, of their sorted IDs."""
    pieces = [ids[i : i + n] for i in range(0, len(ids), n)]
    return tuple(
        Block(i, (int(p[0]), int(p[-1])), len(p)) for i, p in enumerate(pieces)
    )


@dataclass(frozen=True)
class Job:
    """What a product is made from; the same job gives the same bits."""

    recipe_sha256: str
    recipe: Mapping[str, Any]  # what it says, to tell what has changed
    sources: list[Source]
    options: Mapping[str, Any]  # such as the filter


@dataclass(frozen=True)
class Manifest:
    """A job and its blocks."""

    job: Job
    blocks: tuple[Block, ...]
    # What a finished job adds: computed, reused, products.
    result: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=versions)

    def with_done(self, ids: range) -> Manifest:
        blocks = tuple(
            replace(b, status=DONE) if b.id in ids else b for b in self.blocks
        )
        return replace(self, blocks=blocks)

    @property
    def n_done(self) -> int:
        return sum(b.done for b in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "recipe_sha256": self.job.recipe_sha256,
            "source_fingerprint": fingerprint(self.job.sources),
            "xfelred_version": self.software["xfelred"],
            "software": dict(self.software),
            "options": dict(self.job.options),
            "recipe": dict(self.job.recipe),
            "sources": self.job.sources,
            **self.result,
            "blocks": [asdict(b) for b in self.blocks],
        }

    def write(self, path: Path) -> None:
        write_record(path, self.to_dict())


JOB = TypeAdapter(Job)
BLOCKS = TypeAdapter(tuple[Block, ...])
RESULTS: dict[str, TypeAdapter[Any]] = {
    "computed": TypeAdapter(StrictInt),
    "reused": TypeAdapter(StrictInt),
    "products": TypeAdapter(list[str]),
}


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in a file; InconsistentDataError if it is damaged."""
    content = read_record(path, "manifest")
    try:
        blocks = BLOCKS.validate_python(content["blocks"])
        result = {
            k: kind.validate_python(content[k])
            for k, kind in RESULTS.items()
            if k in content
        }
        job = JOB.validate_python(content)
        found = Manifest(job, blocks, result, versions_in(content))
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, repr(error)) from error
    if [b.id for b in blocks] != [*range(len(blocks))]:
        raise damaged(path, "its blocks are not numbered in their order")
    return found


def check_same(path: Path, old: Manifest, new: Manifest) -> None:
    """Raise ConfigError, which says what changed, unless both are of the same job."""
    what = ""
    if old.job.recipe_sha256 != new.job.recipe_sha256:
        keys = changed_keys(old.job.recipe, new.job.recipe)
        what = f"the recipe has changed ({', '.join(keys) or 'its defaults'})"
    elif fingerprint(old.job.sources) != fingerprint(new.job.sources):
        what = f"the source has changed: {changes(old.job.sources, new.job.sources)}"
    elif keys := changed_keys(old.job.options, new.job.options):
        what = f"{', '.join(keys)} differ from the last call"
    elif [b.trains for b in old.blocks] != [b.trains for b in new.blocks]:
        what = "other trains of the run are selected"
    if what:
        raise ConfigError(
            f"{path}: {what} since its first blocks were computed; undo that to"
            " continue, or start anew with overwrite=True (--overwrite)",
            path=os.fspath(path),
        )


def changed_keys(old: object, new: object, above: str = "") -> list[str]:
    """Return the dotted keys whose values differ."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        # Tuples come back from JSON as lists.
        same = json.dumps(old, default=str) == json.dumps(new, default=str)
        return [] if same else [above]
    found = []
    for key in [*old, *(k for k in new if k not in old)]:
        below = f"{above}.{key}" if above else str(key)
        found += changed_keys(old.get(key), new.get(key), below)
    return found
