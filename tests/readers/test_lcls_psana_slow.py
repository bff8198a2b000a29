"""Slow values of psana2 runs, with a stand-in for psana2 itself."""

import types

import numpy as np
import pytest

from xfelred.errors import PropertyNameError
from xfelred.readers.lcls_psana import scalars

IDS = np.arange(1, 6, dtype="u8")


class Detector:
    def __init__(self, values):
        self.values = values

    def __call__(self, event):
        return self.values[int(event.timestamp) - 1]


@pytest.fixture
def read(monkeypatch):
    """Return a function that reads lists of values, one for each of five events."""

    def slow(columns, by_glob=()):
        opened = types.SimpleNamespace(
            epicsinfo={(name, "epics"): "x" for name in columns},
            Detector=lambda name: Detector(columns[name]),
            events=lambda: [types.SimpleNamespace(timestamp=t) for t in IDS],
        )
        monkeypatch.setattr(scalars, "open_source", lambda *_, **__: None)
        monkeypatch.setattr(scalars, "first_run", lambda *_: opened)
        monkeypatch.setattr(scalars, "replace", lambda address, **_: address)
        address = types.SimpleNamespace(files="x.xtc2")
        run = types.SimpleNamespace(ids=IDS, address=address, run_id="r")
        names = {f"epics/{n}": n for n in columns}
        return scalars.slow_values(run, names, by_glob)

    return slow


def test_texts_are_texts_and_arrays_keep_their_axes(read):
    found = read({
        "mode": ["on", None, "off", b"on", np.str_("on")],
        "pair": [None, *(np.array([i, -i]) for i in range(4))],
        "names": [np.array(["a", "bc"])] * 5,
        "number": [None, 1.5, 2, 3, np.float32(4)],
        "count": [1, 2, 3, 4, 2**62 + 1],
    })  # fmt: skip
    assert found["epics/mode"].tolist() == ["on", "", "off", "on", "on"]
    assert found["epics/pair"].shape == (5, 2)
    np.testing.assert_array_equal(found["epics/pair"][1:, 1], [0, -1, -2, -3])
    assert np.isnan(found["epics/pair"][0]).all()
    assert found["epics/names"].tolist() == [["a", "bc"]] * 5
    np.testing.assert_array_equal(found["epics/number"], [np.nan, 1.5, 2, 3, 4])
    assert found["epics/count"].tolist() == [1, 2, 3, 4, 2**62 + 1]
    for name, values in found.items():
        assert scalars.on_events(name, values).dims[0] == "train"


def test_a_buffer_that_psana_uses_again_is_copied(read):
    class Buffer:
        values = np.zeros(2)

        def __getitem__(self, i):
            self.values[:] = i
            return self.values

    found = read({"x": Buffer()})
    np.testing.assert_array_equal(found["epics/x"][:, 0], range(5))


ODD = {
    "ragged": [np.zeros(n) for n in range(5)],
    "mixed": ["a", 1, 2, 3, 4],
    "objects": [{"a": 1}] * 5,
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_neither_is_named(read, name):
    with pytest.raises(PropertyNameError, match=f"epics/{name} has values of shapes"):
        read({name: ODD[name]})
    columns = {name: ODD[name], "number": [1.0] * 5}
    with pytest.warns(UserWarning, match=f"left out: epics/{name}"):
        found = read(columns, by_glob={f"epics/{name}"})
    assert list(found) == ["epics/number"]


def test_events_before_the_first_step_have_no_value_of_it():
    run = types.SimpleNamespace(step_numbers=lambda: np.array([-1, 0, 1]))
    got = scalars.at_events(run, np.array([7, 8]))
    np.testing.assert_array_equal(got, [np.nan, 7, 8])
    assert scalars.at_events(run, np.array(["a", "b"])).tolist() == ["", "a", "b"]
    whole = types.SimpleNamespace(step_numbers=lambda: np.array([1, 0, 1]))
    assert scalars.at_events(whole, np.array([7, 8])).dtype.kind == "i"


def test_one_of_several_values_may_be_named(monkeypatch):
    table = np.arange(15).reshape(5, 3)
    monkeypatch.setattr(
        scalars, "slow_values", lambda run, names, _: dict.fromkeys(names, table)
    )
    run = types.SimpleNamespace(
        ids=IDS, run_id="r", scan_names=[], epics_names=["pair"], methods={},
        coordinates_of=dict,
    )  # fmt: skip
    found = scalars.scalars(run, ["epics/pair[2]"])
    assert list(found) == ["epics/pair[2]"]
    np.testing.assert_array_equal(found["epics/pair[2]"], table[:, 2])
    assert list(scalars.scalars(run, ["epics/pair", "epics/pair[0]"])) == [
        "epics/pair", "epics/pair[0]"
    ]  # fmt: skip
    for name, message in (
        ("epics/pair[3]", "position 3"), ("epics/pair[0,0]", "position 0, 0"),
        ("epics/pear[0]", "no value 'epics/pear"),
    ):  # fmt: skip
        with pytest.raises(PropertyNameError, match=message):
            scalars.scalars(run, [name])
