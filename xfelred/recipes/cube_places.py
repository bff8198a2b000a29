"""Where a product and its parts are, and whether a call may go on with these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xfelred.errors import InconsistentDataError, MissingFileError, OutputExistsError
from xfelred.products.atomic import refuse_link, remove
from xfelred.products.resumable import check_versions
from xfelred.recipes import cube_state, manifest
from xfelred.recipes.manifest import Manifest, check_same, read_manifest
from xfelred.small_files import writing


@dataclass(frozen=True)
class Places:
    """Where the parts of one product are."""

    out: Path
    name: str  # such as cube_xpptest01_Run0042_delay

    @property
    def work(self) -> Path:
        return self.out / f"{self.name}.inprogress"

    @property
    def unfinished(self) -> Path:
        return self.work / manifest.NAME

    @property
    def finished(self) -> Path:
        return self.out / f"{self.name}.manifest.json"


def begin(
    places: Places,
    wanted: Manifest,
    products: Sequence[Path],
    *,
    resume: bool,
    overwrite: bool,
) -> Manifest | None:
    """Return the manifest to go on with; None if the product is finished."""
    refuse_link(places.work)
    if places.finished.is_dir():
        raise OutputExistsError(
            f"{places.finished} should be the manifest of a product, but is a"
            " directory; move it away"
        )
    if overwrite:
        discard(places)
    elif places.unfinished.exists():
        if not resume:
            raise exists(places.work, "is unfinished", "continue it")
        old = read_manifest(places.unfinished)
        check_same(places.unfinished, old, wanted)
        check_versions(places.unfinished, old.software)
        cube_state.remove_old(places.work)
        return checked_states(places, old)
    elif places.finished.exists():
        if not resume:
            raise exists(places.finished, "tells of a finished product", "keep it")
        check_same(places.finished, read_manifest(places.finished), wanted)
        check_complete(places, products)
        return None
    else:
        discard(places)
        for path in products:
            if path.exists():
                raise exists(path, "exists, without a manifest", "")
    places.work.mkdir()
    wanted.write(places.unfinished)
    return wanted


def make_directory(out: Path) -> None:
    with writing(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:  # also one above it
            raise OutputExistsError(
                f"{out} cannot be the directory of the products: {error.filename} is no"
                " directory; choose another one"
            ) from None


def exists(path: Path, what: str, resuming: str) -> OutputExistsError:
    first = f"pass resume=True (--resume) to {resuming}, or " if resuming else ""
    return OutputExistsError(
        f"{path} {what}; {first}pass overwrite=True (--overwrite) to start anew"
    )


def discard(places: Places) -> None:
    """Delete what an interrupted call left, and nothing else that has its name."""
    if not os.path.lexists(places.work):
        return
    if places.work.is_dir() and not places.work.is_symlink():
        found = [p.name for p in places.work.iterdir()]
        # Killed before its first manifest had a name, it holds that alone.
        if manifest.NAME in found or not set(found) - {"manifest.new"}:
            remove(places.work)
            return
    raise OutputExistsError(
        f"{places.work} is no unfinished product of xfelred; move it away, or choose"
        " another directory"
    )


def checked_states(places: Places, old: Manifest) -> Manifest:
    """Return the manifest if the results of all done blocks are on disk."""
    done = {b.id for b in old.blocks if b.done}
    have: set[int] = set()
    for path in cube_state.saved(places.work):
        blocks = cube_state.blocks_of(path)
        if blocks.stop <= len(old.blocks) and done.issuperset(blocks):
            have.update(blocks)
        else:
            remove(path)  # a job was killed before its manifest could note it
    if have != done:
        raise InconsistentDataError(
            f"{places.work} lacks the results of {len(done - have)} blocks that its"
            " manifest calls done; start anew with overwrite=True (--overwrite)"
        )
    return old


def check_complete(places: Places, products: Sequence[Path]) -> None:
    for path in products:
        if not path.exists():
            raise OutputExistsError(
                f"{places.finished} tells of a finished product, but {path.name} is"
                " gone; pass overwrite=True (--overwrite) to make all of it anew"
            )


def remove_stale(places: Places, paths: list[Path]) -> None:
    """Delete products of an older job of this name that the new one does not have."""
    try:
        old = read_manifest(places.finished).result.get("products", [])
    except (MissingFileError, InconsistentDataError):
        return  # nobody knows what it had
    new = {p.name for p in paths}
    for name in old:
        # A manifest that was edited must not lead out of the directory.
        if name not in new and os.path.basename(name) == name:
            remove(places.out / name)
