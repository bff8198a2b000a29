import pickle

import numpy as np
import pytest
import xarray as xr

from xfelred import errors
from xfelred.errors import (
    ArgumentError,
    XfelredError,
    listing,
    must_be_one_of,
    shown,
)

CLASSES = sorted(
    (
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, XfelredError)
    ),
    key=lambda one: one.__name__,
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_travels_between_processes_with_its_text(kind):
    error = kind("the text")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "the text"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_of_the_kind_of_a_builtin(kind):
    builtins = [b for b in kind.__mro__ if b.__module__ == "builtins"]
    assert kind is XfelredError or builtins[0] is not Exception


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("mean", "'mean'"),
        ("x" * 10**6, f"'{'x' * 40}'... (1000000 characters)"),
        (np.zeros((3, 4)), "ndarray of shape (3, 4)"),
        (xr.DataArray(np.zeros(3), dims="b"), "DataArray with dims (b: 3)"),
        (xr.Dataset({"a": ("b", [1, 2])}), "Dataset with dims (b: 2)"),
        ([1, 2.5, None], "[1, 2.5, None]"),
        ((1,), "(1)"),
        (list(range(100_000)), "list of 100000 entries"),
        ([np.zeros(3)], "[ndarray of shape (3,)]"),
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (float("nan"), "nan"),
        (1 << 20_000, "an integer of 20001 bits"),
        (object(), "object"),
        (int, "the class int"),
    ],
    ids=lambda it: it if isinstance(it, str) and len(it) < 40 else type(it).__name__,
)  # fmt: skip
def test_a_value_is_shown_short(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("given", "known"),
    [("a", "ab"), (np.str_("a"), "ab"), (None, ("a", None)), (np.int64(4), (0, 4, 8))],
)
def test_one_of_the_known_values_is_taken(given, known):
    must_be_one_of("how", given, known)


@pytest.mark.parametrize(
    "given", [True, [1], np.ones(2), "x" * 10**6, object(), None, float("nan"), {}]
)
def test_another_value_is_refused_with_the_choices(given):
    with pytest.raises(ArgumentError, match=r"^how=.* must be one of 1, 'b'") as found:
        must_be_one_of("how", given, (1, "b"))
    assert len(str(found.value)) < 200


def test_the_nearest_word_is_proposed():
    with pytest.raises(ValueError, match=r"'sum', 'mean'. Did you mean 'mean'\?"):
        must_be_one_of("how", "maen", ("sum", "mean"))


def test_a_name_in_a_list_adds_no_line_of_its_own():
    assert listing(["a\nfault  forged", "b\x1b[2J"]) == r"a\nfault  forged, b\x1b[2J"
