"""Small runs of every layout, and seeded damage to their files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from xfelred import synth


class Layout(NamedTuple):
    """How a run is written, and the name of its file if it is one."""

    write: Callable
    one_file: str = ""
    settings: dict = {}  # noqa: RUF012 - never changed

    def written(self, place):
        """Write the run; return what `open_run` gets."""
        place.mkdir(parents=True)
        path = place / self.one_file if self.one_file else place / "run"
        self.write(path, **self.settings)
        return path


def euxfel(**settings):
    few = {"n_trains": 3, "pulses": 2, "sequences": None, "motors": False}
    return Layout(synth.euxfel.write_run, settings=few | settings)


def sacla(**settings):
    few = {"shape": (8, 4), "n_images": 5, "n_darks": 1}
    return Layout(synth.sacla.write_run, "300001.h5", few | settings)


def smalldata(**settings):
    few = {"n_events": 12, "shape": (2, 6, 8), "n_banks": 2}
    return Layout(synth.lcls.write_smalldata, "xpptest01_Run0047.h5", few | settings)


def suite(**settings):
    return Layout(synth.lcls.write_suite, "run.h5", settings)


AGIPD = {"kind": "AGIPD1M", "modules": (0, 3)}
LAYOUTS = {
    "agipd corrected": euxfel(**AGIPD, compression="gzip"),
    "agipd raw": euxfel(**AGIPD, corrected=False),
    "jungfrau": euxfel(kind="JUNGFRAU", modules=(1,), n_trains=2, pulses=1),
    "sacla assembled": sacla(),
    "sacla modules": sacla(layout="modules", modules=(1, 3)),
    "sacla gzip": sacla(compression="shuffle+gzip"),
    "lcls1": smalldata(),
    "lcls1 gzip": smalldata(compression="gzip"),
    "lcls2": smalldata(flavour="LCLS2"),
    "suite nested": suite(n_events=(3, 2)),
    "suite flat": suite(layout="flat", n_events=(3, 3)),
    "suite events": suite(chunks=True, n_events=(3, 2)),
}


# -- damage to bytes: (bytearray, generator) ----


def place_in(data, rng):
    """A position: often among the headers, which fill little of a file."""
    used = np.flatnonzero(np.frombuffer(data, np.uint8))
    near = used[used < 65536] if rng.random() < 0.3 else used
    return int(rng.choice(near if len(near) else used))


def truncated(data, rng):
    del data[int(rng.integers(len(data))) :]


def flipped(data, rng):
    data[place_in(data, rng)] ^= 1 << int(rng.integers(8))


def overwritten(data, rng):
    at = place_in(data, rng)
    n = min(int(rng.choice([8, 64, 512])), len(data) - at)
    data[at : at + n] = rng.integers(0, 256, n, np.uint8).tobytes()


def zeroed_page(data, rng):
    at = place_in(data, rng) // 4096 * 4096
    n = min(4096, len(data) - at)
    data[at : at + n] = bytes(n)


def swapped(data, rng):
    n = 1024
    one, other = sorted(int(i) for i in rng.integers(0, max(1, len(data) - n), 2))
    n = min(n, other - one)
    data[one : one + n], data[other : other + n] = (
        data[other : other + n], data[one : one + n],
    )  # fmt: skip


BYTES = (truncated, flipped, flipped, overwritten, zeroed_page, swapped)


# -- damage to objects: (file, name of a dataset, what it held) ----


def put(file, name, **options):
    del file[name]
    file.create_dataset(name, **options)


def link(file, name, target):
    del file[name]
    file[name] = target


def show(file, name, source, shape, dtype):
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(*source, shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def plain(held):
    """Numbers of the shape of what a dataset held."""
    return held if held.dtype.kind in "iuf" else np.zeros(held.shape, np.int32)


OBJECTS = {
    "deleted": lambda f, n, v: f.pop(n) and None,
    "a group": lambda f, n, v: (f.pop(n), f.create_group(n)),
    "a type": lambda f, n, v: link(f, n, np.dtype("f4")),
    "text": lambda f, n, v: put(f, n, data=np.full(v.shape, b"\xff\x1b[2J")),
    "texts": lambda f, n, v: put(f, n, shape=v.shape, dtype=h5py.string_dtype()),
    "records": lambda f, n, v: put(f, n, data=np.zeros(v.shape, "f4,i2")),
    "doubles": lambda f, n, v: put(f, n, data=plain(v).astype("f8")),
    "big endian": lambda f, n, v: put(f, n, data=plain(v).astype(">i4")),
    "all -1": lambda f, n, v: put(f, n, data=np.full(v.shape, -1)),
    "all NaN": lambda f, n, v: put(f, n, data=np.full(v.shape, np.nan)),
    "shorter": lambda f, n, v: put(f, n, data=plain(v)[:-1] if v.ndim else plain(v)),
    "longer": lambda f, n, v: put(
        f, n, data=np.concatenate([plain(v)] * 2) if v.ndim else plain(v)
    ),
    "one axis more": lambda f, n, v: put(f, n, data=plain(v)[..., None]),
    "transposed": lambda f, n, v: put(f, n, data=plain(v).T),
    "a scalar": lambda f, n, v: put(f, n, data=7),
    "no values": lambda f, n, v: put(f, n, data=plain(np.atleast_1d(v))[:0]),
    "null": lambda f, n, v: put(f, n, data=h5py.Empty("f4")),
    "huge": lambda f, n, v: put(
        f, n, shape=(10**12, *v.shape[1:]), chunks=(1024, *v.shape[1:]), dtype="i4"
    ),
    "wide": lambda f, n, v: put(
        f, n, shape=(*v.shape[:1], 10**6, 10**6), chunks=True, dtype="i4"
    ),
    "never written": lambda f, n, v: put(
        f, n, shape=v.shape or (1,), chunks=v.shape or (1,), dtype=plain(v).dtype
    ),
    "virtual, of nothing": lambda f, n, v: show(
        f, n, ("gone.h5", "x"), v.shape or (1,), plain(v).dtype
    ),
    "virtual, of itself": lambda f, n, v: show(
        f, n, (".", "/" + n), v.shape or (1,), plain(v).dtype
    ),
    "a link to itself": lambda f, n, v: link(f, n, h5py.SoftLink("/" + n)),
    "a link to nothing": lambda f, n, v: link(f, n, h5py.SoftLink("/gone")),
    "a link to the root": lambda f, n, v: link(f, n, h5py.SoftLink("/")),
    "a link to no file": lambda f, n, v: link(f, n, h5py.ExternalLink("gone", "x")),
    "values elsewhere": lambda f, n, v: put(
        f, n, shape=v.shape or (1,), dtype=plain(v).dtype,
        external=[("gone.bin", 0, h5py.h5f.UNLIMITED)],
    ),
}  # fmt: skip


def datasets_of(path):
    """Names of the datasets of an intact file, sorted."""
    names = []
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, found: names.append(name) if hasattr(found, "dtype") else None
        )
    return sorted(names)


def damaged(source, rng):
    """Damage one file of a run, as a generator of numbers wants; say what was done."""
    source = Path(source)
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    path = files[int(rng.integers(len(files)))]
    if rng.random() < 0.5:
        how = BYTES[int(rng.integers(len(BYTES)))]
        data = bytearray(path.read_bytes())
        how(data, rng)
        path.write_bytes(data)
        return f"{path.name}: {how.__name__}"
    names = datasets_of(path)
    # What most reads need comes first as often as everything else together.
    key = ("trainId", "count", "first", "data", "pulseId", "adc", "tag_number_list",
           "detector_data", "event_time", "timestamp", "calib", "frames", "epixM",
           "step", "value", "jungfrau1M", "detector_status", "ped")  # fmt: skip
    first = [n for n in names if n.rpartition("/")[2] in key]
    names = first if first and rng.random() < 0.7 else names
    name = names[int(rng.integers(len(names)))]
    what = sorted(OBJECTS)[int(rng.integers(len(OBJECTS)))]
    with h5py.File(path, "r+") as file:
        OBJECTS[what](file, name, np.asarray(file[name][()]))
    return f"{os.path.basename(path)}: {name} is {what}"
