"""What public functions take: their annotations, checked before anything happens.

An argument of another kind would fail somewhere deep inside, with an AttributeError
that names neither the function nor the argument, or it would be computed, printed or
looped over. `entry` decorates a public function or class; the annotations that are
there anyway say what is wanted. What a value may be beyond its kind (a range, a
length that depends on the data) is checked by the function itself.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import numbers
import os
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, overload

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import (
    ArgumentError,
    ArgumentKindError,
    did_you_mean,
    listing,
    must_be_one_of,
    python_scalar,
    shown,
)

Thing = TypeVar("Thing", bound=Callable[..., Any])

# How users write the parts of the package, where it is not their name.
PREFIX = {
    "products": "xf",
    "lazy": "xf",
    "readers": "xf",
    "recipes": "xf",
    "shots": "ops",
}
WORDS: dict[Any, str] = {
    xr.DataArray: "an xarray DataArray",
    xr.Dataset: "an xarray Dataset",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    types.NoneType: "None",
    Any: "anything",
    os.PathLike: "a path",
    Path: "a path",
    np.ndarray: "a numpy array",
}
SEVERAL = (abc.Sequence, abc.Iterable, abc.Collection, list)
# They can be iterated over, and what comes is not what is meant.
NOT_SEVERAL = (str, bytes, abc.Mapping, xr.Dataset)
# xarray writes it as one union, which ends up flat in a larger one.
ARRAY_LIKE = frozenset(typing.get_args(ArrayLike))
OWNERS = ("self", "cls")  # no argument of a user


@overload
def entry(thing: Thing, /) -> Thing: ...


@overload
def entry(*, own: tuple[str, ...]) -> Callable[[Thing], Thing]: ...


def entry(thing: Any = None, /, *, own: tuple[str, ...] = ()) -> Any:
    """Check the arguments of a public function, or of a class, by its annotations.

    Those named in `own` the function checks itself, as it can say more about them.
    """
    if thing is None:
        return functools.partial(decorated, own=own)
    return decorated(thing, own=own)


def decorated(thing: Any, *, own: tuple[str, ...]) -> Any:
    if isinstance(thing, type):
        name = getattr(thing, "called", thing.__name__)
        thing.__init__ = checked(thing.__init__, name, own)  # type: ignore[misc]
        return thing
    return checked(thing, thing.__qualname__.removesuffix(".__init__"), own)


def checked(
    function: Callable[..., Any], name: str, own: tuple[str, ...]
) -> Callable[..., Any]:

    where = function.__qualname__
    of_class, _, method = name.partition(".")
    is_method = where.startswith(f"{of_class}.") and "<" not in where

    @functools.wraps(function)
    def entered(*args: Any, **kwargs: Any) -> Any:
        full = name
        if is_method and args:  # users know the class of a thing, and not its bases
            full = f"{type(args[0]).__name__}.{method}".rstrip(".")
        check_call(wanted_by(function, full, own), args, kwargs)
        return function(*args, **kwargs)

    return entered


@dataclass(frozen=True)
class Takes:
    """What a function takes."""

    name: str  # as users write it
    signature: inspect.Signature
    kinds: Mapping[str, Any]  # the annotation of each argument


class Names(dict[str, Any]):
    """Names in annotations; what only a type checker imports may be anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


@functools.cache
def wanted_by(function: Callable[..., Any], name: str, own: tuple[str, ...]) -> Takes:
    """Return what a function takes, read from its annotations."""
    signature = inspect.signature(function)
    names = Names(getattr(function, "__globals__", {}))
    hints = typing.get_type_hints(function, {}, names)
    kinds = {name: kind for name, kind in hints.items() if name not in own}
    part = function.__module__.split(".")[1]
    first = next(iter(signature.parameters), "")
    owner = "Geometry." if first == "cls" else ""
    # A method is that of a thing, wherever its class comes from.
    full = "" if first == "self" and "." in name else f"{PREFIX.get(part, part)}."
    return Takes(f"{full}{owner}{name}", signature, kinds)


def check_call(wanted: Takes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise an error for the first argument that is not of its kind."""
    parameters = wanted.signature.parameters
    try:
        given = wanted.signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        unknown = [name for name in kwargs if name not in parameters]
        wrong = ""
        if unknown:
            near = did_you_mean(unknown[0], parameters)
            wrong = f" It has no argument {unknown[0]!r}.{near}"
        takes = listing((name for name in parameters if name not in OWNERS), 40)
        raise ArgumentKindError(
            f"{wanted.name}: {error}.{wrong} It takes: {takes}"
        ) from None
    for name, value in given.items():
        if value is parameters[name].default or name not in wanted.kinds:
            continue
        kind = wanted.kinds[name]
        if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            for one in value:
                check(wanted.name, name, one, kind)
        elif parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
            check(wanted.name, name, value, kind)


def check(function: str, name: str, value: object, kind: object) -> None:
    """Raise an error that says what came and what is wanted, unless it is that."""
    if fits(value, kind):
        return
    parts = members(kind)
    choices = choices_of(parts)
    if choices:
        must_be_one_of(f"{function}: {name}", value, choices)
    for part in parts:
        inside = typing.get_args(part)
        several = typing.get_origin(part) in SEVERAL and is_several(value, Any)
        if several and inside and choices_of(members(inside[0])):
            for one in cast(Iterable[object], value):
                check(function, f"one of {name}", one, inside[0])
    raise ArgumentKindError(
        f"{function}: {name}={shown(value)} must be {said(kind)}.{advice(value, kind)}"
    )


def choices_of(kinds: list[Any]) -> list[Any]:
    """Return the values of which one is wanted, if that is all that is wanted."""
    found = [choice for kind in kinds for choice in literal(kind)]
    rest = [kind for kind in kinds if not literal(kind)]
    none = [None] if rest == [types.NoneType] else []
    return [*found, *none] if found and len(rest) == len(none) else []


def members(kind: object) -> list[Any]:
    """Return the kinds of which one is wanted."""
    if isinstance(kind, TypeVar):
        return list(kind.__constraints__) or [Any]
    if typing.get_origin(kind) in (Union, types.UnionType):
        parts = typing.get_args(kind)
        if not set(parts) >= ARRAY_LIKE:
            return list(parts)
        return [p for p in parts if p not in ARRAY_LIKE] + [ArrayLike]
    return [kind]


def literal(kind: object) -> tuple[Any, ...]:
    """Return the values of a Literal, none of another kind."""
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def fits(value: object, kind: object) -> bool:
    """Tell whether a value is of the kind that an annotation says."""
    parts = [ArrayLike] if kind == ArrayLike else members(kind)
    if len(parts) > 1:
        return any(fits(value, part) for part in parts)
    kind = parts[0]
    origin = typing.get_origin(kind) or kind
    if kind == ArrayLike:
        return is_array(value)
    if origin is Literal:
        return any(same(value, choice) for choice in typing.get_args(kind))
    if kind in KINDS:
        return KINDS[kind](value)
    if origin is tuple:
        return is_tuple(value, typing.get_args(kind))
    if origin in SEVERAL:
        return is_several(value, (typing.get_args(kind) or (Any,))[0])
    if origin is abc.Mapping or origin is dict:
        return is_mapping(value, typing.get_args(kind) or (Any, Any))
    if origin is abc.Callable:
        return callable(value)
    # A protocol says what a thing can do, and not what it is.
    if not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return True
    return isinstance(value, origin)


def same(value: object, choice: object) -> bool:
    """Tell whether a value is a choice; True is not 1."""
    plain = python_scalar(value)
    return type(plain) is type(choice) and plain == choice


def is_number(value: object) -> bool:
    """Tell whether this is one real number; it may be an array without axes."""
    if isinstance(value, (np.generic, np.ndarray, xr.DataArray)):
        return value.shape == () and value.dtype.kind in "iuf"
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    if isinstance(value, (np.generic, np.ndarray, xr.DataArray)):
        return value.shape == () and value.dtype.kind in "iu"
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def must_have(
    function: str, name: str, value: object, attribute: str, kind: str
) -> None:
    """Raise an error unless a thing of another package can do what is needed of it."""
    if isinstance(value, xr.Dataset) or not hasattr(value, attribute):
        raise ArgumentKindError(f"{function}: {name}={shown(value)} must be {kind}")


def must_hold(function: str, name: str, ds: xr.Dataset, *variables: str) -> None:
    """Raise an error unless a Dataset has some variables."""
    absent = [one for one in variables if one not in ds]
    if absent:
        raise ArgumentError(
            f"{function}: {name} has no {' and no '.join(map(repr, absent))}; it has"
            f" {listing(map(repr, ds.data_vars))}"
        )


def is_array(value: object) -> bool:
    """Tell whether numpy can make an array of numbers of this."""
    if isinstance(value, (xr.Dataset, str, bytes, abc.Mapping)) or value is None:
        return False
    if hasattr(value, "__array__"):
        return True
    if not isinstance(value, (list, tuple, range)):
        return isinstance(value, numbers.Number)
    # What is lazy would be computed.
    if any(hasattr(one, "__dask_graph__") for one in value):
        return True
    try:
        return np.asarray(value) is not None
    except (TypeError, ValueError, OverflowError):
        return False


def is_tuple(value: object, inside: tuple[Any, ...]) -> bool:
    if len(inside) == 2 and inside[1] is Ellipsis:
        return is_several(value, inside[0])
    return (
        isinstance(value, (tuple, list, np.ndarray))
        and len(np.shape(value) if isinstance(value, np.ndarray) else (1,)) > 0
        and (not inside or len(value) == len(inside))
        and all(map(fits, value, inside))
    )


def is_several(value: object, inside: Any) -> bool:
    if isinstance(value, NOT_SEVERAL) or getattr(value, "shape", None) == ():
        return False
    if not isinstance(value, abc.Iterable):
        return False
    if iter(value) is value:  # only once: left to the function
        return True
    if all(kind in KINDS or isinstance(kind, type) for kind in members(inside)):
        # One of each type is enough, however long it is.
        shapes = ((type(one), getattr(one, "shape", None)) for one in value)
        value = dict(zip(shapes, value, strict=False)).values()
    return all(fits(one, inside) for one in value)


def is_mapping(value: object, inside: tuple[Any, ...]) -> bool:
    """Tell whether this is a mapping between such kinds, and no Dataset."""
    return (
        isinstance(value, abc.Mapping)
        and not isinstance(value, xr.Dataset)
        and all(fits(k, inside[0]) and fits(v, inside[1]) for k, v in value.items())
    )


KINDS: dict[Any, Callable[[Any], bool]] = {
    Any: lambda value: True,
    object: lambda value: True,
    int: is_whole,
    float: is_number,
    bool: lambda value: isinstance(value, (bool, np.bool_)),
    list: lambda value: isinstance(value, list),
    tuple: lambda value: isinstance(value, tuple),
}


def said(kind: object) -> str:
    words = dict.fromkeys(map(word, members(kind)))
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def word(kind: object) -> str:
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind == ArrayLike:
        return "an array of numbers"
    if origin is Literal:
        return listing(map(repr, inside), 20)
    if origin is tuple and Ellipsis not in inside and inside:
        return f"({', '.join(map(said, inside))})"
    if origin is tuple or origin in SEVERAL:
        return f"a sequence of ({said(inside[0])})" if inside else "a sequence"
    if origin is abc.Mapping or origin is dict:
        return (
            f"a mapping from {' to '.join(map(said, inside))}" if inside else "a dict"
        )
    return WORDS.get(origin, f"a {getattr(origin, '__name__', origin)}")


def advice(value: object, kind: object) -> str:
    """Return what to do with a value of a kind that users bring by habit."""
    parts = members(kind)
    if isinstance(value, xr.Dataset) and xr.DataArray in parts:
        return f" Pass one variable of it: {listing(map(repr, value.data_vars), 6)}"
    if isinstance(value, xr.DataArray) and xr.Dataset in parts:
        return " Make one of it: da.to_dataset(name='...')"
    if hasattr(value, "shape") and xr.DataArray in parts and ArrayLike not in parts:
        return " Wrap it: xr.DataArray(values, dims=[...])"
    names = {getattr(part, "__name__", "") for part in parts}
    return next((ADVICE[name] for name in names if name in ADVICE), "")


# By name: what these are is not known down here.
ADVICE = {
    "Geometry": " Make one with Geometry.from_quad_positions, from_crystfel, from_poni"
    " or flat",
    "Bins": " Make them with xf.Bins, such as xf.Bins(range=(0, 1), n=10)",
}
