"""What public functions take, by their annotations."""

import inspect
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import dask.array
import numpy as np
import pytest
import xarray as xr
from numpy.typing import ArrayLike

from xfelred import ops
from xfelred.entries import check, entry, must_have, must_hold
from xfelred.errors import ArgumentError, ArgumentKindError, XfelredError
from xfelred.geometry import Geometry

One = TypeVar("One", xr.DataArray, xr.Dataset)
DA, DS = xr.DataArray([1.0, 2]), xr.Dataset({"a": ("b", [1])})


class Walks(Protocol):
    def walk(self) -> None: ...


FITS = [
    (int, [1, np.int64(2), np.array(3), xr.DataArray(4)]),
    (float, [1, 1.5, np.float32(2), np.array(3.0), float("nan")]),
    (bool, [True, np.bool_(False)]),
    (str, ["a", np.str_("b")]),
    (xr.DataArray, [DA]),
    (xr.Dataset, [DS]),
    (One, [DA, DS]),
    (int | None, [None, 1]),
    (Literal["a", 2, None], ["a", 2, None, np.str_("a"), np.int32(2)]),
    (ArrayLike, [DA, np.ones(3), dask.array.ones(3), [1, 2], [[1], [2]], 3, ["a"]]),
    (xr.DataArray | ArrayLike | None, [None, DA, [1]]),
    (Sequence[int], [[1], (1, 2), range(3), np.arange(3), DA.astype(int), []]),
    (Iterable[str], [["a"], iter("ab"), {"a": 1}.keys()]),
    (tuple[int, float], [(1, 2.5), [1, 2], np.array([1, 2])]),
    (tuple[int, ...], [(), (1, 2, 3), [4]]),
    (tuple[tuple[int, int], str], [((1, 2), "a")]),
    (Mapping[str, int], [{}, {"a": 1}]),
    (list | tuple, [[1], (1,)]),
    (Walks, [3]),
    (Any, [None, 3]),
]
DOES_NOT = [
    (int, [1.0, "1", None, True, np.array([1]), DA, 2.5, float("nan"), 1j]),
    (float, ["1", None, True, [1.0], DA, 1j, np.array("a")]),
    (bool, [1, None, "yes", np.int64(1)]),
    (str, [b"a", None, 1, ["a"]]),
    (xr.DataArray, [np.ones(3), dask.array.ones(3), DS, None, "a"]),
    (xr.Dataset, [DA, {}, None]),
    (One, [np.ones(3), None]),
    (int | None, ["a", 1.5]),
    (Literal["a", 2], ["b", True, None, 1, ["a"], np.ones(2), "y" * 10**6]),
    (ArrayLike, [None, "a", DS, {}, object(), [[1], [1, 2]]]),
    (Sequence[int], ["12", 1, None, [1, "a"], [1.5], DS, np.array(1), {1: 2}]),
    (Iterable[str], ["ab", b"ab", [1], None]),
    (tuple[int, float], [(1,), (1, 2, 3), (1, "a"), 1, "ab", None, np.array(1)]),
    (tuple[int, ...], [("a",), 1, None, "12"]),
    (Mapping[str, int], [{1: 1}, {"a": "b"}, [("a", 1)], DS, None]),
    (list | tuple, [np.ones(2), "a", None]),
]


def cases(table):
    return [(kind, value) for kind, values in table for value in values]


def short_id(one):
    """The same in every process: without addresses of objects."""
    return re.sub(r" at 0x\w+", "", str(one))[:40]


@pytest.mark.parametrize(("kind", "value"), cases(FITS), ids=short_id)
def test_a_value_of_the_kind_is_taken(kind, value):
    check("ops.f", "x", value, kind)


@pytest.mark.parametrize(("kind", "value"), cases(DOES_NOT), ids=short_id)
def test_another_value_is_refused_by_name(kind, value):
    with pytest.raises(XfelredError, match=r"^ops\.f: x=.* must be ") as found:
        check("ops.f", "x", value, kind)
    assert isinstance(found.value, ValueError)
    assert len(str(found.value)) < 400


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (np.ones((3, 4)), xr.DataArray, r"x=ndarray of shape \(3, 4\) must be an"
         r" xarray DataArray. Wrap it: xr.DataArray"),
        (DS, xr.DataArray, "Pass one variable of it: 'a'"),
        (DA, xr.Dataset, "Make one of it: da.to_dataset"),
        (list(range(10**5)), tuple[float, float] | None, r"x=list of 100000 entries"
         r" must be \(a number, a number\) or None"),
        ("maen", Literal["mean", "sum"], "'mean', 'sum'. Did you mean 'mean'"),
        (["mean", "sun"], Sequence[Literal["mean", "sum"]], "one of x='sun' must be one"
         " of 'mean', 'sum'. Did you mean 'sum'"),
        ("b", Literal["a"] | None, "must be one of 'a', None"),
        (1.5, int | Mapping[str, int], "must be a whole number or a mapping from a text"
         " to a whole number"),
        ("a.geom", Geometry, "must be a Geometry. Make one with Geometry.from_quad"),
    ],
)  # fmt: skip
def test_the_error_says_what_to_do(value, kind, words):
    with pytest.raises(XfelredError, match=words):
        check("ops.f", "x", value, kind)


def test_what_can_be_read_once_is_not_read():
    numbers = iter([1, 2, 3])
    check("ops.f", "x", numbers, Sequence[int] | Iterable[int])
    assert list(numbers) == [1, 2, 3]


def test_nothing_lazy_is_computed(no_compute):
    lazy = dask.array.ones(3)
    with no_compute():
        check("ops.f", "x", [lazy, lazy], ArrayLike)
        check("ops.f", "x", lazy.sum(), ArrayLike)
        with pytest.raises(ArgumentKindError):
            check("ops.f", "x", xr.DataArray(lazy), float)


def test_a_function_stays_what_it_was():
    assert list(inspect.signature(ops.statistics).parameters)[:2] == ["da", "dim"]
    assert ops.statistics.__doc__.startswith("Reduce frames")
    assert pickle.loads(pickle.dumps(ops.statistics)) is ops.statistics
    assert ops.statistics.__module__ == "xfelred.ops.reductions.statistics"


def test_an_argument_that_does_not_exist_is_an_error_of_ours():
    with pytest.raises(TypeError, match=r"ops.statistics: .*'wich'.* mean 'which'"):
        ops.statistics(DA, wich=("mean",))
    with pytest.raises(XfelredError, match=r"missing.*'da'.* It takes: da, dim"):
        ops.statistics()


def test_classes_are_checked_when_they_are_made():
    @entry
    @dataclass(frozen=True)
    class Pair:
        a: int
        b: float = 2.0

    assert Pair(1).b == 2
    with pytest.raises(ArgumentKindError, match="Pair: a='x' must be a whole number"):
        Pair("x")


@entry(own=("mine",))
def takes(*several: int, mine: int = 0) -> tuple[int, ...]:
    return (*several, mine)


def test_each_of_several_is_checked_and_what_the_function_checks_itself_is_not():
    assert takes(1, 2, mine="own") == (1, 2, "own")
    with pytest.raises(ArgumentKindError, match="several='a'"):
        takes(1, "a")


def test_a_default_is_taken_whatever_it_is():
    @entry
    def odd(x: int = "none") -> object:
        return x

    assert odd("none") == "none"


def test_things_of_other_packages_are_known_by_what_they_can_do():
    must_have("f", "x", "text", "upper", "a text")
    with pytest.raises(ArgumentKindError, match="f: x=1 must be a text"):
        must_have("f", "x", 1, "upper", "a text")
    must_hold("f", "ds", DS, "a")
    with pytest.raises(ArgumentError, match="ds has no 'c' and no 'd'; it has 'a'"):
        must_hold("f", "ds", DS, "a", "c", "d")


def test_warnings_point_at_the_line_of_the_caller():
    values = xr.DataArray([1.0, 2], {"train": [1, 2]}, ["train"])
    frames = xr.DataArray(np.ones((3, 4)), {"train": [1, 2, 3]}, ["train", "x"])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ops.normalize(frames, values)
    assert [one.filename for one in found] == [__file__]
