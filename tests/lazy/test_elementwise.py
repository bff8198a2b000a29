"""Plain xarray on planned arrays: what streams, and that the numbers are numpy's."""

import subprocess
import sys
import warnings

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from memory_files import DIMS, READ, make_plan, whole

from xfelred.lazy import PlannedArray, Source, planned

TRAINS, PULSES, MODULES = 7, 5, 3
RNG = np.random.default_rng(4)
PIXELS = (MODULES, 4, 6)
DARK = xr.DataArray(RNG.normal(100, 3, PIXELS).astype("f4"), dims=DIMS[2:])
DARK8 = DARK.astype("f8")
GOOD = xr.DataArray(RNG.random(PIXELS) > 0.2, dims=DIMS[2:])
GAIN = xr.DataArray(RNG.normal(2, 0.1, TRAINS), dims="train")
CELL = xr.DataArray(RNG.normal(2, 0.1, PULSES).astype("f4"), dims="pulse")
EACH = xr.DataArray(RNG.random((TRAINS, PULSES)) > 0.3, dims=DIMS[:2])
GROUP = xr.DataArray([0, 1, 0, 2, 1, 1, 0], dims="train", name="group")


def frames(dtype="f4", missing=((2, 1),), chunks=(3, 5, 3, 4, 6)):
    """Return (planned array, the same numbers in memory)."""
    name = f"elementwise-{dtype}"
    missing = missing if dtype[0] == "f" else ()
    plan = make_plan(name, TRAINS, PULSES, MODULES, dtype=dtype, missing=missing)
    normal = dask.array.core.normalize_chunks(chunks, plan.shape)
    data = planned(Source(plan, DIMS), dict(zip(DIMS, normal, strict=True)))
    full = whole(name, TRAINS, PULSES, MODULES, missing)
    coords = {"train": np.arange(100, 107), "pulse": np.arange(PULSES) * 2}
    attrs = {"units": "adu"}
    return tuple(xr.DataArray(d, coords, DIMS, attrs=attrs) for d in (data, full))


# Whatever people write with frames `x`: does it stay a recipe?
ELEMENTWISE = {
    "x - map": (lambda x: x - DARK, True),
    "map - x": (lambda x: DARK - x, True),
    "x - float64 map": (lambda x: x - DARK8, True),
    "x * by train": (lambda x: x * GAIN, True),
    "x / by pulse": (lambda x: x / CELL, True),
    "chain": (lambda x: ((x - DARK) * GAIN).where(GOOD), True),
    "x - numpy": (lambda x: x - DARK.values, True),
    "numpy * x": (lambda x: np.float32(3) * x, True),
    "Python's numbers": (lambda x: 2 * x + 1.5 - x / 3, True),
    "x // n % n": (lambda x: x // 3 % 2, True),
    "x ** 2": (lambda x: x**2, True),
    "x ** 0.3": (lambda x: x**0.3, True),
    "n ** x": (lambda x: 1.001**x, True),
    "-x, +x, abs": (lambda x: abs(-(+x)), True),
    "comparisons": (lambda x: (x > 99) & (x <= 103) | (x == 0), True),
    "~": (lambda x: ~(x != 100), True),
    "x >= by train": (lambda x: x >= GAIN, True),
    "where(map)": (lambda x: x.where(GOOD), True),
    "where(frames)": (lambda x: x.where(EACH), True),
    "where(x > n)": (lambda x: x.where(x > 100), True),
    "where(cond, n)": (lambda x: x.where(x > 100, -1), True),
    "where(cond, map)": (lambda x: x.where(x > 100, DARK), True),
    "xr.where(x)": (lambda x: xr.where(x > 100, x, 0), True),
    "xr.where(map)": (lambda x: xr.where(GOOD, x, DARK), True),
    "np.where": (lambda x: x.copy(data=np.where(x.data > 100, x.data, 7)), True),
    "fillna": (lambda x: x.where(x > 100).fillna(3), True),
    "clip": (lambda x: x.clip(98, 102), True),
    "clip(min)": (lambda x: x.clip(min=98), True),
    "clip(map)": (lambda x: x.clip(DARK, None), True),
    "astype": (lambda x: x.astype("f8"), True),
    "astype(bool)": (lambda x: x.astype(bool), True),
    "isnull": (lambda x: x.isnull(), True),
    "notnull": (lambda x: x.notnull(), True),
    "round": (lambda x: x.round(), True),
    "sqrt, log, exp": (lambda x: np.exp(np.log(np.sqrt(x))), True),
    "maximum, hypot": (lambda x: np.hypot(np.maximum(x, DARK), GAIN), True),
    "isfinite": (lambda x: np.isfinite(x), True),
    "nan_to_num": (
        lambda x: xr.apply_ufunc(np.nan_to_num, x.where(x > 99), dask="allowed"),
        True,
    ),
    "x - its first train": (lambda x: x - x.isel(train=0), True),
    "x - x": (lambda x: x - x, True),
    "differences of trains": (lambda x: x.diff("train"), True),
    "x of x": (lambda x: (x - DARK).where(x - DARK > x.isel(pulse=1) - 99), True),
    "other axes": (lambda x: (x - DARK).transpose("module", ...) + GAIN, True),
    "other names": (lambda x: (x - DARK).rename(train="shot") * 2, True),
    "new axis": (lambda x: (x - DARK).expand_dims("scan") + 1, True),
    "zeros_like": (lambda x: xr.zeros_like(x) + x, False),
    "isin": (lambda x: x.round().isin([99, 101]), False),
    "shift": (lambda x: x.shift(train=1), False),
    "argmax": (lambda x: x.fillna(0).argmax("train"), False),
    "fancy pixels": (lambda x: (x - DARK).isel(fast_scan=[3, 1, 2]), False),
    "concat": (lambda x: xr.concat([x, x], "train"), False),
}
REDUCTIONS = {
    "mean": lambda x: x.mean(("train", "pulse")),
    "mean of pixels": lambda x: x.mean(("slow_scan", "fast_scan")),
    "mean of everything": lambda x: x.mean(),
    "mean(skipna=False)": lambda x: x.mean("train", skipna=False),
    "mean(keepdims)": lambda x: x.mean("train", keepdims=True),
    "sum": lambda x: x.sum("train"),
    "sum(skipna=False)": lambda x: x.sum("pulse", skipna=False),
    "sum of what is there": lambda x: x.where(x > 100).sum("train"),
    "sum of modules": lambda x: x.sum("module"),
    "std": lambda x: x.std(("train", "pulse")),
    "var(ddof)": lambda x: x.var("train", ddof=1),
    "min, max": lambda x: x.max("train") - x.min("train"),
    "max(skipna=False)": lambda x: x.max("train", skipna=False),
    "count": lambda x: x.where(x > 100).count("train"),
    "notnull().sum()": lambda x: x.where(x > 100).notnull().sum(("train", "pulse")),
    "mean of good pixels": lambda x: x.where(GOOD).mean("train"),
    "mean of good frames": lambda x: x.where(EACH).mean(("slow_scan", "fast_scan")),
    "good twice": lambda x: (
        (x.astype("f8").where(GOOD) * 2).where(~GOOD[0]).std(("train", "pulse"))
    ),
    "good and all": lambda x: x.where(GOOD).where(GOOD[1]).max("train", skipna=False),
    "sum of good pixels": lambda x: x.where(GOOD).sum(("train", "pulse")),
    "number of good": lambda x: x.where(GOOD).count("train"),
    "good modules": lambda x: x.where(GOOD).mean(("train", "module")),
    "any": lambda x: (x > 106).any("train"),
    "all": lambda x: (x > 90).all(("slow_scan", "fast_scan")),
    "sum of booleans": lambda x: (x > 100).sum("train"),
    "np.mean": lambda x: np.mean(x - DARK, axis=0),
    "array.mean": lambda x: x.mean("train").copy(data=(x.data + 1).mean(axis=0)),
    "groupby": lambda x: (x - DARK).groupby(GROUP).mean(),
    "groupby_bins": lambda x: (x - DARK).groupby_bins("pulse", 2).mean(),
    "chain": lambda x: ((x - DARK) * GAIN).where(GOOD).mean(("train", "pulse")),
}
SLOW_SUMS = {"f": 2e-6, "i": 0, "u": 0, "b": 0}  # float32 in memory adds in float32


def equal(got, want, rtol=0.0):
    assert got.dims == want.dims
    # The mean of everything was float64 in older versions of xarray.
    assert got.dtype == want.dtype or not got.ndim
    assert got.attrs == want.attrs
    xr.testing.assert_identical(got.coords.to_dataset(), want.coords.to_dataset())
    if rtol:
        np.testing.assert_allclose(got.values, want.values, rtol=rtol, atol=1e-4)
    else:
        np.testing.assert_array_equal(got.values, want.values)


def in_memory(function, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(x)


@pytest.mark.parametrize("chunks", [(3, 5, 3, 4, 6), (7, 2, 1, 3, 5)])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_numbers_are_numpys_and_the_recipe_stays(name, chunks, no_compute):
    function, streams = ELEMENTWISE[name]
    x, full = frames(chunks=chunks)
    with no_compute():
        got, again = function(x), function(x)
    assert (getattr(got.data, "node", None) is not None) == streams
    assert got.data.name == again.data.name
    equal(got, in_memory(function, full))


@pytest.mark.parametrize("name", [n for n, (_, s) in ELEMENTWISE.items() if s])
def test_selection_after_arithmetic_reaches_the_reader(name):
    function, _ = ELEMENTWISE[name]
    x, full = frames(missing=())
    where = {"module": slice(1, 2), "slow_scan": slice(1, 3), "pulse": slice(0, 2)}
    got = function(x).isel(where)
    train = {"train", "shot"} & set(got.dims)
    got = got.isel({train.pop(): [0, 3, 4]})
    READ.clear()
    values = got.values
    most = 3 * 2 * 1 * 2 * 6 * 4
    # Some read another frame besides, for every frame or once.
    assert sum(READ) <= (2 * most if name in BESIDES else most)
    want = in_memory(function, full).isel(where)
    train = {"train", "shot"} & set(want.dims)
    np.testing.assert_array_equal(values, want.isel({train.pop(): [0, 3, 4]}).values)


BESIDES = {"x - its first train", "differences of trains", "x of x"}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_read_every_frame_once(name, no_compute):
    function = REDUCTIONS[name]
    x, full = frames()
    with no_compute():
        got = function(x)
    READ.clear()
    got.compute()
    assert sum(READ) == full.nbytes - PULSES * 24 * 4
    equal(got, in_memory(function, full), rtol=SLOW_SUMS[got.dtype.kind])


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "i8", "f8"])
@pytest.mark.parametrize("name", ["Python's numbers", "x - map", "where(x > n)",
                                  "astype(bool)", "x // n % n", "isnull", "clip",
                                  "comparisons", "xr.where(x)", "x ** 2"])  # fmt: skip
def test_other_dtypes_are_promoted_as_by_numpy(name, dtype):
    function, _ = ELEMENTWISE[name]
    x, full = frames(dtype)
    equal(function(x), in_memory(function, full))


@pytest.mark.parametrize("dtype", ["u2", "i4", "f8"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_other_dtypes(name, dtype):
    function = REDUCTIONS[name]
    x, full = frames(dtype)
    got, want = function(x), in_memory(function, full)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.values, want.values, rtol=1e-12, atol=1e-12)


PLANNED = """
import dask
dask.config.set({"array.query-planning": True})
import dask.array as da, xarray as xr
from xfelred import errors
from xfelred.lazy import Const, planned
import numpy as np
try:
    planned(Const(np.zeros(2), ("train",), "t"), {"train": (2,)})
except errors.SchedulerError as error:
    print(error)
try:
    xr.DataArray(da.ones(4), dims="train").mean("train").compute()
except NotImplementedError:
    print("nor xarray")
"""


@pytest.mark.slow
def test_arrays_that_plan_queries_are_refused_in_one_clear_error():
    code = [sys.executable, "-c", PLANNED]
    found = subprocess.run(code, capture_output=True, text=True, check=True).stdout
    if "query" not in found:
        pytest.skip("this dask has no such arrays")
    assert "DASK_ARRAY__QUERY_PLANNING=False" in found


# Set when dask.array is imported already, it changes nothing; dask says so.
@pytest.mark.filterwarnings("ignore:The 'array.query-planning' config")
@pytest.mark.parametrize("name", [*ELEMENTWISE, *REDUCTIONS])
def test_what_streams_does_so_with_query_planning_set(name):
    function, streams = ELEMENTWISE.get(name) or (REDUCTIONS[name], None)
    x, _ = frames()
    want = function(x).data
    with dask.config.set({"array.query-planning": True}):
        got = function(x).data
        assert got.name == want.name
        if streams is not None:
            assert (getattr(got, "node", None) is not None) == streams


OPERANDS = [2, -1.5, np.float32(0.25), DARK, DARK8, GAIN, CELL, "first train", "itself"]
BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.fmod, np.less]
UNARY = [np.abs, np.sqrt, np.negative, np.square, np.isfinite, np.floor]
STEPS = st.one_of(
    st.tuples(st.sampled_from(BINARY), st.sampled_from(range(len(OPERANDS))),
              st.booleans()),
    st.tuples(st.sampled_from(UNARY)),
    st.tuples(st.just("where"), st.sampled_from(["GOOD", "EACH", "itself"])),
    st.tuples(st.just("fillna"), st.sampled_from([0, -1.0])),
    st.tuples(st.just("clip"), st.integers(-5, 0), st.integers(1, 120)),
    st.tuples(st.just("astype"), st.sampled_from(["f4", "f8"])),
    st.tuples(st.just("isel"), st.sampled_from(DIMS), st.integers(0, 2)),
    st.tuples(st.just("slice"), st.sampled_from(DIMS), st.integers(0, 2),
              st.integers(1, 2)),
    st.tuples(st.just("transpose"), st.permutations(DIMS)),
)  # fmt: skip
ENDS = st.tuples(
    st.sampled_from(["", "mean", "sum", "std", "max", "count", "any"]),
    st.sets(st.sampled_from(DIMS), min_size=1),
    st.booleans(),
)


def operand_of(x, i):
    found = OPERANDS[i]
    if isinstance(found, str):
        return x.isel(train=0, missing_dims="ignore") if found == "first train" else x
    return found


def step_of(x, step):
    function, *rest = step
    if not isinstance(function, str):
        if not rest:
            return function(x)
        other = operand_of(x, rest[0])
        if isinstance(other, xr.DataArray):
            # An operand does not bring back what was selected away.
            other = other.isel({d: 0 for d in other.dims if d not in x.dims})
            same = {d: slice(0, n) for d, n in x.sizes.items() if d in other.dims}
            other = other.isel(same)
            same = {d: slice(0, other.sizes[d]) for d in other.dims}
            x = x.isel(same)
        return function(other, x) if rest[1] else function(x, other)
    if function == "where":
        mask = {"GOOD": GOOD, "EACH": EACH, "itself": x > 1}[rest[0]]
        mask = mask.isel({d: 0 for d in mask.dims if d not in x.dims})
        size = {d: min(mask.sizes[d], x.sizes[d]) for d in mask.dims}
        same = {d: slice(0, n) for d, n in size.items()}
        return x.isel(same).where(mask.isel(same))
    if function in ("isel", "slice"):
        if rest[0] not in x.dims:
            return x
        if function == "isel":
            return x.isel({rest[0]: min(rest[1], x.sizes[rest[0]] - 1)})
        return x.isel({rest[0]: slice(rest[1], None, rest[2])})
    if function == "transpose":
        return x.transpose(*rest[0], missing_dims="ignore")
    return getattr(x, function)(*rest)


def chain(x, steps, end):
    for step in steps:
        if x.dtype == bool and step[0] in (np.subtract, np.negative):
            continue
        # Operands of other length along an axis are no question here.
        if 0 in x.shape:
            break
        x = step_of(x, step)
    name, dims, skipna = end
    dims = [d for d in x.dims if d in dims]
    if not name or not dims or 0 in x.shape:
        return x, False
    if name in ("count", "any"):
        return getattr(x, name)(dims), False
    if x.dtype == bool:
        return x.sum(dims), False
    # Of float64, so that both add up alike.
    return getattr(x.astype("f8"), name)(dims, skipna=skipna), name != "max"


@given(st.lists(STEPS, max_size=6), ENDS, st.sampled_from(["f4", "f8", "i4"]))
def check_chain(steps, end, dtype):
    x, full = frames(dtype)
    want, adds_up = in_memory(lambda v: chain(v, steps, end), full)
    got, _ = chain(x, steps, end)
    assert (got.dtype, got.dims) == (want.dtype, want.dims)
    with dask.config.set(scheduler="sync"), np.errstate(all="ignore"):
        values = got.values
    if adds_up:
        scale = float(np.nanmax(np.abs(want.where(np.isfinite(want), 0)), initial=1))
        np.testing.assert_allclose(values, want.values, rtol=1e-9, atol=1e-9 * scale)
    else:
        np.testing.assert_array_equal(values, want.values)


@pytest.mark.parametrize("n", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_random_chains_give_the_same_as_numpy(n):
    settings(
        max_examples=n,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        # To make an example smaller takes minutes here.
        phases=[Phase.explicit, Phase.generate],
    )(check_chain)()


def test_a_difference_of_unsigned_frames_may_wrap_and_says_so():
    x, full = frames("u2")
    with pytest.warns(UserWarning, match="wraps round to 65535"):
        got = x - x.isel(train=0)
    np.testing.assert_array_equal(got.values, full.values - full.values[0])
    x.astype("i4") - x.isel(train=0).astype("i4")
    x - DARK


def test_operands_may_change_after_building():
    x, full = frames()
    dark = DARK.copy()
    got = x - dark
    dark[:] = 0
    np.testing.assert_array_equal(got.values, (full - DARK).values)


def test_in_place_operators_rebind_as_xarray_does():
    x, full = frames()
    y = x.copy()
    y -= DARK
    y *= GAIN
    assert isinstance(y.data, PlannedArray)
    np.testing.assert_array_equal(y.values, ((full - DARK) * GAIN).values)
    np.testing.assert_array_equal(x.values, full.values)


def test_out_receives_numbers_and_recipe():
    x, full = frames()
    out = (x * 0).data
    assert np.add(x.data, 1, out=out) is out
    np.testing.assert_array_equal(out[2:4].compute(), full.values[2:4] + 1)
    # dask works this out; a recipe would still tell the numbers of before.
    np.add(x.data, 2, out=out, where=x.data > 100)
    want = np.add(full.values, 2, out=full.values + 1, where=full.values > 100)
    got = out[2:4].compute()
    there = full.values[2:4] > 100
    np.testing.assert_array_equal(got[there], want[2:4][there])


def test_equal_numbers_of_other_types_are_other_operands():
    x, full = frames("u2")
    got = [(x + n) * 2 for n in (1, 1.0, True, np.uint8(1), np.float64(1))]
    want = [(full + n) * 2 for n in (1, 1.0, True, np.uint8(1), np.float64(1))]
    assert [g.dtype for g in got] == [w.dtype for w in want]
    both = (x + 1) * (x + 1.0)
    np.testing.assert_array_equal(both.values, ((full + 1) * (full + 1.0)).values)
    negative = xr.where(x > 0, 0.0, 1.0) / -0.0, xr.where(x > 0, 0.0, 1.0) / 0.0
    assert negative[0].data.name != negative[1].data.name


def test_what_happens_often_does_not_grow():
    x, full = frames()
    for _ in range(40):
        x, full = x + x, full + full
    assert len(x.data.node.args) == 1
    assert len(x.data.node.params["steps"]) == 40
    np.testing.assert_array_equal(x.isel(train=1).values, full.isel(train=1).values)


@pytest.mark.parametrize("other", [
    np.ma.masked_greater(DARK.values, 101),
    dask.array.ones(PIXELS, chunks=2).astype("m8[s]"),
    np.ones(PIXELS, "M8[s]").astype("m8[s]"),
    np.ones(PIXELS, object),
], ids=["masked", "lazy time", "time", "object"])  # fmt: skip
def test_operands_that_mean_more_are_left_to_dask(other):
    x, full = frames()
    got = x.data * other
    assert not isinstance(got, PlannedArray)
    want = full.values * np.asarray(other) if other.dtype != "m8[s]" else None
    if want is not None and not isinstance(other, np.ma.MaskedArray):
        np.testing.assert_array_equal(got.compute().astype("f8"), want.astype("f8"))


def test_errors_are_those_of_numpy():
    x, full = frames("u2")
    for function in (lambda v: v + 70000, lambda v: v & 1.5):
        # What numpy takes depends on its version.
        try:
            want = function(full.values)
        except (OverflowError, TypeError) as error:
            with pytest.raises(type(error)):
                function(x.data)
        else:
            np.testing.assert_array_equal(function(x.data).compute(), want)
    with pytest.raises(ValueError, match="broadcast"):
        x.data + np.ones((3, 7))


@pytest.mark.parametrize("function", [
    lambda v: np.isclose(v, 100, 0.01),
    lambda v: np.nan_to_num(v, True),
    lambda v: np.clip(v, 98, 102, None),
    lambda v: np.mean(v, 0, "f8"),
    lambda v: v.mean(0, "f8"),
    lambda v: v.sum(1, None),
    lambda v: np.zeros_like(v, "f8", "K"),
])  # fmt: skip
def test_arguments_by_position_are_those_of_numpy(function):
    x, full = frames(missing=())
    np.testing.assert_allclose(
        np.asarray(function(x.data)), function(full.values), 2e-6
    )
