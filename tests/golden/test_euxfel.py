"""Every golden case of the European XFEL reader: results of EXtra-data 1.25.

The cases were made by another program (see the README beside them). Set
``XFELRED_GOLDEN_PEER=extra_data`` to run them through that program instead of
xfelred: all that it agrees with must pass, which checks this file.
"""

import importlib
import importlib.util
import os
import re
import types
from pathlib import Path

import dask.array
import h5py
import numpy as np
import pytest

PEER = os.environ.get("XFELRED_GOLDEN_PEER", "xfelred")
HERE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "euxfel"
if not HERE.is_dir():
    pytest.skip("no golden files beside the checkout", allow_module_level=True)


def load_golden_reader():
    path = HERE / "golden_reader.py"
    spec = importlib.util.spec_from_file_location("golden_reader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_implementation():
    if PEER == "xfelred":
        return importlib.import_module("xfelred")
    parts = [importlib.import_module(f"extra_data{m}") for m in ("", ".components")]
    return types.SimpleNamespace(**{k: v for p in parts for k, v in vars(p).items()})


golden = load_golden_reader()
xf = load_implementation()
CASES = {case["id"]: case for case in golden.load_cases(HERE)}

# Cases that hold a wrong number. The index of module 1 has first = 0, 2, 5 and status
# = 1, 0, 1: the rows 2 to 4 belong to no recorded train. The reference reads rows one
# after the other and takes row 2 for train 10002, although `first` says 5 and
# image/trainId of row 5 is 10002 (of row 2 it is 10001). `first` must be honoured;
# test_first_row_is_honoured checks the right answer against image/trainId.
WRONG = {"last_status_v05-004", "last_status_v05-007", "last_status_v05-008"}

# Kinds of errors. What the reference does by accident is a ValueError with us.
ACCIDENTS = (ValueError, OverflowError)
KINDS = {
    "SourceNameError": KeyError,
    "PropertyNameError": KeyError,
    "ValueError": ValueError,
    "TypeError": TypeError,
    "NotImplementedError": NotImplementedError,
    "RuntimeError": RuntimeError,
    "OverflowError": ACCIDENTS,
}


def tuples(value):
    """Turn lists inside a list into tuples: ``[[a, b]]`` becomes ``[(a, b)]``."""
    if isinstance(value, list):
        return [tuple(v) if isinstance(v, list) else v for v in value]
    return value


def selection(record):
    return golden.decode_selection(record, xf.by_id, xf.by_index)


def keywords(case):
    return golden.decode_kwargs(case.get("kw", {}), xf.by_id, xf.by_index)


def open_run(case):
    run = xf.RunDirectory(str(HERE / case["run"]), **case.get("open", {}))
    if "select" in case:
        args = [tuples(a) for a in case["select"]["args"]]
        run = run.select(*args, **case["select"]["kw"])
    if "select_trains" in case:
        run = run.select_trains(selection(case["select_trains"]))
    return run


def open_detector(case):
    record = case["det"]
    options = dict(record["kw"])
    if "modules" in options:
        options["modules"] = set(options["modules"])
    detector = getattr(xf, record["cls"])(open_run(case), **options)
    if "det_select_trains" in case:
        detector = detector.select_trains(selection(case["det_select_trains"]))
    return detector


def select_key(case, key):
    if "key_select_trains" in case:
        key = key.select_trains(selection(case["key_select_trains"]))
    if "key_pulses" in case:
        key = key.select_pulses(selection(case["key_pulses"]))
    return key


def detector_key(case):
    return select_key(case, open_detector(case)[case["key"]])


def pair(series):
    return [series.index.tolist(), series.tolist()]


# One function per operation. Each returns results under the names of `expect`.


def op_collection(case, tmp_path):
    run = open_run(case)
    return {
        "value": {
            "train_ids": list(run.train_ids),
            "control_sources": sorted(run.control_sources),
            "instrument_sources": sorted(run.instrument_sources),
            "detector_sources": sorted(run.detector_sources),
            "legacy_sources": dict(run.legacy_sources),
        }
    }


def op_metadata(case, tmp_path):
    found = dict(open_run(case).run_metadata())
    # The dates are those of the day when the files were made.
    for name in ("creationDate", "updateDate"):
        found.pop(name, None)
    # The first file of a directory is an accident of the file system.
    wanted = case["expect"]["value"]
    if "sequenceNumber" in wanted:
        files = (HERE / case["run"]).glob("*.h5")
        assert found["sequenceNumber"] in {int(f.stem[-5:]) for f in files}
        found["sequenceNumber"] = wanted["sequenceNumber"]
    return {"value": found}


def op_identify(case, tmp_path):
    found = xf.identify_multimod_detectors(open_run(case), **keywords(case))
    if isinstance(found, tuple):
        return {"value": [found[0], found[1].__name__]}
    return {"value": sorted([name, cls.__name__] for name, cls in found)}


def op_describe(case, tmp_path):
    detector = open_detector(case)
    try:
        frames_per_train = detector.frames_per_train
    except ValueError:
        frames_per_train = "ValueError"
    return {
        "value": {
            "cls": type(detector).__name__,
            "detector_name": detector.detector_name,
            "frame_counts": pair(detector.frame_counts),
            "frames_per_train": frames_per_train,
            "modules": sorted(detector.modno_to_source),
            "n_modules": detector.n_modules,
            "repr": repr(detector),
            "source_to_modno": dict(detector.source_to_modno),
            "train_ids": list(detector.train_ids),
            "train_ids_perframe": list(detector.train_ids_perframe),
        }
    }


def op_get_array(case, tmp_path):
    array = open_detector(case).get_array(case["key"], **keywords(case))
    return {"xarray": array}


def op_get_dask_array(case, tmp_path):
    array = open_detector(case).get_dask_array(case["key"], **keywords(case))
    assert isinstance(array.data, dask.array.Array)
    declared = array.dtype
    array = array.compute()
    if PEER == "xfelred":
        assert declared == array.dtype
    return {"xarray": array}


def op_key_ndarray(case, tmp_path):
    return {"array": detector_key(case).ndarray(**keywords(case))}


def op_key_xarray(case, tmp_path):
    return {"xarray": detector_key(case).xarray(**keywords(case))}


def op_key_info(case, tmp_path):
    key = detector_key(case)
    value = {
        "buffer_shape_gaps": list(key.buffer_shape(module_gaps=True)),
        "dimensions": list(key.dimensions),
        "dtype": np.dtype(key.dtype).str,
        "modules": list(key.modules),
        "ndim": key.ndim,
        "shape": list(key.shape),
        "train_id_coordinates": list(key.train_id_coordinates()),
    }
    if hasattr(key, "pulse_id_coordinates"):
        value["pulse_id_coordinates"] = list(key.pulse_id_coordinates())
        value["cell_id_coordinates"] = list(key.cell_id_coordinates())
    return {"value": value}


def op_masked(case, tmp_path):
    key = open_detector(case).masked_data(**keywords(case))
    return {"xarray": select_key(case, key).xarray()}


def op_data_availability(case, tmp_path):
    return {"array": open_detector(case).data_availability(**keywords(case))}


def op_split_trains(case, tmp_path):
    parts = open_detector(case).split_trains(**keywords(case))
    return {"value": [list(part.train_ids) for part in parts]}


def op_split_collection(case, tmp_path):
    parts = open_run(case).split_trains(**keywords(case))
    return {"value": [list(part.train_ids) for part in parts]}


def op_trains(case, tmp_path):
    return {"trains": list(open_detector(case).trains(**keywords(case)))}


def op_run_trains(case, tmp_path):
    return {"run_trains": list(open_run(case).trains(**keywords(case)))}


def op_cell_ids(case, tmp_path):
    return {"array": open_detector(case).cell_ids()}


def op_write_frames(case, tmp_path):
    path = tmp_path / "frames.h5"
    trains, pulses = np.array(case["trains"]), np.array(case["pulses"])
    open_detector(case).write_frames(str(path), trains, pulses)
    return {"h5": (path, HERE / case["run"])}


def op_write_virtual_cxi(case, tmp_path):
    path = tmp_path / "virtual.cxi"
    open_detector(case).write_virtual_cxi(str(path), **keywords(case))
    return {"h5": (path, HERE / case["run"])}


def op_stack(case, tmp_path):
    _, train = open_run(case).train_from_id(case["train_id"])
    stack = xf.stack_detector_data(train, case["key"], **keywords(case))
    if isinstance(stack, np.ndarray):
        return {"array": stack}
    value = {
        "dtype": np.dtype(stack.dtype).str,
        "ndim": stack.ndim,
        "shape": list(stack.shape),
        "squeezed_shape": list(stack.squeeze().shape),
    }
    return {"array": stack.asarray(), "value": value}


def op_keydata(case, tmp_path):
    key = open_run(case)[case["source"], case["key"]]
    if "kd_select_trains" in case:
        key = key.select_trains(selection(case["kd_select_trains"]))
    value = {
        "data_counts_labelled": pair(key.data_counts()),
        "data_counts_unlabelled": list(key.data_counts(labelled=False)),
        "dtype": np.dtype(key.dtype).str,
        "entry_shape": list(key.entry_shape),
        "is_control": key.is_control,
        "shape": list(key.shape),
        "train_id_coordinates": list(key.train_id_coordinates()),
        "train_ids": list(key.train_ids),
        "units": key.units,
    }
    options = keywords(case)
    arrays = {"ndarray": key.ndarray(**options), "xarray": key.xarray(**options)}
    return {"value": value, **arrays}


def op_keys(case, tmp_path):
    return {"value": sorted(open_run(case)[case["source"]].keys(**keywords(case)))}


def op_series(case, tmp_path):
    series = open_run(case).get_series(case["source"], case["key"])
    return {
        "value": {
            "index": series.index.tolist(),
            "index_name": series.index.name,
            "name": series.name,
            "values": series.tolist(),
        }
    }


def op_dataframe(case, tmp_path):
    frame = open_run(case).get_dataframe(fields=tuples(case["fields"]))
    columns = sorted(frame.columns)
    return {
        "value": {
            "columns": columns,
            "index": frame.index.tolist(),
            "data": {c: frame[c].tolist() for c in columns},
        }
    }


def op_as_single_value(case, tmp_path):
    key = open_run(case)[case["source"], case["key"]]
    return {"value": key.as_single_value(**keywords(case))}


# Comparison with what is expected.


def plain(value):
    """Return JSON types for numpy numbers inside lists and dicts."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def check_xarray(got, wanted):
    golden.check_dataarray(got, wanted)
    if "name" in wanted and not dask_token(wanted["name"]):
        assert got.name == wanted["name"]
    labels = set(wanted["coords"]) - {"_multiindex"}
    assert labels == {str(c) for c in got.coords} - {"train_pulse"}


def dask_token(name):
    """Whether a name is only what dask calls a layer: it differs in every session."""
    return re.search("-[0-9a-f]{32}$", name or "") is not None


def check_trains(got, wanted):
    assert [train for train, _ in got] == [train for train, _ in wanted]
    for (_, arrays), (_, records) in zip(got, wanted, strict=True):
        assert sorted(arrays) == sorted(records)
        for key, record in records.items():
            check_xarray(arrays[key], record)


def check_run_trains(got, wanted):
    assert [train for train, _ in got] == [train for train, _ in wanted]
    for (train, sources), (_, records) in zip(got, wanted, strict=True):
        assert sorted(sources) == sorted(records)
        for source, keys in records.items():
            assert sorted(sources[source]) == sorted(keys)
            metadata = sources[source]["metadata"]
            assert metadata["timestamp.tid"] == train
            assert metadata["source"] == source
            for key in set(keys) - {"metadata"}:
                golden.check_array(sources[source][key], keys[key])


def check_h5(found, wanted):
    path, run = found
    with h5py.File(path) as h5:
        groups = {p for p in wanted if p.startswith(("/INSTRUMENT", "/INDEX"))}
        if groups:
            assert {p for p in datasets(h5) if not p.startswith("/META")} == groups
        for link, target in wanted["_softlinks"].items():
            assert h5.get(link, getlink=True).path == target
        for name, record in wanted.items():
            if name.endswith("/@attrs"):
                attributes = dict(h5[name.removesuffix("/@attrs")].attrs)
                assert record.items() <= plain(attributes).items()
            elif name == "/INDEX/timestamp":
                check_timestamps(h5, record, run)
            elif name != "_softlinks":
                check_dataset(h5[name], record)


def check_timestamps(h5, record, run):
    """The files of these runs disagree about times: any of them will do."""
    known = {}
    for path in run.glob("*.h5"):
        with h5py.File(path) as source:
            index = source["INDEX"]
            for train, time in zip(index["trainId"], index["timestamp"], strict=True):
                known.setdefault(train, set()).add(time)
    times = h5["INDEX/timestamp"][:]
    assert times.dtype.str == record["dtype"]
    for train, time in zip(h5["INDEX/trainId"], times, strict=True):
        assert time in known[train]


def datasets(h5):
    names = []
    h5.visit(names.append)
    return [f"/{name}" for name in names if isinstance(h5[name], h5py.Dataset)]


def check_dataset(dataset, record):
    text = record["dtype"] == "|O"
    # Dates and versions of programs are not a contract; IDs and sources are.
    identifiers = ("dataSourceId", "deviceId", "root", "dataFormatVersion")
    name = dataset.name.rpartition("/")[2]
    if text and dataset.name.startswith("/METADATA") and name not in identifiers:
        return
    if name == "sequenceNumber":  # of an arbitrary file
        return
    assert dataset.is_virtual == record["virtual"]
    golden.check_array(dataset.asstr()[:] if text else dataset[...], record)
    attributes = plain(dict(dataset.attrs))
    assert record.get("attrs", {}).items() <= attributes.items()
    if "fillvalue" in record:
        wanted = golden.number(record["fillvalue"])
        np.testing.assert_equal(dataset.fillvalue, np.array(wanted, dataset.dtype))
    if dataset.ndim > 2 and not record["virtual"]:
        assert list(dataset.chunks) == record["chunks"]
        assert list(dataset.maxshape) == record["maxshape"]


def check_value(got, wanted):
    if isinstance(wanted, float):
        assert got == pytest.approx(wanted, rel=1e-12)
    else:
        assert plain(got) == wanted


CHECKS = {
    "xarray": check_xarray,
    "array": golden.check_array,
    "ndarray": golden.check_array,
    "h5": check_h5,
    "trains": check_trains,
    "run_trains": check_run_trains,
    "value": check_value,
}


@pytest.mark.skipif(PEER != "xfelred", reason="the reference fails this")
def test_first_row_is_honoured(tmp_path):
    """The three WRONG cases: every frame is the row that image/trainId names."""
    run = xf.RunDirectory(HERE / "runs" / "last_status_v05")
    detector = xf.AGIPD1M(run)
    array = detector.get_array("image.data")
    detector.write_frames(tmp_path / "frames.h5", [10002], [0])
    detector.write_virtual_cxi(tmp_path / "frames.cxi")
    for module in (0, 1):
        name = f"CORR-R0211-AGIPD{module:02}-S00000.h5"
        group = f"INSTRUMENT/SPB_DET_AGIPD1M-1/DET/{module}CH0:xtdf/image"
        with h5py.File(HERE / "runs" / "last_status_v05" / name, "r") as f:
            (row,) = np.flatnonzero(f[group]["trainId"][:] == 10002)
            want = f[group]["data"][row]
        got = array.sel(module=module, train=10002, pulse=0).values
        np.testing.assert_array_equal(got, want)
        with h5py.File(tmp_path / "frames.h5", "r") as f:
            np.testing.assert_array_equal(f[group]["data"][0], want)
        with h5py.File(tmp_path / "frames.cxi", "r") as f:
            identifier = f["entry_1/experiment_identifier"].asstr()[:].tolist()
            at = identifier.index("10002:0")
            shown = f["entry_1/instrument_1/detector_1/data"][at, module]
            np.testing.assert_array_equal(shown, want)


# They tell what a run has, the others read it.
LOOKING = {"collection", "metadata", "identify", "describe", "keys", "key_info"}


def kind(case):
    """What a case has in common with others: it is enough to run one of them always."""
    given = sorted(k for k in case if k not in ("id", "run", "group", "expect"))
    error, detector = case["expect"].get("error"), case.get("det", {}).get("cls")
    return case["op"], error, detector, *given, "kw", *sorted(case.get("kw", {}))


# Reads every pixel of a large run through a virtual file, for 16 s.
HEAVY = {"jf1m_burst-020"}


def one_of_each_kind():
    """Every case; those of a kind, and of a run, that were seen before are nightly."""
    seen = set()
    for case in CASES.values():
        facts = {kind(case), (case["op"] in LOOKING, case["run"])}
        marks = pytest.mark.nightly if facts <= seen or case["id"] in HEAVY else ()
        seen |= facts
        if case["id"] not in WRONG:
            yield pytest.param(case["id"], marks=marks)


@pytest.mark.parametrize("case_id", [*one_of_each_kind()])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_case(case_id, tmp_path):
    case = CASES[case_id]
    expect = dict(case["expect"])
    if PEER != "xfelred" and expect.get("peer", "agrees") != "agrees":
        pytest.skip("the reference is wrong here")
    operation = globals()[f"op_{case['op']}"]
    if "error" in expect:
        with pytest.raises(KINDS[expect["error"]]):
            operation(case, tmp_path)
        return
    if case["op"] in ("trains", "run_trains"):
        expect = {case["op"]: expect["value"]}
    results = operation(case, tmp_path)
    assert set(results) == set(expect) & set(CHECKS)
    for kind, got in results.items():
        CHECKS[kind](got, expect[kind])
