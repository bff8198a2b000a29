import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops

PIXELS = ("module", "slow_scan", "fast_scan")


def run_like(n=40, seed=3, dtype=np.float32, lazy=None, nan=()):
    r = np.random.default_rng(seed)
    images = r.normal(10, 3, (n, 1, 2, 3, 4))
    images = images.astype(dtype)
    for place in nan:
        images[place] = np.nan
    da = xr.DataArray(
        images, dims=("train", "pulse", *PIXELS), name="frames",
        coords={
            "train": 1000 + 3 * np.arange(n), "pulse": [0],
            "delay": ("train", r.uniform(-2, 2, n), {"units": "ps"}),
            "stage": ("train", r.integers(0, 4, n).astype(float)),
        },
    )  # fmt: skip
    return da if lazy is None else da.chunk({"train": lazy})


def slowly(values, labels, n_bins):
    """Sum, count, mean, var and sem per bin, one frame after the other."""
    out = {}
    for k in range(n_bins):
        taken = np.stack([v for v, lab in zip(values, labels, strict=True) if lab == k])
        n = np.isfinite(taken).sum(0)
        total = np.nansum(taken.astype(float), 0)
        mean = total / n
        var = np.nansum((taken - mean) ** 2, 0) / n
        sem = np.sqrt(var * n / (n - 1) / n)
        out[k] = {"sum": total, "count": n, "mean": mean, "var": var, "sem": sem}
    return out


EDGES = [-2.0, -1.0, 0.25, 1.0, 2.0]


@pytest.mark.parametrize("lazy", [None, 1, 7, 40])
def test_all_quantities_equal_a_slow_loop(lazy):
    da = run_like(lazy=lazy, nan=[(3, 0, 1, 2, 3)])
    labels = np.digitize(da.delay, EDGES) - 1
    every = ops.bin_frames(
        da, {"delay": xf.Bins(edges=EDGES)},
        quantities=("sum", "count", "mean", "var", "sem"),
    ).compute()  # fmt: skip
    expected = slowly(da.values[:, 0], labels, 4)
    for k in range(4):
        for q, value in expected[k].items():
            got = every[f"frames_{q}"].values[k]
            np.testing.assert_allclose(got, value, rtol=1e-6 if q != "sum" else 1e-9)
    assert int(every.frames_count.sum()) == 40 * 24 - 1
    assert every.frames_sum.dims == ("delay", *PIXELS)
    assert every.frames_sum.dtype == np.float64
    assert every.frames_count.dtype == np.int64
    assert every.n_shots.values.tolist() == np.bincount(labels).tolist()
    np.testing.assert_allclose(every.delay, np.convolve(EDGES, [0.5, 0.5], "valid"))
    assert every.delay_edges.values.tolist() == EDGES
    assert every.delay.attrs["units"] == "ps"


def test_two_axes_are_row_major_and_shots_outside_are_counted():
    da = run_like(60, lazy=9)
    by = {"stage": xf.Bins(unique=True), "delay": xf.Bins(edges=[-1, 0, 1])}
    got = ops.bin_frames(da, by).compute()
    assert got.frames_mean.dims == ("stage", "delay", *PIXELS)
    assert got.stage.values.tolist() == [0, 1, 2, 3]
    outside = 0
    for i, stage in enumerate(got.stage.values):
        for j, (lo, hi) in enumerate([(-1, 0), (0, 1)]):
            taken = (da.stage == stage) & (da.delay >= lo) & (da.delay < hi)
            assert got.n_shots.values[i, j] == int(taken.sum())
            mean = da.values[taken.values][:, 0].astype(float).mean(0)
            np.testing.assert_allclose(got.frames_mean.values[i, j], mean, rtol=1e-9)
    outside = int(((da.delay < -1) | (da.delay >= 1)).sum())
    assert got.attrs["n_outside"] == outside


def test_where_is_joined_by_id():
    da = run_like()
    r = np.random.default_rng(0)
    order = r.permutation(40)[:30]  # some IDs are absent, the rest in another order
    where = xr.DataArray(r.random(30) > 0.4, {"train": da.train.values[order]}, "train")
    with pytest.warns(UserWarning, match="where: no value for 10 of 40 train IDs"):
        got = ops.bin_frames(da, {}, where=where)
    taken = np.isin(da.train, where.train.values[where.values])
    assert got.n_shots.values.tolist() == [taken.sum()]
    assert got.frames_sum.dims == ("all", *PIXELS)
    np.testing.assert_allclose(
        got.frames_mean[0], da.values[taken][:, 0].astype(float).mean(0), rtol=1e-9
    )


def test_values_of_bins_are_joined_by_id():
    da = run_like(12)
    mine = xr.DataArray(
        np.arange(12.0)[::-1], {"train": da.train.values[::-1]}, "train"
    )
    got = ops.bin_frames(da, {"x": xf.Bins(edges=[0, 6, 12], values=mine)})
    np.testing.assert_allclose(
        got.frames_sum[0], da.values[:6, 0].sum(0, dtype=float), rtol=1e-9
    )


def test_skipna_false_propagates_and_counts_frames():
    da = run_like(10, nan=[(2, 0, 0, 0, 0)])
    got = ops.bin_frames(da, {}, skipna=False)
    assert got.frames_count.dims == ("all",)
    assert got.frames_count.values.tolist() == [10]
    assert np.isnan(got.frames_mean.values[0, 0, 0, 0])
    assert np.isfinite(got.frames_mean.values[0, 0, 0, 1])


def test_integers_sum_as_integers():
    da = run_like(10, dtype=np.uint16, lazy=3)
    got = ops.bin_frames(da, {"stage": xf.Bins(edges=[0, 2, 4, 9])}).compute()
    assert got.frames_sum.dtype == np.int64
    assert int(got.frames_sum[:2].sum()) == int(da.sum())
    assert got.n_shots.values[2] == 0
    assert np.isnan(got.frames_mean[2]).all()
    assert (got.frames_count[2] == 0).all()


def test_empty_bins():
    got = ops.bin_frames(run_like(10), {"delay": xf.Bins(edges=[-2, 2, 5])})
    assert got.n_shots.values.tolist() == [10, 0]
    assert (got.frames_count[1] == 0).all()
    for q in ("sum", "mean", "var"):
        assert np.isnan(got[f"frames_{q}"][1]).all()


def test_compat_is_strict_at_the_first_edge_and_has_the_outlier_bin():
    x = xr.DataArray([1.0, 1.0, 1.5, 2.0], dims="train")
    da = xr.DataArray([1.0, 2, 3, 4], dims="train", coords={"x": x})
    plain = ops.bin_frames(da, {"x": xf.Bins(edges=[1, 1.5, 3])})
    assert plain.n_shots.values.tolist() == [2, 2]
    strict = ops.bin_frames(da, {"x": xf.Bins(edges=[1, 1.5, 3])}, compat=True)
    assert np.isnan(strict.n_shots.values[0])
    assert strict.n_shots.values[1] == 2
    assert np.isnan(strict.frames_count.values[0])
    unique = ops.bin_frames(da, {"x": xf.Bins(unique=True)}, compat=True)
    assert unique.x.values.tolist() == [0.5, 1.0, 1.5, 2.0]
    np.testing.assert_array_equal(unique.n_shots, [np.nan, 2, 1, 1])
    np.testing.assert_array_equal(unique.frames_sum, [np.nan, 3, 3, 4])


def test_a_dataset_of_scalars_keeps_other_axes():
    r = np.random.default_rng(1)
    ds = xr.Dataset(
        {
            "ipm2/sum": ("train", r.normal(5, 1, 20)),
            "diode/ch": (("train", "diode__ch_dim0"), r.normal(0, 1, (20, 3))),
            "x": ("train", np.repeat([1.0, 2.0], 10)),
        },
        coords={"train": np.arange(20)},
    )
    got = ops.bin_frames(ds, {"x": xf.Bins(unique=True)})
    assert got["ipm2__sum_mean"].dims == ("x",)
    assert got["diode__ch_sum"].dims == ("x", "diode__ch_dim0")
    np.testing.assert_allclose(
        got["diode__ch_sum"][1], ds["diode/ch"][10:].sum("train")
    )
    assert got["x_mean"].values.tolist() == [1.0, 2.0]


def test_pulses_count_as_shots_and_may_have_bins_of_their_own():
    r = np.random.default_rng(2)
    da = xr.DataArray(
        r.normal(size=(6, 4, 2)), dims=("train", "pulse", "fast_scan"),
        coords={"train": np.arange(6), "pulse": [0, 2, 4, 6],
                "e": (("train", "pulse"), r.random((6, 4)))},
    )  # fmt: skip
    got = ops.bin_frames(da.chunk({"train": 2}), {"e": xf.Bins(edges=[0, 0.5, 1])})
    low = da.values[da.e.values < 0.5]
    assert got.n_shots.values.tolist() == [len(low), 24 - len(low)]
    np.testing.assert_allclose(got.frames_mean[0], low.mean(0))
    per_pulse = xr.DataArray([1.0, 0, 1, 0], {"pulse": [0, 2, 4, 6]}, "pulse")
    laser = ops.bin_frames(da, {"laser": xf.Bins(unique=True, values=per_pulse)})
    assert laser.n_shots.values.tolist() == [12, 12]
    np.testing.assert_allclose(laser.frames_sum[1], da.values[:, ::2].sum((0, 1)))


def test_layout_frame_is_joined_by_train_id():
    da = xr.DataArray(
        np.arange(5.0), dims="frame",
        coords={
            "train": ("frame", [7, 7, 9, 11, 11]), "pulse": ("frame", [0, 1, 0, 0, 2])
        },
    )  # fmt: skip
    x = xr.DataArray([0.5, 1.5, 0.5], {"train": [7, 9, 11]}, "train")
    where = xr.DataArray([True, True], {"train": [7, 11]}, "train")
    bins = xf.Bins(edges=[0, 1, 2], values=x)
    with pytest.warns(UserWarning, match="where: no value for 1 of 5 train IDs"):
        got = ops.bin_frames(da, {"x": bins}, where=where)
    assert got.n_shots.values.tolist() == [4, 0]
    assert got.frames_sum.values[0] == 0 + 1 + 3 + 4


def test_shots_without_data_are_left_out():
    da = run_like(8, dtype=np.uint16)
    here = np.ones((8, 2), bool)
    here[1] = False
    here[4, 0] = False
    da = da.assign_coords(available=(("train", "module"), here))
    got = ops.bin_frames(da.chunk({"train": 3}), {}).compute()
    assert (got.frames_count[0, 0] == 6).all()
    assert (got.frames_count[0, 1] == 7).all()
    kept = [0, 2, 3, 5, 6, 7]
    np.testing.assert_allclose(got.frames_sum[0, 0], da.values[kept, 0, 0].sum(0))


def test_nan_in_a_bin_variable_is_outside():
    da = run_like(10)
    da.delay[[0, 4]] = np.nan
    got = ops.bin_frames(da, {"delay": xf.Bins(edges=[-2, 2])})
    assert got.n_shots.values.tolist() == [8]
    assert got.attrs["n_outside"] == 2


def test_building_computes_nothing(no_compute):
    ops.bin_frames(run_like(lazy=4), {"delay": xf.Bins(n=3, range=(-2, 2))})


def test_no_bin_is_hit_and_no_shot():
    got = ops.bin_frames(run_like(lazy=4), {"delay": xf.Bins(edges=[50, 60])}).compute()
    assert got.n_shots.values.tolist() == [0]
    assert np.isnan(got.frames_mean).all()
    empty = run_like(lazy=4)[:0]
    got = ops.bin_frames(empty, {"delay": xf.Bins(edges=[50, 60])}).compute()
    assert got.n_shots.values.tolist() == [0]


@pytest.mark.parametrize(
    ("by", "error", "words"),
    [
        ({"dela": xf.Bins(edges=[0, 1])}, xf.ConfigError, "Did you mean 'delay'"),
        ({"delay": [0, 1]}, xf.ConfigError, "must be xfelred.Bins"),
        (
            {"x": xf.Bins(edges=[0, 1], values=xr.DataArray([1, 2], dims="train"))},
            xf.ConfigError, "has no train IDs",
        ),
        (
            {"x": xf.Bins(edges=[0, 1], values=xr.DataArray(np.zeros(3), dims="y"))},
            xf.ConfigError, "one value per shot",
        ),
    ],
)  # fmt: skip
def test_bad_axes(by, error, words):
    with pytest.raises(error, match=words):
        ops.bin_frames(run_like(), by)


def test_bad_options():
    with pytest.raises(ValueError, match=r"unknown quantity 'men'.*'mean'"):
        ops.bin_frames(run_like(), {}, quantities=("men",))
    with pytest.raises(ValueError, match="where must be a bool"):
        ops.bin_frames(run_like(), {}, where=xr.DataArray(np.zeros(40), dims="train"))


@pytest.mark.parametrize(
    ("bins", "edges"),
    [
        (xf.Bins(start=-1, stop=1, step=0.1), np.linspace(-1, 1, 21)),
        (xf.Bins(start=0, stop=1, step=0.3), [0, 0.3, 0.6, 0.9]),
        (xf.Bins(centres=[1, 2, 4]), [0.5, 1.5, 3, 5]),
        (xf.Bins(n=4, range=(0, 2)), [0, 0.5, 1, 1.5, 2]),
    ],
)
def test_forms_of_bins(bins, edges):
    np.testing.assert_allclose(bins.resolve().edges, edges, atol=1e-12)


def test_unique_and_quantile_bins():
    v = np.array([3.0, 1.0, 1.004, np.nan, 2.0, 3.001])
    assert xf.Bins(unique=True, tolerance=0.01).resolve(v).positions.tolist() == [
        1,
        2,
        3,
    ]
    one = xf.Bins(unique=True).resolve([5.0, 5.0])
    assert one.labels(np.array([5.0])).tolist() == [0]
    q = xf.Bins(quantiles=[0, 25, 50, 75, 100]).resolve(np.arange(101.0))
    np.testing.assert_allclose(q.edges, [0, 25, 50, 75, 100])
    assert q.labels(np.array([100.0])).tolist() == [3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "exactly one"),
        ({"edges": [0, 1], "unique": True}, "exactly one"),
        ({"edges": [0, 0, 1]}, "must rise, but 0 is followed by 0"),
        ({"edges": [0]}, "at least 2"),
        ({"centres": [1]}, "at least 2"),
        ({"start": 1, "stop": 0, "step": 1}, "not after start"),
        ({"start": 0, "stop": 1}, "go together"),
        ({"start": 0, "stop": 1, "step": 0}, "makes no bin"),
        ({"n": 3}, "range"),
        ({"n": 0, "range": (0, 1)}, "makes no bins"),
        ({"edges": [0, 1], "tolerance": 1}, "tolerance"),
        ({"quantiles": [0, 120]}, "0 to 100"),
    ],
)
def test_bad_bins(options, words):
    with pytest.raises(xf.ConfigError, match=words):
        xf.Bins(**options).resolve(np.arange(5.0))


def test_last_edge_of_steps_is_stop_itself():
    edges = xf.Bins(start=0, stop=0.3, step=0.1).resolve().edges
    assert edges[-1] == 0.3  # 3 * 0.1 is more
    da = run_like(4).assign_coords(x=("train", [0.0, 0.1, 0.29, 0.3]))
    got = ops.bin_frames(da, {"x": xf.Bins(start=0, stop=0.3, step=0.1)})
    assert got.n_shots.values.tolist() == [1, 1, 1]
    assert got.attrs["n_outside"] == 1
    assert xf.Bins(start=0, stop=0.35, step=0.1).resolve().edges[-1] < 0.31


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"start": 0, "stop": 1, "step": 1e-12}, "bins are too many"),
        ({"n": 10**12, "range": (0, 1)}, "bins are too many"),
        ({"quantiles": 10**12}, "bins are too many"),
        ({"quantiles": [0, 200]}, "0 to 100"),
        ({"quantiles": [-1, 50]}, "0 to 100"),
        ({"quantiles": 0}, "makes no bins"),
    ],
)
def test_numbers_that_make_no_sensible_bins(how, words):
    with pytest.raises(xf.ConfigError, match=words):
        xf.Bins(**how)


def test_errors_of_the_mean_are_there_by_default():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    da = xr.DataArray(values, dims="train", coords={"train": [3, 5, 7, 9]}, name="v")
    x = xr.DataArray([0, 0, 0, 1], dims="train", coords={"train": da.train})
    got = ops.bin_frames(da.assign_coords(x=x), {"x": xf.Bins(edges=[0, 1, 2])})
    np.testing.assert_allclose(got.v_sem[0], values[:3].std(ddof=1) / 3**0.5)
    assert np.isnan(got.v_sem[1])


def test_bins_of_one_of_several_values():
    two = np.array([[0, 5], [1, 5], [0, 6], [1, 6]])
    ds = xr.Dataset(
        {"pos": (("train", "pos_dim0"), two), "v": ("train", [1.0, 2.0, 3.0, 4.0]),
         "thin": (("train", "thin_dim0"), two[:, :1])},
        {"train": [3, 5, 7, 9]},
    )  # fmt: skip
    for name, want in (("pos[1]", [3, 7]), ("pos[0]", [4, 6]), ("thin", [4, 6])):
        got = ops.bin_frames(ds[["v", "pos", "thin"]], {name: xf.Bins(unique=True)})
        np.testing.assert_array_equal(got.v_sum, want)
    with pytest.raises(xf.ConfigError, match="pos_dim0"):
        ops.bin_frames(ds, {"pos": xf.Bins(unique=True)})


def test_tables_of_one_column_say_which_shots_and_bins():
    ids = {"train": [3, 5, 7, 9]}
    v = xr.DataArray([1.0, 2.0, 4.0, 8.0], ids, "train", "v")
    x = xr.DataArray([[0], [1], [0], [1]], ids, ("train", "c"), "x")
    where = xr.DataArray([[True], [True], [True], [False]], ids, ("train", "c"))
    got = ops.bin_frames(v, {"x": xf.Bins(unique=True, values=x)}, where=where)
    np.testing.assert_array_equal(got.v_sum, [5, 2])
    by = ops.statistics(v, "train", by=x, which=("sum",))["sum"]
    np.testing.assert_array_equal(by, [5, 10])
    np.testing.assert_array_equal(ops.normalize(v, by=x + 1), [1, 1, 4, 4])
