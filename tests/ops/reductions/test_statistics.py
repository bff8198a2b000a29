"""Statistics against numpy, for any chunks, dims and kind of array."""

import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from memory_files import make_plan

from xfelred import open_run, ops
from xfelred.lazy import Source, planned

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
ALL = ("mean", "std", "var", "sem", "count", "sum", "min", "max")
REDUCED = [
    ("train",), ("train", "pulse"), ("pulse",), ("slow_scan", "fast_scan"),
    ("module", "slow_scan", "fast_scan"), ("train", "module"), DIMS,
]  # fmt: skip
CHUNKS = [(3, 5, 3, 4, 6), (1, 1, 1, 4, 6), (7, 5, 3, 4, 6), (2, 2, 2, 2, 3)]


def frames_of(values, chunks=None):
    coords = {"train": np.arange(len(values)) + 100}
    frames = xr.DataArray(values, dims=DIMS, coords=coords)
    return (
        frames if chunks is None else frames.chunk(dict(zip(DIMS, chunks, strict=True)))
    )


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(1)
    x = rng.normal(5000, 3, (7, 5, 3, 4, 6)).astype("f4")
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, :, 1, 2, 2] = np.nan  # a pixel without any value
    return x


def expected(values, axes):
    x = values.astype("f8")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        n = np.isfinite(x).sum(axes)
        return {
            "mean": np.nanmean(x, axes), "std": np.nanstd(x, axes),
            "var": np.nanvar(x, axes), "count": n, "sum": np.nansum(x, axes),
            "sem": np.sqrt(np.nanvar(x, axes, ddof=1) / n),
            "min": np.nanmin(x, axes), "max": np.nanmax(x, axes),
        }  # fmt: skip


@pytest.mark.parametrize("dims", REDUCED)
@pytest.mark.parametrize("chunks", [None, *CHUNKS])
def test_statistics_equal_numpy(values, dims, chunks):
    got = ops.statistics(frames_of(values, chunks), dims, which=ALL).compute()
    axes = tuple(DIMS.index(d) for d in dims)
    for name, want in expected(values, axes).items():
        np.testing.assert_allclose(got[name].values, want, rtol=1e-9, err_msg=name)
        assert got[name].dims == tuple(d for d in DIMS if d not in dims)


@pytest.mark.parametrize("dims", REDUCED[:3])
def test_other_chunks_agree_to_rounding(values, dims):
    first = ops.statistics(frames_of(values), dims, which=ALL).compute()
    for chunks in CHUNKS:
        other = ops.statistics(frames_of(values, chunks), dims, which=ALL).compute()
        for name in ALL:
            np.testing.assert_allclose(
                other[name], first[name], rtol=1e-12, err_msg=name
            )


def test_same_bits_on_any_scheduler(agipd_run):
    result = ops.statistics(open_run(agipd_run.directory).frames(), "train", which=ALL)
    runs = []
    for options in (
        {"scheduler": "synchronous"},
        {"scheduler": "threads", "num_workers": 1},
        {"scheduler": "threads", "num_workers": 4},
        {"scheduler": "processes", "num_workers": 1},
    ):
        with dask.config.set(**options):
            runs.append(result.compute())
    for other in runs[1:]:
        for name in ALL:
            assert other[name].values.tobytes() == runs[0][name].values.tobytes()


def test_building_computes_nothing(values, no_compute):
    bad = xr.DataArray(np.zeros((3, 4, 6), bool), dims=DIMS[2:]).chunk()
    with no_compute():
        out = ops.statistics(frames_of(values, CHUNKS[0]), bad_pixels=bad, which=ALL)
    assert all(v.chunks is not None for v in out.data_vars.values())


def test_integers_are_exact_and_their_sum_is_an_integer():
    rng = np.random.default_rng(2)
    x = rng.integers(0, 65535, (7, 5, 3, 4, 6)).astype("u2")
    got = ops.statistics(
        frames_of(x, CHUNKS[3]), ("train", "pulse"), which=ALL
    ).compute()
    assert got["sum"].dtype == np.int64
    np.testing.assert_array_equal(got["sum"], x.sum((0, 1), dtype=np.int64))
    np.testing.assert_allclose(got["var"], x.var((0, 1), dtype="f8"), rtol=1e-12)


@pytest.mark.parametrize("kind", ["bool", "bits", "per frame", "lazy per frame"])
def test_bad_pixels_are_left_out(values, kind):
    rng = np.random.default_rng(3)
    if "frame" in kind:
        bad = frames_of(values).copy(data=rng.random(values.shape) < 0.3)
        full = bad.values
    else:
        bad = xr.DataArray(rng.random((3, 4, 6)) < 0.3, dims=DIMS[2:])
        full = np.broadcast_to(bad.values, values.shape)
    if kind == "bits":
        bad = bad.astype("u4") * 4
    if kind == "lazy per frame":
        bad = bad.chunk({"train": 2})
    got = ops.statistics(
        frames_of(values, CHUNKS[0]), bad_pixels=bad, which=ALL
    ).compute()
    want = expected(np.where(full, np.nan, values), (0,))
    for name in ALL:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-9, err_msg=name)


def test_bad_pixels_of_integers_are_left_out():
    x = np.arange(7 * 5 * 3 * 4 * 6, dtype="u2").reshape(7, 5, 3, 4, 6)
    bad = xr.zeros_like(frames_of(x), bool).compute()
    bad[2] = True
    got = ops.statistics(
        frames_of(x), bad_pixels=bad, which=("mean", "count")
    ).compute()
    np.testing.assert_allclose(got["mean"], np.delete(x, 2, axis=0).mean(0))
    assert (got["count"] == 6).all()


def test_frames_that_were_not_recorded_do_not_count():
    x = np.full((4, 2, 2, 3, 3), 7, "u2")
    x[1, :, 0] = 0  # module 0 absent in train 1, filled with 0
    x[3, 1] = 0  # train 3 lacks pulse 1
    frames = frames_of(x, (2, 2, 2, 3, 3)).assign_coords(
        available=(
            ("train", "module"),
            np.array([[1, 1], [0, 1], [1, 1], [1, 1]], bool),
        ),
        recorded=(("train", "pulse"), np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)),
    )
    got = ops.statistics(frames, ("train", "pulse"), which=("mean", "count")).compute()
    assert (got["mean"] == 7).all()
    np.testing.assert_array_equal(got["count"][:, 0, 0], [5, 7])


def test_mean_alone_needs_no_variance(values):
    out = ops.statistics(frames_of(values, CHUNKS[0]), ("train",), which=ALL)
    (mean,) = dask.optimize(out["mean"])
    keys = [str(k) for k in mean.data.dask]
    assert any("'mean'" in k for k in keys)
    assert not any("std" in k or "max" in k for k in keys)


def test_streaming_and_blocks_give_the_same_numbers():
    plan = make_plan("s", 9, 4, 2)
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    frames = xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)
    for dims in REDUCED:
        stream = ops.statistics(frames, dims, which=ALL).compute()
        blocks = ops.statistics(frames + 0, dims, which=ALL).compute()
        for name in ALL:
            np.testing.assert_allclose(stream[name], blocks[name], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 70), st.integers(1, 5)),
        elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan),
    ),
    st.sampled_from([(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)]),
)
def test_any_shape_agrees_with_numpy(x, axes):
    da = xr.DataArray(x, dims=("a", "b", "c"))
    got = ops.statistics(da, [("a", "b", "c")[i] for i in axes], which=ALL).compute()
    want = expected(x, axes)
    scale = np.nanmax(np.abs(x.astype("f8")), initial=1.0)
    for name in ("mean", "count", "sum", "min", "max"):
        np.testing.assert_allclose(
            got[name], want[name], rtol=1e-12, atol=1e-12 * scale * x.size
        )
    np.testing.assert_allclose(
        got["var"], want["var"], rtol=1e-9, atol=1e-12 * scale**2
    )


def test_history_units_and_names(values):
    frames = frames_of(values)
    frames.attrs["units"] = "adu"
    out = ops.statistics(frames)
    assert out["mean"].attrs["units"] == "adu"
    assert out["count"].attrs["units"] == "1"
    assert out["mean"].dtype == np.float64
    assert out["count"].dtype == np.int64
    assert out.attrs["history"].startswith('statistics {"bad_pixels": null, "ddof": 0')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": "nope"}, "no dim 'nope'"),
        ({"which": ("median",)}, "which='median' must be one of 'mean', 'std'"),
        ({"which": ()}, "cannot be computed"),
        ({"bad_pixels": xr.DataArray([1], dims="other")}, "bad_pixels has dims"),
    ],
)
def test_wrong_arguments_are_refused(values, arguments, message):
    with pytest.raises(ValueError, match=message):
        ops.statistics(frames_of(values), **arguments)


def test_no_frames_in_memory_give_empty_statistics():
    # Large enough that dask would choose chunks of its own.
    empty = xr.DataArray(
        np.zeros((0, 6, 2, 512, 128), "f4"),
        dims=("train", "pulse", "module", "slow_scan", "fast_scan"),
    )
    found = ops.statistics(empty, dim=("train", "pulse")).compute()
    assert (found["count"] == 0).all()
    assert found["mean"].isnull().all()
