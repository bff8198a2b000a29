"""Small keys are read for many trains at once; what comes out is the same."""

import copy
import os
import pickle
from itertools import islice

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred import synth
from xfelred.readers.euxfel import ahead
from xfelred.readers.euxfel.locate import Location

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    place = tmp_path_factory.mktemp("ahead") / "r0001"
    synth.euxfel.write_run(place, n_trains=5, pulses=2, sequences=3)
    return place


def one_by_one(run):
    """Every train by itself, key by key."""
    for tid in run.train_ids:
        found = {}
        for source in run.sources:
            for key in run[source].keys():  # noqa: SIM118 - of a source
                data = run[source, key]
                values = data.select_trains(xf.by_id[[tid]]).ndarray()
                if len(values):
                    one = values[0] if len(values) == 1 else values
                    found[source, data.key] = one
        yield tid, found


@pytest.fixture(scope="module")
def want(run_dir):
    return list(one_by_one(some(xf.open_run(run_dir))))


def some(run):
    """All but most of the modules."""
    return run.select([(s, "*") for s in run.sources if "CH0:" not in s or "/3CH" in s])


@pytest.mark.parametrize("n_bytes", [1, 4000, ahead.AHEAD])
def test_trains_are_those_that_are_read_one_by_one(run_dir, want, monkeypatch, n_bytes):
    monkeypatch.setattr(ahead, "AHEAD", n_bytes)
    found = list(some(xf.open_run(run_dir)).trains(flat_keys=True))
    assert [tid for tid, _ in found] == [tid for tid, _ in want]
    for (_, one), (_, other) in zip(found, want, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_array_equal(one[name], value)
            assert np.asarray(one[name]).dtype == np.asarray(value).dtype


def test_a_dataset_is_read_once_for_all_trains(run_dir, monkeypatch):
    reads = []
    real = ahead.entries_of

    def entries_of(stored, first, n):
        reads.append((stored.path, stored.name))
        return real(stored, first, n)

    monkeypatch.setattr(ahead, "entries_of", entries_of)
    run = xf.open_run(run_dir)
    run = run.select([(s, "*") for s in run.control_sources])
    assert len([dict(data) for _, one in run.trains() for data in one.values()]) > 5
    assert reads
    assert len(reads) == len(set(reads))


def test_a_key_that_a_file_lacks_is_told_and_left_out(tmp_path):
    place = tmp_path / "r0001"
    synth.euxfel.write_run(place, n_trains=6, pulses=2, sequences=3)
    lacking = []
    for path in sorted(place.glob("*S00001.h5")):
        with h5py.File(path, "r+") as f:
            if "CONTROL" in f and not lacking:
                name = f["CONTROL"].visit(lambda n: n if n.endswith("/value") else None)
                del f[f"CONTROL/{name}"]
                lacking = f["INDEX/trainId"][:].tolist()
    run = xf.open_run(place)
    source = next(s for s in run.control_sources if name.startswith(s + "/"))
    key = name.removeprefix(source + "/").replace("/", ".")
    with pytest.warns(UserWarning, match="its trains there have no data"):
        found = dict(run.select(source).trains(flat_keys=True))
    assert lacking
    for tid, data in found.items():
        assert ((source, key) in data) == (tid not in lacking)


def test_only_sources_that_are_looked_at_are_read(run_dir, monkeypatch):
    looked = []
    real = ahead.SourceValues.of

    def of(self, *args):
        looked.append(self.source.source)
        return real(self, *args)

    monkeypatch.setattr(ahead.SourceValues, "of", of)
    run = xf.open_run(run_dir)
    name = next(s for s in run.control_sources if "XGM" in s)
    first, second = (data for _, data in islice(run.trains(), 2))
    assert first.keys() == second.keys() == set(run.sources)
    assert not looked
    assert first[name]["metadata"]["source"] == name
    assert second[name].keys() == first[name].keys()
    assert looked == [name, name]


def test_a_source_is_a_dict_however_it_is_looked_at(run_dir):
    run = xf.open_run(run_dir)
    name = next(s for s in run.control_sources if "XGM" in s)

    def fresh():
        return next(run.trains())[1][name]

    want = {**fresh()}
    assert len(want) > 2
    assert type(want) is dict
    for made in (
        fresh(), dict(fresh()), fresh().copy(), copy.copy(fresh()), fresh() | {},
        {} | fresh(), copy.deepcopy(fresh()), pickle.loads(pickle.dumps(fresh())),
        dict(fresh().items()), dict(zip(fresh(), fresh().values(), strict=True)),
    ):  # fmt: skip
        assert made == want
        assert want == made
    assert len(fresh()) == len(want)
    assert list(reversed(fresh())) == list(reversed(want))
    assert repr(fresh()) == repr(want)
    assert all(k in fresh() and fresh()[k] == fresh().get(k) for k in want)
    assert fresh() != {"metadata": want["metadata"]}
    changed = fresh()
    changed["new"] = 1
    assert changed.pop("metadata") == want["metadata"]
    assert len(changed) == len(want)


def test_what_cannot_be_read_is_said_where_it_is_looked_at(tmp_path):
    place = tmp_path / "r0001"
    synth.euxfel.write_run(place, n_trains=2, pulses=1, sequences=None)
    run = xf.open_run(place)
    name = next(s for s in run.control_sources if "XGM" in s)
    path = run[name].all_files[0].path
    trains = run.trains()
    _, data = next(trains)
    os.truncate(path, 3000)
    for _ in range(2):
        with pytest.raises(xf.BrokenFileError, match=os.path.basename(path)):
            len(data[name])
    _, data = next(trains)
    other = next(s for s in run.sources if run[s].all_files[0].path != path)
    assert len(data[other]) > 1


def where(file, first, count):
    arrays = (np.array(a) for a in (file, first, count))
    return Location(*arrays, order=np.flatnonzero(count))


@pytest.mark.parametrize(
    ("at", "most", "want"),
    [
        (where([0, 0, 0], [0, 1, 2], [1, 1, 1]), 9, (3, 3)),
        (where([0, 0, 0], [0, 1, 2], [1, 1, 1]), 2, (2, 2)),
        (where([0, 0, 1], [0, 1, 0], [1, 1, 1]), 9, (2, 2)),
        (where([0, 0, 0], [0, 5, 6], [1, 1, 1]), 9, (1, 1)),
        (where([0, -1, 0], [4, 0, 6], [2, 0, 3]), 9, (3, 5)),
        (where([0, 0], [4, 6], [2, 3]), 4, (1, 2)),
        (where([0, 0], [4, 6], [5, 3]), 4, (0, 0)),
        (where([0, 0], [4, 6], [2, 3]), 0, (0, 0)),
    ],
)
def test_trains_whose_rows_follow_each_other(at, most, want):
    trains, n_rows = ahead.following(at, 0, most)
    assert (len(trains), n_rows) == want
