"""Methods of runs, detectors and keys, with junk for each argument in turn."""

import warnings

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xfelred as xf
from xfelred import synth
from xfelred.errors import MAX_TEXT, XfelredError

CONTROL = "SA1_XTD2_XGM/DOOCS/MAIN"
KEY = "pulseEnergy.photonFlux"
PIXELS = "image.data"
JUNK = {
    "None": None,
    "int": 7,
    "negative": -3,
    "large": 10**40,
    "fraction": 2.5,
    "nan": float("nan"),
    "str": "zzz",
    "bytes": b"zzz",
    "text": "y" * 100_000,
    "object": object(),
    "mixed": [1, "a", None],
    "list": list(range(10_000)),
    "ndarray": np.ones((3, 4)),
    "no axis": np.array(5.5),
    "objects": np.array([object()]),
    "dask": dask.array.ones(3),
    "dict": {"a": 1},
    "Dataset": xr.Dataset({"a": ("b", [1.0])}),
    "DataArray": xr.DataArray([1.0, 2.0], dims="x"),
    "DataFrame": pd.DataFrame({"a": [1]}),
    "slice": slice("a", "b"),
    "no step": slice(None, None, 0),
    "complex": 1j,
    "date": np.datetime64("2020-01-01"),
    "class": int,
}
FRAMES = [
    "detector",
    "key",
    "pulses",
    "layout",
    "modules",
    "roi",
    "fill_value",
    "astype",
    "bad_pixels",
    "chunk_size",
    "missing",
]
OF_EACH = {
    "select_trains": lambda r, j: r.select_trains(j),
    "by_id": lambda r, j: r.select_trains(xf.by_id[j]),
    "[]": lambda r, j: r[j],
    "in": lambda r, j: j in r,
    "select": lambda r, j: r.select(j),
    "select, keys": lambda r, j: r.select("*", j),
    "split_trains, parts": lambda r, j: list(r.split_trains(parts=j)),
    "split_trains, trains": lambda r, j: list(r.split_trains(trains_per_part=j)),
    "scalars": lambda r, j: r.scalars(j),
    "one of scalars": lambda r, j: r.scalars([j]),
    "keys": lambda r, j: r.keys(j),
    "constants": lambda r, j: r.constants(j),
    "detector": lambda r, j: r.detector(j),
    **{f"frames, {p}": lambda r, j, p=p: r.frames(**{p: j}) for p in FRAMES},
}
OF_EUXFEL = {
    "deselect": lambda r, j: r.deselect(j),
    "select {}": lambda r, j: r.select({CONTROL: j}),
    "union": lambda r, j: r.union(j),
    "get_array": lambda r, j: r.get_array(j, KEY),
    "get_array, key": lambda r, j: r.get_array(CONTROL, j),
    "get_array, roi": lambda r, j: r.get_array(CONTROL, KEY, roi=j),
    "get_array, name": lambda r, j: r.get_array(CONTROL, KEY, name=j),
    "get_series": lambda r, j: r.get_series(CONTROL, j),
    "get_dataframe": lambda r, j: r.get_dataframe([(CONTROL, j)]),
    "get_dask_array": lambda r, j: r.get_dask_array(CONTROL, KEY, labelled=j),
    "get_run_values": lambda r, j: r.get_run_values(j),
    "train_from_id": lambda r, j: r.train_from_id(j),
    "train_from_index": lambda r, j: r.train_from_index(j),
    "trains": lambda r, j: list(r.trains(devices=j)),
    "keys_for_source": lambda r, j: r.keys_for_source(j),
    "train_from_index of a key": lambda r, j: r[CONTROL, KEY].train_from_index(j),
    "train_from_id of a key": lambda r, j: r[CONTROL, KEY].train_from_id(j),
    "select_keys": lambda r, j: r[CONTROL].select_keys(j),
    **{
        f"AGIPD1M, {p}": lambda r, j, p=p: xf.AGIPD1M(r, **{p: j})
        for p in ("detector_name", "modules", "min_modules", "raw")
    },
    **{
        f"get_array of a detector, {p}": (
            lambda r, j, p=p: xf.AGIPD1M(r).get_array(PIXELS, **{p: j})
        )
        for p in ("pulses", "unstack_pulses", "fill_value", "subtrain_index", "astype")
    },
    "get_array of a detector": lambda r, j: xf.AGIPD1M(r).get_array(j),
    "get_array of a detector, roi": (
        lambda r, j: xf.AGIPD1M(r).get_array(PIXELS, roi=j)
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    synth.euxfel.write_run(
        place / "euxfel", modules=(0, 1), n_trains=2, pulses=2, image_only=True
    )
    synth.sacla.write_run(place / "sacla.h5", shape=(8, 8), n_images=4, n_darks=1)
    synth.lcls.write_smalldata(place / "xpptest01_Run0047.h5", key="raw", n_events=6)
    synth.lcls.write_suite(place / "suite.h5", n_events=(2, 2))
    names = ("euxfel", "sacla.h5", "xpptest01_Run0047.h5", "suite.h5")
    return {name: xf.open_run(place / name) for name in names}


def faults(call, run):
    """Yield what is wrong with the answers to junk."""
    for word, junk in JUNK.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call(run, junk)
        except XfelredError as error:
            text = str(error)
            if len(text) > MAX_TEXT:
                yield f"{word}: {len(text)} characters"
            if any(sign in text for sign in ("[[1.", " array(", "<xarray", " at 0x")):
                yield f"{word} is printed: {text}"
        except Exception as error:
            yield f"{word}: {type(error).__name__}: {error}"


@pytest.mark.parametrize("name", OF_EACH)
@pytest.mark.parametrize(
    "which", ["euxfel", "sacla.h5", "xpptest01_Run0047.h5", "suite.h5"]
)
def test_junk_at_a_run_is_an_error_of_ours(runs, which, name):
    assert not list(faults(OF_EACH[name], runs[which]))


@pytest.mark.parametrize("name", OF_EUXFEL)
def test_junk_at_names_of_extra_data_is_an_error_of_ours(runs, name):
    assert not list(faults(OF_EUXFEL[name], runs["euxfel"]))


@pytest.mark.parametrize("which", ["sacla.h5", "xpptest01_Run0047.h5", "suite.h5"])
def test_an_option_of_another_reader_is_refused_by_name(runs, which, tmp_path):
    path = tmp_path / which
    if which == "sacla.h5":
        synth.sacla.write_run(path, shape=(8, 8), n_images=4, n_darks=1)
    elif which == "suite.h5":
        synth.lcls.write_suite(path, n_events=(2, 2))
    else:
        synth.lcls.write_smalldata(path, key="raw", n_events=6)
    with pytest.raises(XfelredError, match="inc_suspect_trains") as told:
        xf.open_run(path, inc_suspect_trains=True)
    assert isinstance(told.value, TypeError)


VALID = {
    "numpy integer": lambda r: r.select_trains(np.int64(0)),
    "numpy booleans": lambda r: r.select_trains(np.array([True, False])),
    "Series": lambda r: r.select_trains(pd.Series([True, False], index=r.train_ids)),
    "tuple of positions": lambda r: r.select_trains((0, 1)),
    "array without axes": lambda r: r.split_trains(parts=np.array(2)),
    "set of modules": lambda r: r.frames(modules={0}),
    "numpy modules": lambda r: r.frames(modules=np.array([0, 1], np.uint8)),
    "one module": lambda r: r.frames(modules=0),
    "numpy text": lambda r: r.keys(np.str_(CONTROL)),
    "fill value of numpy": lambda r: r.frames(fill_value=np.float32(1)),
    "dtype": lambda r: r.frames(astype=np.dtype("f8")),
    "type": lambda r: r.frames(astype=np.float64),
    "number of bytes": lambda r: r.frames(chunk_size=1e8),
    "numpy number of bytes": lambda r: r.frames(chunk_size=np.int32(2**20)),
    "positional": lambda r: r.frames("SPB_DET_AGIPD1M-1", "image.gain"),
    "tuple of keys": lambda r: r.scalars(((CONTROL, KEY),)),
    "array of keys": lambda r: r.scalars(np.array([f"{CONTROL}/{KEY}"])),
    "list for a pair": lambda r: r.select([[CONTROL, "*"]]),
    "generator of globs": lambda r: r.select(name for name in [CONTROL]),
    "index of keys": lambda r: r[CONTROL].select_keys(pd.Index([KEY])),
    "numpy ID": lambda r: r.train_from_id(np.uint64(r.train_ids[0])),
    "position from the end": lambda r: r.train_from_index(-1),
    "range of modules": lambda r: xf.AGIPD1M(r, modules=range(2)),
    "numpy boolean": lambda r: r.get_dask_array(CONTROL, KEY, labelled=np.True_),
}


@pytest.mark.parametrize("name", VALID)
def test_what_is_valid_is_taken(runs, name):
    assert VALID[name](runs["euxfel"]) is not None
