"""Every public callable of the parts, with junk for each argument in turn."""

import inspect

import dask.array
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from tests.support.public_calls import CALLS, PLANE, PONI, call, public
from xfelred.errors import MAX_TEXT, MissingExtraError, XfelredError

pytestmark = pytest.mark.slow

PARTS = ("ops", "geometry", "masks", "pairs", "plot")
# What is made of results, and is no argument of anything.
RESULTS = {"ops.CutFlow", "ops.RingFit"}
# Runs for seconds when a kernel is compiled first.
SLOW = {"ops.find_centre"}

JUNK = {
    "ndarray": np.ones((3, 4)),
    "dask": dask.array.ones((3, 4)),
    "Dataset": xr.Dataset({"a": ("b", [1.0, 2.0])}),
    "str": "zzz",
    "None": None,
    "int": 7,
    "object": object(),
    "list": list(range(100_000)),
    "text": "y" * 1_000_000,
}
MORE_JUNK = {
    "negative": -3,
    "fraction": 2.5,
    "nan": float("nan"),
    "tuple": (9, 9, 9, 9, 9),
    "dict": {"a": 1},
}

# The words for arguments that are not called so.
WORDS = {
    "coord": "train IDs",
    "first": "train",
    "second": "train",
    "members": "train IDs",
    "pairs": "train IDs",
    "energy_ev": "energy",
    "common_mode": "cmpars",
    "q_bins": "bins",
    "number": "common mode",
    "image": "data",
    "result": "correlation",
    "ds": "no value",
    "profile": "plot.azimuthal",
    "pulses": "plot.statistics",
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PLANE.to_crystfel("it.geom")
    (tmp_path / "it.poni").write_text(PONI)


def test_every_public_callable_is_tried():
    there = {
        f"{part}.{name}"
        for part in PARTS
        for name in getattr(xf, part).__all__
        if callable(getattr(getattr(xf, part), name))
    }
    tried = {public(name) for name in RESULTS | set(CALLS)}
    assert not {name for name in there if public(name) not in tried}


@pytest.mark.parametrize("name", sorted(set(CALLS) - SLOW))
def test_valid_arguments_are_taken(name):
    try:
        call(name, CALLS[name])
    except MissingExtraError:
        pytest.skip("no plotting library")


def faults(name, all_junk):
    """Yield what is wrong with the answers to junk."""
    for parameter in CALLS[name]:
        for word, junk in all_junk.items():
            if parameter == "self":
                continue
            try:
                call(name, {**CALLS[name], parameter: junk})
            except XfelredError as error:
                text = str(error)
                if len(text) > MAX_TEXT:
                    yield f"{parameter}={word}: {len(text)} characters"
                given = junk if isinstance(junk, (str, int, float)) else parameter
                words = (*CALLS[name], parameter.replace("_", " "), parameter[:-1])
                words += (name.rsplit(".")[-1], str(given)[:30])
                named = any(w in text for w in (*words, WORDS.get(parameter, name)))
                if not named and not isinstance(error, MissingExtraError):
                    yield f"{parameter}={word}: does not name it: {text[:200]}"
            except Exception as error:
                yield f"{parameter}={word}: {type(error).__name__} {str(error)[:200]}"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_junk_is_taken_or_refused_with_an_error_of_ours(name):
    assert not list(faults(name, JUNK))


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(CALLS))
def test_more_junk_is_taken_or_refused_with_an_error_of_ours(name):
    assert not list(faults(name, MORE_JUNK))


OF_RUNS = (
    "open_run", "RunDirectory", "H5File", "write", "write_polar", "write_virtual_cxi",
    "write_hits", "make_cube", "write_cube", "reduce_run", "report",
    "stack_data", "stack_detector_data",
    "identify_multimod_detectors", "AGIPD1M",
)  # fmt: skip


@pytest.mark.parametrize("name", OF_RUNS)
def test_junk_is_no_run_and_no_path(name):
    function = getattr(xf, name)
    needed = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    for junk in {**JUNK, **MORE_JUNK}.values():
        with pytest.raises(XfelredError) as found:
            function(*[junk] * max(len(needed), 1))
        assert len(str(found.value)) <= MAX_TEXT
