"""Random selections from runs that EXtra-data's own example writer makes.

The reference is EXtra-data reading all pulses and pixels of the chosen trains and
modules; pulses and region are then taken with numpy (its own partial reads have
faults). Small runs are filled with random pixels and IDs; of the big examples,
single frames are.
"""

import re
import warnings

import h5py
import numpy as np
import pytest

import xfelred as xf

extra_data = pytest.importorskip("extra_data")
components = pytest.importorskip("extra_data.components")
make_examples = pytest.importorskip("extra_data.tests.make_examples")
mockdata = pytest.importorskip("extra_data.tests.mockdata")

from extra_data.tests.mockdata import detectors, jungfrau  # noqa: E402

pytestmark = pytest.mark.slow

# More of the same kind run nightly.
SEEDS = [0, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(1, 8))]
FIRST = 10000
VERSION = {"format_version": "1.2"}


class Example:
    """A run with one detector that both programs read."""

    def __init__(self, directory, cls, raw):
        self.directory, self.cls = directory, cls
        self.options = {"raw": raw}
        self.main = "data.adc" if cls == "JUNGFRAU" else "image.data"
        self.peer = extra_data.RunDirectory(str(directory), parallelize=False)
        detector = getattr(components, cls)(self.peer, **self.options)
        self.name = detector.detector_name
        self.train_ids = list(detector.train_ids)
        self.modules = sorted(detector.modno_to_source)
        shape = detector[self.main].shape
        self.pixels = shape[3:] if cls == "JUNGFRAU" else shape[2:]


# Small runs, full of random numbers.


def agipd_ragged(directory, rng):
    counts = rng.integers(0, 5, 6).astype("u8")
    counts[0] = 2
    for module in (0, 3, 9, 15):
        device = detectors.AGIPDModule(
            f"SPB_DET_AGIPD1M-1/DET/{module}CH0", raw=False, frames_per_train=counts
        )
        path = directory / f"CORR-R0001-AGIPD{module:02}-S00000.h5"
        mockdata.write_file(path, [device], ntrains=6, chunksize=8, **VERSION)
    fill_all(directory, rng)
    return Example(directory, "AGIPD1M", raw=False)


def agipd_raw(directory, rng):
    for module in (1, 2, 12):
        device = detectors.AGIPDModule(
            f"SPB_DET_AGIPD1M-1/DET/{module}CH0", frames_per_train=3
        )
        path = directory / f"RAW-R0001-AGIPD{module:02}-S00000.h5"
        mockdata.write_file(path, [device], ntrains=4, chunksize=4, **VERSION)
    fill_all(directory, rng)
    return Example(directory, "AGIPD1M", raw=True)


def dssc_sequences(directory, rng):
    """Modules whose files break at different trains, and one that starts late."""
    for module, lengths in ((0, (2, 2, 2)), (4, (5, 1)), (7, (3,))):
        start = FIRST + 6 - sum(lengths)
        for sequence, n in enumerate(lengths):
            device = detectors.DSSCModule(
                f"SCS_DET_DSSC1M-1/DET/{module}CH0", frames_per_train=3
            )
            name = f"RAW-R0001-DSSC{module:02}-S{sequence:05}.h5"
            mockdata.write_file(
                directory / name, [device], ntrains=n, firsttrain=start, chunksize=4,
                **VERSION,
            )  # fmt: skip
            start += n
    fill_all(directory, rng)
    return Example(directory, "DSSC1M", raw=True)


def lpd_with_holes(directory, rng):
    """One module with a train of count 0, without one train and with one of its own."""
    for module in (0, 5, 6):
        counts = np.array([4, 0, 4, 4, 4] if module == 5 else [4] * 5, dtype="u8")
        device = detectors.LPDModule(
            f"FXE_DET_LPD1M-1/DET/{module}CH0", raw=False, frames_per_train=counts
        )
        path = directory / f"CORR-R0001-LPD{module:02}-S00000.h5"
        mockdata.write_file(path, [device], ntrains=5, chunksize=1, **VERSION)
    fill_all(directory, rng)
    with h5py.File(directory / "CORR-R0001-LPD05-S00000.h5", "r+") as h5:
        h5["INDEX/trainId"][4] = FIRST + 7
    return Example(directory, "LPD1M", raw=False)


def jungfrau_burst(directory, rng):
    for module in (1, 3):
        device = jungfrau.JUNGFRAUModule(f"SPB_IRDA_JF4M/DET/JNGFR{module:02}")
        path = directory / f"CORR-R0001-JNGFR{module:02}-S00000.h5"
        n = 3 if module == 1 else 2
        mockdata.write_file(path, [device], ntrains=n, chunksize=1, **VERSION)
        with h5py.File(path, "r+") as h5:
            data = h5[f"INSTRUMENT/{device.device_id}:daqOutput/data"]
            size = (n, 16, 512, 1024)
            data["adc"][:] = rng.integers(0, 1000, size, "u2").astype("f4")
            data["memoryCell"][:] = np.roll(np.arange(16), 1)
    return Example(directory, "JUNGFRAU", raw=False)


SMALL = {
    f.__name__: f
    for f in (agipd_ragged, agipd_raw, dssc_sequences, lpd_with_holes, jungfrau_burst)
}


def fill_all(directory, rng):
    """Write random pixels, and pulse IDs and cells which the modules agree about."""
    ids = {}
    for path in sorted(directory.glob("*.h5")):
        with h5py.File(path, "r+") as h5:
            source = image_source(h5)
            image = h5[f"INSTRUMENT/{source}/image"]
            image["data"][...] = rng.integers(0, 60000, image["data"].shape, "u2")
            index = h5[f"INDEX/{source}/image"]
            trains = h5["INDEX/trainId"][:].tolist()
            for train, first, count in zip(
                trains, index["first"][:], index["count"][:], strict=False
            ):
                some = np.sort(rng.choice(60, int(count), replace=False))
                pulses = ids.setdefault(train, some)[: int(count)]
                rows = slice(int(first), int(first + count))
                for name, values in (("pulseId", pulses), ("cellId", pulses // 2)):
                    labels = image[name]
                    labels[rows] = values.reshape(-1, *labels.shape[1:])


def image_source(h5):
    entries = h5["METADATA/dataSources/dataSourceId"].asstr()[:]
    return next(e for e in entries if e.endswith("/image"))[11:-6]


# Big examples: whole runs as EXtra-data tests itself with.

BIG = {
    "make_reduced_spb_run": ("AGIPD1M", False, {"raw": False, "rng": None}),
    "make_modern_spb_proc_run": ("AGIPD1M", False, {}),
    "make_spb_run": ("AGIPD1M", True, {}),
    "make_agipd500k_run": ("AGIPD500K", True, {}),
    "make_fxe_run": ("LPD1M", True, {}),
    "make_lpd_run_mini_missed_train": ("LPD1M", True, {}),
    "make_scs_run": ("DSSC1M", True, {}),
    "make_jungfrau_run": ("JUNGFRAU", False, {}),
}


def big_example(name, directory, rng):
    cls, raw, options = BIG[name]
    if "rng" in options:
        options = {**options, "rng": np.random.RandomState(5)}
    getattr(make_examples, name)(str(directory), **options)
    poke(directory, rng)
    return Example(directory, cls, raw)


def poke(directory, rng):
    """Write random pixels into one entry of every file of a detector."""
    for path in sorted(directory.glob("*.h5")):
        with h5py.File(path, "r+") as h5:
            names = []
            h5.visit(names.append)
            for name in names:
                if re.match("INSTRUMENT/.*/(image/data|data/adc)$", name):
                    data = h5[name]
                    entry = rng.integers(0, min(len(data), 40))
                    data[entry] = rng.integers(0, 1000, data.shape[1:], "u2")


# Selections.


def draw_trains(rng, example):
    """Return a random selection of trains as an argument, and the train IDs."""
    known = example.train_ids
    size = int(rng.integers(1, min(3, len(known)) + 1))
    how = rng.choice(["ids", "id range", "positions", "slice"])
    run_ids = example.peer.train_ids
    if how == "ids":
        ids = sorted(rng.choice(known, size, replace=False).tolist())
        return xf.by_id[ids], ids
    start = int(rng.integers(0, len(run_ids) - size + 1))
    part = run_ids[start : start + size]
    if how == "id range":
        return xf.by_id[part[0] : part[-1] + 1], part
    if how == "slice":
        return np.s_[start : start + size], part
    return list(range(start, start + size)), part


def draw_pulses(rng, truth):
    """Return an argument for `pulses`, and which frames of the truth it means."""
    k, ids = truth.position, truth.ids
    n_pulses = int(k.max()) + 1
    start, stop = sorted(rng.integers(0, n_pulses + 2, 2).tolist())
    step = int(rng.integers(1, 4))
    some = rng.choice(n_pulses + 1, 2, replace=False).tolist()
    named = rng.choice(np.unique(ids), 2).tolist()
    low, high = sorted(named)
    choices = [
        (np.s_[:], k >= 0),
        (np.s_[start:stop:step], (k >= start) & (k < stop) & ((k - start) % step == 0)),
        (some, np.isin(k, some)),
        (xf.by_index[some[0]], k == some[0]),
    ]
    if len(np.unique(ids)) == n_pulses or truth.cells is None:
        choices += [
            (xf.by_id[named], np.isin(ids, named)),
            (xf.by_id[low:high], (ids >= low) & (ids < high)),
        ]
    return choices[rng.integers(len(choices))]


def draw_roi(rng, shape, ints):
    """Return a region: a slice, or perhaps an integer, for some of the axes."""
    roi = []
    for size in shape[: int(rng.integers(0, len(shape) + 1))]:
        start, stop = sorted(rng.integers(0, size + 1, 2).tolist())
        step = int(rng.choice([1, 1, 2, 5]))
        one = ints and rng.random() < 0.3
        roi.append(int(rng.integers(0, size)) if one else slice(start, stop, step))
    return tuple(roi)


class Truth:
    """All pulses and pixels of some trains and modules, as EXtra-data reads them."""

    def __init__(self, example, train_ids, modules):
        run = example.peer.select_trains(extra_data.by_id[train_ids])
        cls = getattr(components, example.cls)
        detector = cls(run, modules=set(modules), **example.options)
        key = detector[example.main]
        values = key.ndarray()
        self.cells = None
        self.there = detector.data_availability()
        if example.cls == "JUNGFRAU":
            n_cells = values.shape[2]
            self.cells = detector["data.memoryCell"].ndarray()[:, 0].max(axis=0)
            self.ids = np.tile(self.cells, values.shape[1]).astype(int)
            self.train = np.repeat(key.train_id_coordinates(), n_cells)
            self.pulse = np.tile(np.arange(n_cells), values.shape[1])
            values = values.reshape(values.shape[0], -1, *values.shape[3:])
            self.there = np.repeat(self.there, n_cells, axis=1)
            self.position = self.pulse
        else:
            self.train = key.train_id_coordinates().astype(int)
            self.pulse = self.ids = key.pulse_id_coordinates().astype(int)
            starts = np.flatnonzero(np.diff(self.train, prepend=-1))
            rank = np.cumsum(np.diff(self.train, prepend=-1) != 0) - 1
            self.position = np.arange(len(self.train)) - starts[rank]
        self.values = values
        self.fill = 0 if values.dtype.kind in "iu" else None


def draw(rng, example, ints=False):
    """Return what to ask for, and the truth about it."""
    while True:
        trains, ids = draw_trains(rng, example)
        n = int(rng.integers(1, min(3, len(example.modules)) + 1))
        modules = sorted(rng.choice(example.modules, n, replace=False).tolist())
        try:
            truth = Truth(example, ids, modules)
        except ValueError:  # these modules have no data in these trains
            continue
        pulses, mask = draw_pulses(rng, truth)
        roi = draw_roi(rng, example.pixels, ints)
        return trains, modules, pulses, roi, mask, truth


# Of the big ones, one with gaps, one with memory cells and one that is reduced; the
# others, which are like a small one, nightly.
ALWAYS = {"make_reduced_spb_run", "make_lpd_run_mini_missed_train", "make_jungfrau_run"}
EXAMPLES = [
    pytest.param(n, marks=() if n in ALWAYS or n in SMALL else pytest.mark.nightly)
    for n in (*SMALL, *BIG)
]


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request, tmp_path_factory):
    rng = np.random.default_rng(77)
    directory = tmp_path_factory.mktemp(request.param)
    if request.param in SMALL:
        return SMALL[request.param](directory, rng)
    return big_example(request.param, directory, rng)


def test_the_run_is_described_alike(example):
    theirs, ours = example.peer, xf.RunDirectory(str(example.directory))
    assert list(ours.train_ids) == theirs.train_ids
    assert ours.all_sources == theirs.all_sources
    assert ours.detector_sources == theirs.detector_sources
    names = {(n, c.__name__) for n, c in xf.identify_multimod_detectors(ours)}
    found = components.identify_multimod_detectors(theirs)
    assert names == {(n, c.__name__) for n, c in found}
    one = getattr(xf, example.cls)(ours, **example.options)
    two = getattr(components, example.cls)(theirs, **example.options)
    assert one.source_to_modno == two.source_to_modno
    assert list(one.train_ids) == list(two.train_ids)
    assert one.frame_counts.tolist() == two.frame_counts.tolist()
    np.testing.assert_array_equal(one.data_availability(), two.data_availability())


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_layout_frame(example, seed):
    rng = np.random.default_rng([1, seed])
    trains, modules, pulses, roi, mask, truth = draw(rng, example)
    run = xf.open_run(example.directory).select_trains(trains)
    if not mask.any():
        check_empty(
            run, example, pulses=pulses, modules=modules, roi=roi, layout="frame"
        )
        return
    frames = run.frames(
        example.name, pulses=pulses, modules=modules, roi=roi, layout="frame",
        bad_pixels=None, fill_value=truth.fill, **example.options,
    )  # fmt: skip
    assert frames.dims[:2] == ("frame", "module")
    assert frames.module.values.tolist() == modules
    labels = list(zip(frames.train.values, frames.pulse.values, strict=True))
    wanted = list(zip(truth.train[mask], truth.pulse[mask], strict=True))
    # Trains in which only other modules have data may stay, with nothing in them.
    here = np.array([label in set(wanted) for label in labels])
    assert [label for label, h in zip(labels, here, strict=True) if h] == wanted
    values = truth.values[:, mask][(..., *padded(roi, example))]
    got = frames.values
    np.testing.assert_array_equal(got[here], np.moveaxis(values, 0, 1))
    check_nothing(got[~here])


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_layout_train(example, seed):
    rng = np.random.default_rng([2, seed])
    trains, modules, pulses, roi, mask, truth = draw(rng, example)
    run = xf.open_run(example.directory).select_trains(trains)
    if not mask.any():
        check_empty(run, example, pulses=pulses, modules=modules, roi=roi)
        return
    frames = ignoring_padding(
        run.frames, example.name, pulses=pulses, modules=modules, roi=roi,
        bad_pixels=None, fill_value=truth.fill, **example.options,
    )  # fmt: skip
    pixel_dims = frames.dims[frames.dims.index("module") + 1 :]
    assert frames.dims == ("train", "pulse", "module", *pixel_dims)
    assert pixel_dims[-2:] == ("slow_scan", "fast_scan")
    values = truth.values[:, mask][(..., *padded(roi, example))]
    rows = {
        key: values[:, i]
        for i, key in enumerate(zip(truth.train[mask], truth.pulse[mask], strict=True))
    }
    nothing = np.nan if frames.dtype.kind == "f" else 0
    got = frames.values
    for i, train in enumerate(frames.train.values):
        for k, pulse in enumerate(frames.pulse.values):
            want = rows.pop((train, pulse), nothing)
            np.testing.assert_array_equal(
                got[i, k], np.broadcast_to(want, got[i, k].shape)
            )
    assert not rows
    check_available(frames, truth)


@pytest.mark.parametrize("seed", SEEDS)
def test_get_array(example, seed):
    rng = np.random.default_rng([3, seed])
    trains, modules, pulses, roi, mask, truth = draw(rng, example, ints=True)
    run = xf.RunDirectory(str(example.directory)).select_trains(trains)
    cls = getattr(xf, example.cls)
    detector = cls(run, modules=set(modules), **example.options)
    if example.cls == "JUNGFRAU":
        array = detector.get_array(example.main, roi=(slice(None), *roi))
        values = truth.values[(..., *padded(roi, example))]
        values = values.reshape(array.shape)
    else:
        array = detector.get_array(
            example.main, pulses=pulses, roi=roi, unstack_pulses=False
        )
        values = truth.values[:, mask][(..., *padded(roi, example))]
        np.testing.assert_array_equal(array.train, truth.train[mask])
        np.testing.assert_array_equal(array.pulse, truth.pulse[mask])
    assert array.module.values.tolist() == modules
    np.testing.assert_array_equal(array.values, values)


def padded(roi, example):
    """Return a region with a slice or integer for every axis of a frame."""
    return (*roi, *[slice(None)] * (len(example.pixels) - len(roi)))


def check_empty(run, example, **options):
    try:
        frames = run.frames(example.name, bad_pixels=None, **options, **example.options)
    except xf.errors.SelectionEmptyError:
        return
    check_nothing(frames.values)


def check_nothing(values):
    nothing = np.nan if values.dtype.kind == "f" else 0
    np.testing.assert_array_equal(values, np.full_like(values, nothing))


def ignoring_padding(call, *args, **options):
    """Call with the warning about padding allowed, which only ragged trains give."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*padding.*")
        return call(*args, **options)


def check_available(frames, truth):
    for train in frames.train.values:
        there = truth.there[:, truth.train == train].any(axis=1)
        np.testing.assert_array_equal(frames.available.sel(train=train), there)
