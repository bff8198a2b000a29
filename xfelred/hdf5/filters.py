"""Undo HDF5 filters without HDF5, so that threads decompress side by side.

Decoders are plain C functions of libraries that release Python's lock: libdeflate, or
isal, for deflate; for the others the libraries that come with hdf5plugin, else
numcodecs.
Filter numbers: https://github.com/HDFGroup/hdf5_plugins, registered filters.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from isal import igzip_lib
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, DamagedChunkError, require_extra
from xfelred.hdf5.scratch import scratch
from xfelred.kernels.unshuffle import fletcher32, packed_blocks, unshuffle

Bytes = NDArray[np.uint8]
Options = tuple[int, ...]
Undo = Callable[[Bytes, Bytes, Options], Bytes]

BLOSC, LZ4, BITSHUFFLE, ZSTD = 32001, 32004, 32008, 32015
# Of hdf5plugin: bzip2, blosc, lz4, bshuf, zfp, zstd, sz, fcidecomp, sz3, blosc2, ...
FROM_HDF5PLUGIN = frozenset(
    (307, BLOSC, LZ4, BITSHUFFLE, 32013, ZSTD, 32017, 32018, 32024, 32026, 32028)
)


@dataclass(frozen=True)
class Stage:
    # ``run(data, room, options)`` returns what the filter was given, in `room` (as long
    # as that) or elsewhere; raises ValueError.
    run: Undo
    options: Options
    added: int = 0  # bytes that the filter adds
    packs: bool = False  # the length of what it gives is not known beforehand


def decode(stages: tuple[Stage, ...], mask: int, data: Bytes, out: Bytes) -> None:
    """Undo filters; `out` has the length of what was given to the first.

    Bit i of `mask` is set where filter i was skipped for this chunk.
    """
    active = stages
    if mask:
        active = tuple(s for i, s in enumerate(stages) if not mask >> i & 1)
    for k in reversed(range(len(active))):
        stage = active[k]
        if not k:
            room = out
        elif any(s.packs for s in active[:k]):
            room = data[: len(data) - stage.added]
        else:
            n = len(out) + sum(s.added for s in active[:k])
            room = scratch(f"stage {k % 2}", n)
        if not stage.packs and len(data) != len(room) + stage.added:
            raise DamagedChunkError(
                f"{len(data)} bytes instead of {len(room) + stage.added}"
            )
        data = stage.run(data, room, stage.options)
    if len(data) != len(out):
        raise DamagedChunkError(f"{len(data)} bytes instead of {len(out)}")
    if data is not out:
        out[:] = data


def inflate(data: Bytes, room: Bytes, options: Options) -> Bytes:
    """Undo deflate; libdeflate takes about half as long as isal."""
    make = function("deflate", "libdeflate_alloc_decompressor")
    run = function("deflate", "libdeflate_zlib_decompress")
    free = function("deflate", "libdeflate_free_decompressor")
    if not (make and run and free):
        return inflate_with_isal(data, room)
    state = make()
    try:
        # Without a place for the length anything but just this length is an error.
        place = address(data), len(data), address(room), len(room)
        failed = run(state, *place, None)
    finally:
        free(state)
    if failed:
        raise DamagedChunkError(f"damaged, or less or more than {len(room)} bytes")
    return room


def inflate_with_isal(data: Bytes, room: Bytes) -> Bytes:
    stream = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    try:
        # One byte more, so that a stream that is too long is not taken for a whole.
        raw = stream.decompress(data, max_length=len(room) + 1)
    except igzip_lib.error as error:  # type: ignore[misc]
        raise DamagedChunkError(str(error)) from error
    if not stream.eof or len(raw) != len(room):
        raise DamagedChunkError(f"it has {len(raw)} bytes instead of {len(room)}")
    return np.frombuffer(raw, np.uint8)


def join_bytes(data: Bytes, room: Bytes, options: Options) -> Bytes:
    unshuffle(data, room, options[0])
    return room


def verify(data: Bytes, room: Bytes, options: Options) -> Bytes:
    """Check and remove the checksum of fletcher32."""
    body, end = data[:-4], data[-4:]
    stored = int.from_bytes(end.tobytes(), "little")
    found = int(fletcher32(body))
    # Files of HDF5 before 1.6.3 have the bytes of each half swapped.
    swapped = (found & 0xFF00FF) << 8 | (found >> 8) & 0xFF00FF
    if stored not in (found, swapped):
        raise DamagedChunkError("the checksum does not agree")
    return body


def unzstd(data: Bytes, room: Bytes, options: Options) -> Bytes:
    run = function("zstd", "ZSTD_decompress")
    if run is None:
        return with_numcodecs(zstd.decompress, data, room)
    check(run(address(room), len(room), address(data), len(data)), len(room), "zstd")
    return room


def unblosc(data: Bytes, room: Bytes, options: Options) -> Bytes:
    """Undo blosc, with one thread."""
    header = data[:16].view("<u4").tolist() if len(data) >= 16 else []
    if header[1:2] != [len(room)] or header[3:] != [len(data)]:
        raise DamagedChunkError(f"blosc header says {header[1::2]}, not {len(room)}")
    run = function("blosc", "blosc_decompress_ctx")
    if run is None:
        return with_numcodecs(blosc.decompress, data, room)
    check(run(address(data), address(room), len(room), 1), len(room), "blosc")
    return room


def with_numcodecs(run: Callable[..., Any], data: Bytes, room: Bytes) -> Bytes:
    try:
        found = run(data, room)
    except (RuntimeError, ValueError) as error:
        raise DamagedChunkError(str(error)) from error
    check(len(found), len(room), "numcodecs")
    return room


def unlz4(data: Bytes, room: Bytes, options: Options) -> Bytes:
    """Undo lz4: two sizes, then blocks with their length in front."""
    run = function("lz4", "LZ4_decompress_safe")
    total, block = big_endian(data, 0, 8), big_endian(data, 8, 4)
    if total != len(room) or block < 1 or len(data) < 12:
        raise DamagedChunkError(f"lz4 header says {total} bytes instead of {len(room)}")
    at = 12
    for begin in range(0, total, block):
        part = room[begin : begin + block]
        size = big_endian(data, at, 4)
        at += 4
        if at + size > len(data):
            raise DamagedChunkError("an lz4 block leaves its chunk")
        if size == len(part):  # stored as it is
            part[:] = data[at : at + size]
        else:
            here = address(data) + at
            done = run(here, address(part), size, len(part)) if run else -1
            check(done, len(part), "lz4")
        at += size
    check(at, len(data), "lz4")
    return room


def unbitshuffle(data: Bytes, room: Bytes, options: Options) -> Bytes:
    """Undo bitshuffle, and lz4 or zstd within."""
    item, packing = options[2], options[4] if len(options) > 4 else 0
    if item < 1 or len(room) % item:
        raise DamagedChunkError(f"bitshuffle of items of {item} in {len(room)} bytes")
    n = len(room) // item
    run = function("bshuf", BITSHUFFLE_RUN[packing])
    if run is None:
        raise DamagedChunkError("the library of bitshuffle is gone")
    if not packing:
        check(len(data), len(room), "bitshuffle")
        done = run(address(data), address(room), n, item, options[3])
        check(done, len(room), "bitshuffle")
        return room
    total, block_bytes = big_endian(data, 0, 8), big_endian(data, 8, 4)
    if total != len(room) or block_bytes < 1 or block_bytes % (8 * item):
        raise DamagedChunkError(f"bitshuffle header says {total}, {block_bytes}")
    # The library trusts the lengths of the blocks: walk them before it does.
    tail = n % 8 * item
    if packed_blocks(data, 12, total - tail, block_bytes, tail) != len(data):
        raise DamagedChunkError("blocks of bitshuffle do not fill their chunk")
    done = run(address(data) + 12, address(room), n, item, block_bytes // item)
    check(done, len(data) - 12, "bitshuffle")
    return room


POINTER, SIZE, INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
UNSHUFFLES = [POINTER, POINTER, SIZE, SIZE, SIZE], ctypes.c_int64
LIBRARIES = {"deflate": ("deflate", "_deflate.*")}
SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "libdeflate_alloc_decompressor": ([], POINTER),
    "libdeflate_zlib_decompress": (
        [POINTER, POINTER, SIZE, POINTER, SIZE, POINTER],
        INT,
    ),
    "libdeflate_free_decompressor": ([POINTER], None),
    "ZSTD_decompress": ([POINTER, SIZE, POINTER, SIZE], SIZE),
    "blosc_decompress_ctx": ([POINTER, POINTER, SIZE, INT], INT),
    "LZ4_decompress_safe": ([POINTER, POINTER, INT, INT], INT),
    "bshuf_bitunshuffle": UNSHUFFLES,
    "bshuf_decompress_lz4": UNSHUFFLES,
    "bshuf_decompress_zstd": UNSHUFFLES,
}
BITSHUFFLE_RUN = {
    0: "bshuf_bitunshuffle",
    2: "bshuf_decompress_lz4",
    3: "bshuf_decompress_zstd",
}


def big_endian(data: Bytes, first: int, n: int) -> int:
    return int.from_bytes(data[first : first + n].data, "big")


def check(done: int, expected: int, name: str) -> None:
    if done != expected:
        raise DamagedChunkError(f"{name} gives {done} instead of {expected}")


def address(array: Bytes) -> int:
    # A fourth of the time of numpy's own ways, some of which a chunk needs.
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))


@cache
def function(library: str, name: str) -> Callable[..., int] | None:
    """Return a C function of a library inside a package; None if there is none.

    The library is loaded without its package: hdf5plugin would register all filters,
    and deflate returns new memory for every chunk, which must then be copied.
    """
    package, pattern = LIBRARIES.get(
        library, ("hdf5plugin", f"plugins/libh5{library}.*")
    )
    spec = importlib.util.find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(place).glob(pattern)):
            with suppress(OSError, AttributeError):
                found = getattr(ctypes.CDLL(str(path)), name)
                found.argtypes, found.restype = SIGNATURES[name]
                return found
    return None


def stage_of(number: int, options: Options) -> Stage | None:
    """Return how to undo a filter; None if h5py must."""
    if number == h5py.h5z.FILTER_DEFLATE:
        return Stage(inflate, options, packs=True)
    if number == h5py.h5z.FILTER_SHUFFLE and options and options[0] > 0:
        return Stage(join_bytes, options)
    if number == h5py.h5z.FILTER_FLETCHER32:
        return Stage(verify, options, added=4)
    if number == ZSTD:
        return Stage(unzstd, options, packs=True)
    if number == BLOSC:
        return Stage(unblosc, options, packs=True)
    if number == LZ4 and function("lz4", "LZ4_decompress_safe"):
        return Stage(unlz4, options, packs=True)
    if number == BITSHUFFLE and len(options) > 3:
        packing = options[4] if len(options) > 4 else 0
        name = BITSHUFFLE_RUN.get(packing)
        if name and function("bshuf", name):
            return Stage(unbitshuffle, options, packs=bool(packing))
    return None


def filters_of(properties: h5py.h5p.PropDCID) -> list[tuple[int, Options]]:
    found = (properties.get_filter(i) for i in range(properties.get_nfilters()))
    return [(number, tuple(values)) for number, _, values, _ in found]


def pipeline_of(filters: list[tuple[int, Options]]) -> tuple[Stage, ...] | None:
    """Return how to undo all filters; None if h5py must."""
    stages = [stage_of(number, options) for number, options in filters]
    known = tuple(s for s in stages if s is not None)
    # What stands behind a compressor, or a second one, gets data of unknown length.
    packing = [i for i, s in enumerate(known) if s.packs]
    behind = filters[packing[0] + 1 :] if packing else []
    odd = any(number != h5py.h5z.FILTER_FLETCHER32 for number, _ in behind)
    return None if odd or len(known) < len(stages) else known


def make_readable(dataset: h5py.Dataset) -> None:
    """Load the filters that h5py needs to read a dataset."""
    for number, _ in filters_of(dataset.id.get_create_plist()):
        if h5py.h5z.filter_avail(number):
            continue
        if number in FROM_HDF5PLUGIN:
            with suppress(ImportError):
                import hdf5plugin  # noqa: F401
            if h5py.h5z.filter_avail(number):
                continue
            raise require_extra("hdf5plugin", "hdf5")
        raise BrokenFileError(
            f"{dataset.name} in {dataset.file.filename} is compressed with HDF5 filter"
            f" {number}, which is not installed; set HDF5_PLUGIN_PATH to where it is"
        )
