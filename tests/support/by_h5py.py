"""What is in a run, damaged or not, by plain loops of h5py: independent of the package.

Images are found by (train, pulse, module); what h5py cannot read is not there. A label
that the file gives to several images has all of them.
"""

import re
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np

MOST = 1 << 27  # bytes of one dataset
GOOD = 1  # of an image of SACLA
ANY = -1  # stands for a train, where trains are not compared


def values(file, name):
    """Values of a dataset, as numbers; raises for anything else."""
    found = file[name]
    if found.size is None or found.size * found.dtype.itemsize > MOST:
        raise ValueError(name)
    held = np.asarray(found[()])
    if held.dtype.kind not in "iuf":
        raise TypeError(name)
    return held


def whole(numbers):
    """Integers, of floats only if they are whole."""
    found = np.asarray(numbers)
    if found.dtype.kind == "f" and not (found == np.floor(found)).all():
        raise TypeError("no whole numbers")
    return [int(n) for n in found.ravel()]


def rows(dataset, n):
    """Yield (position, image) of those that can be read."""
    for i in range(min(n, dataset.shape[0])):
        try:
            if dataset.dtype.kind in "iuf" and dataset[i].nbytes < MOST:
                yield i, dataset[i]
        except Exception:
            continue


def attempt(call, default):
    try:
        return call()
    except Exception:
        return default


def euxfel(run, found, unsure):
    """Every file by itself: a damaged one costs itself."""
    for path in sorted(Path(run).iterdir()):
        attempt(lambda p=path: euxfel_file(p, found), None)


def places_of(path):
    """Return (module, source, group, images, pulses) of a file; None for no module."""
    number = re.search(r"-(AGIPD|JNGFR)(\d+)-", path.name)
    if number is None:
        return None
    module = int(number[2])
    if number[1] == "JNGFR":
        source = f"SPB_IRDA_JF4M/CORR/JNGFR{module:02d}:output"
        return module, source, "data", "data/adc", None
    kind = "DET/{}CH0:xtdf" if path.name.startswith("RAW") else "CORR/{}CH0:output"
    source = "SPB_DET_AGIPD1M-1/" + kind.format(module)
    return module, source, "image", "image/data", "image/pulseId"


def euxfel_file(path, found):
    """AGIPD has one row for each pulse, JUNGFRAU one for each train."""
    places = places_of(path)
    if places is None:
        return
    module, source, group, images, inner = places
    with h5py.File(path, "r") as file:
        ids = whole(values(file, "INDEX/trainId"))
        first = whole(values(file, f"INDEX/{source}/{group}/first"))
        count = whole(values(file, f"INDEX/{source}/{group}/count"))
        stored = file[f"INSTRUMENT/{source}/{images}"]
        pulses = inner and whole(values(file, f"INSTRUMENT/{source}/{inner}"))
        for row, image in rows(stored, stored.shape[0]):
            for train, begin, n in zip(ids, first, count, strict=False):
                if not begin <= row < begin + n:
                    continue
                if pulses is None:
                    for cell, tile in enumerate(image):
                        found[train, cell, module].append(tile)
                elif row < len(pulses):
                    found[train, pulses[row], module].append(image)


def sacla(path, found, unsure):
    with h5py.File(path, "r") as file:
        run = file["run_300001"]
        tags = attempt(lambda: whole(values(run, "event_info/tag_number_list")), None)
        for name in attempt(lambda: list(run), []):
            group = attempt(lambda n=name: run[n], None)
            number = re.fullmatch(r"detector_2d_(assembled_)?(\d+)", name)
            if number is None or not isinstance(group, h5py.Group):
                continue
            module = 0 if number[1] else int(number[2])
            for shot in attempt(lambda g=group: list(g), []):
                tag = re.fullmatch(r"tag_(\d+)", shot)
                if tag is None:
                    continue
                label = int(tag[1]), 0, module
                # Frames say of it that it is not in the table of events.
                if tags is not None and int(tag[1]) not in tags:
                    unsure.add(label)
                status = attempt(
                    lambda g=group, s=shot: values(g, f"{s}/detector_status"), None
                )
                if status is None or np.any(status != GOOD):
                    unsure.add(label)
                image = attempt(
                    lambda g=group, s=shot: values(g, f"{s}/detector_data"), None
                )
                if image is not None and image.ndim == 2:
                    found[label].append(image)


def smalldata(path, found, unsure):
    with h5py.File(path, "r") as file:
        names = [n for n in ("event_time", "timestamp") if n in file]
        ids = whole(values(file, names[0]))
        there = attempt(lambda: values(file, "damage/jungfrau1M"), None)
        stored = file["jungfrau1M/calib"]
        for i, image in rows(stored, len(ids)):
            for module, tile in enumerate(image if image.ndim == 3 else ()):
                label = ids[i], 0, module
                found[label].append(tile)
                # The file itself says of an image that it is bad or missing.
                if there is None or there.ndim != 1 or i >= len(there) or not there[i]:
                    unsure.add(label)


def suite(path, found, unsure):
    """Trains are counted, and those of a lost step are not: labels are not compared."""
    with h5py.File(path, "r") as file:
        if "frames" in file:
            parts = [file["frames"][i] for i in range(file["frames"].shape[0])]
        else:
            steps = attempt(lambda: list(file["detectorData"]), [])
            names = [f"detectorData/{step}/epixM" for step in steps]
            parts = [attempt(lambda n=n: file[n], None) for n in names]
        for part in parts:
            for _, image in rows(part, part.shape[0]) if part is not None else ():
                for module, tile in enumerate(image if image.ndim == 3 else ()):
                    found[ANY, 0, module].append(tile)


READ = {"agipd": euxfel, "jungfrau": euxfel, "sacla": sacla, "lcls1": smalldata,
        "lcls2": smalldata, "suite": suite}  # fmt: skip


def images_of(layout, source):
    """Return ({(train, pulse, module): images}, labels of which the file is unsure)."""
    found, unsure = defaultdict(list), set()
    read = READ[layout.split()[0]]
    attempt(lambda: read(source, found, unsure), None)
    return dict(found), unsure
