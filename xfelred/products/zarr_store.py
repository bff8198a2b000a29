"""Zarr v3 stores, in one go or block by block so that a second call can continue."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from dask.base import tokenize
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from xfelred import __version__
from xfelred.errors import InconsistentDataError, OutputExistsError
from xfelred.lazy.in_flight import results_of
from xfelred.products.atomic import (
    check_free,
    flush_to_disk,
    idle_threads_at_end,
    publish,
    refuse_link,
    remove,
)
from xfelred.products.blocks import (
    Region,
    batches,
    block_list,
    busy_blocks,
    is_regular,
    put,
    store_chunks,
)
from xfelred.products.resumable import (
    LARGEST,
    SCHEMA_VERSION,
    check_versions,
    checksum_of,
    damaged,
    digest,
    read_record,
    versions,
    versions_in,
    write_record,
)
from xfelred.small_files import read_text

# One chunk is one file: few enough for a cluster's disk, small enough for one image.
CHUNK_BYTES = 2**24
GROUP = "zarr.json"
MANIFEST = "manifest.json"
TOKEN = "write_token"
# A manifest of this many blocks is quick to write, a longer one has to wait for a
# multiple of the time it took last.
SHORT = 1000
PAUSE_PER_WRITE = 20
# How zarr names a file that it has not finished: 0.<32 digits>.partial
UNFINISHED = re.compile(r".+\.[0-9a-f]{32}\.partial")


def write_zarr(ds: xr.Dataset, path: Path) -> None:
    """Write a prepared Dataset as a zarr v3 group; all variables in one graph."""
    ds = with_regular_blocks(with_variable_text(ds))
    ds.to_zarr(
        path, mode="w", zarr_format=3, consolidated=False, encoding=chunk_encoding(ds)
    )
    consolidate(path)


def resume_zarr(ds: xr.Dataset, path: Path, *, overwrite: bool) -> None:
    """Write a prepared Dataset block by block; a second call computes what is missing.

    Until all blocks are written everything is in ``<path>.partial``: the store, and
    ``manifest.json`` with the blocks that are safe on disk.
    """
    tokens = {str(n): token(v) for n, v in ds.variables.items()}
    ds = with_regular_blocks(with_variable_text(ds))
    ds.attrs[TOKEN] = json.dumps(tokens)
    work = partial_directory(path)
    refuse_link(path)
    refuse_link(work)
    if overwrite:
        discard_unfinished(path)
    elif path.exists():
        check_finished(path, tokens)
        discard_unfinished(path)
        return
    check_free(path, overwrite=overwrite)
    store = work / path.name
    manifest = Manifest(work / MANIFEST, tokens)
    if not manifest.read():
        discard_unfinished(path)
        work.mkdir()
        # Everything but the blocks of the lazy variables.
        ds.to_zarr(
            store,
            mode="w",
            zarr_format=3,
            consolidated=False,
            encoding=chunk_encoding(ds),
            compute=False,
        )
        manifest.template = checksums(store)
        manifest.write()
    check_template(store, manifest.template)
    with idle_threads_at_end():
        write_missing(ds, store, manifest)
    remove_unfinished_files(store)
    consolidate(store)
    publish(store, path, overwrite=overwrite)
    remove(work)


@dataclass
class Manifest:
    """The blocks of an unfinished product that are safe on disk."""

    path: Path
    tokens: Mapping[str, str]  # what identifies its data, by variable
    # Name of a variable, and the first index of a block along each axis.
    done: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    # Checksums of the files that were there before the first block, by name.
    template: Mapping[str, str] = field(default_factory=dict)
    due: float = 0.0  # when to write again, by the monotonic clock

    def read(self) -> bool:
        """Load what an interrupted call has done; return whether there was one."""
        if not os.path.lexists(self.path):
            return False
        content = read_record(self.path, "manifest")
        try:
            tokens = {str(k): str(v) for k, v in content["tokens"].items()}
            done = {(str(name), tuple(corner)) for name, corner in content["done"]}
            template = {str(k): str(v) for k, v in content["template"].items()}
            made_by = versions_in(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(self.path, repr(error)) from error
        compare_tokens(self.path.parent, tokens, self.tokens)
        check_versions(self.path, made_by)
        self.done, self.template = done, template
        return True

    def write_if_due(self) -> None:
        if len(self.done) <= SHORT or time.monotonic() >= self.due:
            self.write()

    def write(self) -> None:
        start = time.monotonic()
        content = {
            "schema_version": SCHEMA_VERSION,
            "xfelred_version": __version__,
            "software": versions(),
            "tokens": self.tokens,
            "template": self.template,
            "done": sorted(self.done),
        }
        write_record(self.path, content)
        end = time.monotonic()
        self.due = end + PAUSE_PER_WRITE * (end - start)


def token(variable: xr.Variable) -> str:
    """Return what identifies the data of a variable; nothing is computed."""
    if variable.chunks is not None:
        # The same run, selection and operations give it in every session.
        return str(variable.data.name)
    return f"values-{tokenize(variable.values)}"


def partial_directory(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def refuse_unfinished(path: Path, *, overwrite: bool) -> None:
    """Raise if an earlier, interrupted call left blocks that this one would ignore."""
    work = partial_directory(path)
    if not os.path.lexists(work):
        return
    if not overwrite:
        raise OutputExistsError(
            f"{work} holds the blocks of an interrupted call; pass resume=True"
            " (--resume) to finish it, or overwrite=True (--overwrite) to start anew"
        )
    discard_unfinished(path)


def discard_unfinished(path: Path) -> None:
    """Delete what an interrupted call left, and nothing else that has its name."""
    work = partial_directory(path)
    if not os.path.lexists(work):
        return
    own = {path.name, MANIFEST, Path(MANIFEST).with_suffix(".new").name}
    real = work.is_dir() and not work.is_symlink()
    if not real or not {p.name for p in work.iterdir()} <= own:
        raise OutputExistsError(
            f"{work} is not an unfinished product of xfelred; move it away, or choose"
            " another name"
        )
    remove(work)


def with_variable_text(ds: xr.Dataset) -> xr.Dataset:
    # The only text of zarr v3.
    text = {n: v.astype(object) for n, v in ds.variables.items() if v.dtype.kind == "U"}
    out = ds.assign_coords({n: v for n, v in text.items() if n in ds.coords})
    return out.assign({n: v for n, v in text.items() if n in ds.data_vars})


def with_regular_blocks(ds: xr.Dataset) -> xr.Dataset:
    for name, variable in ds.variables.items():
        if variable.chunks is None or all(is_regular(c) for c in variable.chunks):
            continue
        # zarr has chunks of one size along an axis.
        sizes = {dim: max(c) for dim, c in variable.chunksizes.items()}
        ds[name] = ds[name].chunk(sizes)
    return ds


def chunk_encoding(ds: xr.Dataset) -> dict[Hashable, dict[str, Any]]:
    out: dict[Hashable, dict[str, Any]] = {}
    for name, v in ds.variables.items():
        if v.ndim:
            size = v.dtype.itemsize
            out[name] = {"chunks": store_chunks(v.shape, v.chunks, size, CHUNK_BYTES)}
            if v.dtype.kind in "biufc":
                # Sums of frames: 8 times as fast as zarr's own choice, and as small.
                codec = BloscCodec(
                    cname="lz4",
                    clevel=1,
                    shuffle="shuffle" if size > 1 else "bitshuffle",
                )
                out[name]["compressors"] = [codec]
    return out


def consolidate(path: Path) -> None:
    # In one file, so that opening does not list directories.
    with warnings.catch_warnings():
        # Readers that do not know this addition to the v3 format ignore it.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path, zarr_format=3)


def checksums(store: Path) -> dict[str, str]:
    files = sorted(p for p in store.rglob("*") if p.is_file())
    return {str(p.relative_to(store)): part_checksum(store, p) for p in files}


def part_checksum(store: Path, path: Path) -> str:
    if path != store / GROUP:
        return checksum_of(path)
    # An interrupted call may have gathered metadata in that of the group already.
    group = group_metadata(path)
    group.pop("consolidated_metadata", None)
    return digest(json.dumps(group, sort_keys=True).encode())


def group_metadata(path: Path) -> dict[str, Any]:
    text = read_text(
        path, "zarr group", wrong=InconsistentDataError, limit=LARGEST, links=False
    )
    try:
        return {**json.loads(text), "attributes": dict(json.loads(text)["attributes"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, repr(error)) from error


def check_template(store: Path, wanted: Mapping[str, str]) -> None:
    for name, checksum in wanted.items():
        path = store / name
        if not path.exists():
            raise damaged(path, "it is gone")
        if part_checksum(store, path) != checksum:
            raise damaged(path, "its checksum is wrong")


def write_missing(ds: xr.Dataset, store: Path, manifest: Manifest) -> None:
    of = {str(n): v for n, v in ds.variables.items() if v.chunks is not None}
    takers = {
        n: Blocks(store, n, tuple(map(str, v.dims)), dict(v.attrs))
        for n, v in of.items()
    }
    lazy = {n: v.data for n, v in of.items()}
    missing = [b for b in block_list(lazy) if (b[0], corner(b[1])) not in manifest.done]
    groups = (
        [((n, corner(region)), put(lazy[n], region, takers[n])) for n, region in batch]
        for batch in batches(missing, limit_blocks=busy_blocks())
    )
    with results_of(groups, busy_blocks()) as found:
        for some in found:
            manifest.done.update(where for where, _ in some)
            manifest.write_if_due()


@dataclass(frozen=True)
class Blocks:
    """A variable in a store, which takes blocks wherever they are computed."""

    store: Path
    name: str
    dims: tuple[str, ...]
    attrs: dict[Hashable, Any]

    def put(self, where: Region, values: NDArray[Any]) -> tuple[()]:
        """Write a block; it is done only when its chunks are on the disk."""
        # By xarray, which encodes the block as it does the whole variable.
        block = xr.Dataset({self.name: (self.dims, values, self.attrs)})
        to: dict[str, Any] = {"consolidated": False, "zarr_format": 3}
        if where:
            to |= {"mode": "r+", "region": dict(zip(self.dims, where, strict=True))}
        else:
            # xarray 2025.8 has no region of a single number, and what is added without
            # one brings its own attributes of the group.
            group = zarr.open_group(self.store, mode="r", zarr_format=3)
            block.attrs = dict(group.attrs)
            to |= {"mode": "a"}
        block.to_zarr(self.store, **to)
        flush_block(self.store, self.name, where)
        return ()


def flush_block(store: Path, name: str, region: Region) -> None:
    array = zarr.open_array(store, path=name, mode="r", zarr_format=3)
    axes = zip(region, array.chunks, strict=True)
    grid = [range(where.start // n, -(-where.stop // n)) for where, n in axes]
    for place in product(*grid):
        # A chunk that holds nothing but the fill value has no file.
        file = store / name / array.metadata.encode_chunk_key(place)
        if file.exists():
            flush_to_disk(file)


def remove_unfinished_files(store: Path) -> None:
    # What zarr was writing when a process was killed.
    for file in store.rglob("*.partial"):
        if UNFINISHED.fullmatch(file.name):
            file.unlink()


def corner(region: Region) -> tuple[int, ...]:
    return tuple(s.start for s in region)


def check_finished(path: Path, tokens: Mapping[str, str]) -> None:
    found = {}
    if (path / GROUP).exists():
        try:
            found = json.loads(
                group_metadata(path / GROUP)["attributes"].get(TOKEN, "{}")
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged(path / GROUP, repr(error)) from error
    if not found or not isinstance(found, dict):
        raise OutputExistsError(
            f"{path} exists and was not written with resume=True; pass overwrite=True"
            " (--overwrite) to replace it, or choose another name"
        )
    compare_tokens(path, found, tokens)


def compare_tokens(
    where: Path, found: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    if found == wanted:
        return
    changed = sorted(
        n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n)
    )
    raise InconsistentDataError(
        f"{where} was written from other data: {', '.join(changed)} differ"
        " (another run, selection, chunking or parameter of an operation);"
        " repeat the original call, or pass overwrite=True (--overwrite) to start"
        " anew"
    )
