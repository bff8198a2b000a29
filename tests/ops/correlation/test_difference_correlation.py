"""Angular correlations of differences of shots."""

import dask
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops, pairs
from xfelred.errors import GeometryMismatchError, SelectionEmptyError
from xfelred.lazy import PlannedArray, frames, pairwise
from xfelred.ops.correlation import difference_correlation as implementation

N_PHI = 15


def polar(chunks=3, dtype="f8", bad=0.1, n=10):
    rng = np.random.default_rng(0)
    x = rng.poisson(50, (n, 3, N_PHI)).astype(dtype)
    if bad:
        x[rng.random(x.shape) < bad] = np.nan
    coords = {"train": 100 + 2 * np.arange(n), "q": ("radius", [1.0, 1.1, 1.2])}
    attrs = {"units": "photon", "history": "made {}"}
    da = xr.DataArray(x, coords, ("train", "radius", "phi"), attrs=attrs)
    return da.chunk(train=chunks) if chunks else da


def differences(da, found):
    first, second = (da.sel(train=found[:, i].values).values for i in (0, 1))
    return first.astype(float) - second.astype(float)


def by_hand(d, lead=None):
    """Sums of products and of counts (pair, ring, lag), without the means of rings."""
    d = d - np.nanmean(d, axis=-1, keepdims=True)
    leader = d if lead is None else d[:, lead, None]
    products = np.stack([np.roll(leader, -k, -1) * d for k in range(d.shape[-1])], -1)
    return np.nansum(products, axis=-2), np.isfinite(products).sum(axis=-2)


def sem_by_hand(above, below, found):
    """Standard error with the products of all pairs that share a shot, in loops.

    `above` and `below` are products and counts (pair, ...). Deviations are from the
    mean of the same pairs, which takes a part of their squares away.
    """
    mean = above.sum(0) / below.sum(0)
    d = above - mean * below
    members = [set(pair) for pair in np.asarray(found).tolist()]
    variance = np.zeros(mean.shape)
    for p, mine in enumerate(members):
        for q, other in enumerate(members):
            if mine & other:
                variance += d[p] * d[q]
    alike = [
        [pair == other for other in members]
        for pair in {frozenset(pair) for pair in members}
    ]
    variance = np.maximum(variance, sum(d[same].sum(0) ** 2 for same in alike) / 2)
    by_shot = [
        below[[shot in pair for pair in members]].sum(0) for shot in set.union(*members)
    ]
    by_pair = [below[same].sum(0) for same in alike]
    total = below.sum(0)
    left = total**2 - sum(n**2 for n in by_shot) + sum(n**2 for n in by_pair)
    return np.sqrt(variance / left)


def makers(da):
    return {
        "consecutive": pairs.consecutive(da.train),
        "disjoint": pairs.disjoint(da.train),
        "random": pairs.random(da.train, 17, seed=3),
    }


@pytest.mark.parametrize("chunks", [1, 3, 10, None])
@pytest.mark.parametrize("kind", ["consecutive", "disjoint", "random"])
@pytest.mark.parametrize("with_ring", [None, 2])
def test_mean_is_sum_over_sum_whatever_the_chunks(chunks, kind, with_ring):
    da = polar(chunks)
    found = makers(da)[kind]
    out = ops.difference_correlation(da, found, with_ring=with_ring).compute()
    above, below = by_hand(differences(da.compute(), found), with_ring)
    np.testing.assert_array_equal(out.n_pairs, below.sum(0))
    expected = above.sum(0) / below.sum(0)
    np.testing.assert_allclose(out.correlation, expected, rtol=1e-10, atol=1e-11)
    sem = sem_by_hand(above, below, found)
    if kind == "disjoint":  # pairs count alike, whatever is masked in them
        sem = (above / below).std(axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_allclose(out.sem, sem, rtol=1e-8)
    assert out.attrs["n_used"] == len(found)
    assert out.attrs["n_dropped"] == 0


@pytest.mark.parametrize("chunks", [1, 3, None])
def test_single_precision_does_not_depend_on_chunks(chunks):
    found = makers(polar())["random"]
    for reduce in ("mean", None):
        out = ops.difference_correlation(polar(chunks, "f4"), found, reduce=reduce)
        whole = ops.difference_correlation(polar(10, "f4"), found, reduce=reduce)
        xr.testing.assert_allclose(out.compute(), whole.compute(), rtol=1e-12)


@pytest.mark.parametrize("chunks", [1, 4, None])
@pytest.mark.parametrize("with_ring", [None, 1])
def test_every_pair_comes_in_the_order_of_the_list(chunks, with_ring):
    da = polar(chunks)
    listed = [(118, 100), (104, 106), (100, 102), (106, 104)]
    out = ops.difference_correlation(da, listed, reduce=None, with_ring=with_ring)
    assert out.correlation.dims == ("pair", "radius", "lag")
    assert set(out.data_vars) == {"correlation", "n_pairs"}
    np.testing.assert_array_equal(out.train, listed)
    above, below = by_hand(differences(da.compute(), np_pairs(listed)), with_ring)
    np.testing.assert_array_equal(out.n_pairs, below)
    np.testing.assert_allclose(out.correlation, above / below, rtol=1e-10, atol=1e-11)


def np_pairs(listed):
    return xr.DataArray(np.array(listed), dims=("pair", "member"))


def test_none_keeps_the_mean_and_sums_over_azimuths():
    da = polar(bad=0)
    found = pairs.consecutive(da.train)
    out = ops.difference_correlation(da, found, normalization="none")
    d = differences(da.compute(), found)
    products = np.stack([np.roll(d, -k, -1) * d for k in range(N_PHI)], -1).sum(-2)
    np.testing.assert_allclose(out.correlation, products.mean(0), rtol=1e-10, atol=1e-9)
    expected = sem_by_hand(products, np.ones_like(products), found)
    np.testing.assert_allclose(out.sem, expected, rtol=1e-8)
    apart = pairs.disjoint(da.train)
    out = ops.difference_correlation(da, apart, normalization="none")
    d = differences(da.compute(), apart)
    products = np.stack([np.roll(d, -k, -1) * d for k in range(N_PHI)], -1).sum(-2)
    expected = products.std(0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(out.sem, expected, rtol=1e-9)


def test_variance_is_1_at_lag_0_without_an_error():
    da = polar()
    for listed in (pairs.disjoint(da.train), pairs.consecutive(da.train)):
        out = ops.difference_correlation(da, listed, normalization="variance")
        np.testing.assert_allclose(out.correlation.isel(lag=0), 1)
        np.testing.assert_allclose(out.sem.isel(lag=0), 0, atol=1e-7)


@pytest.mark.parametrize("kind", ["disjoint", "consecutive"])
def test_error_of_variances_is_the_spread_of_repeated_runs(kind):
    """Every ring is a run of its own."""
    rng = np.random.default_rng(5)
    n_runs = 150
    x = rng.normal(size=(40, n_runs, 16))
    x += np.roll(x, 1, axis=2) + rng.normal(0, 0.5, (40, n_runs, 1))
    da = xr.DataArray(
        x, {"train": np.arange(40), "phi": np.arange(16) * np.pi / 8},
        ("train", "radius", "phi"),
    )  # fmt: skip
    listed = getattr(pairs, kind)(da.train)
    out = ops.difference_correlation(da, listed, normalization="variance").compute()
    means, sems = out.correlation.values[:, 1:9], out.sem.values[:, 1:9]
    ratio = np.sqrt(np.mean(np.square(sems), axis=0)) / np.std(means, axis=0)
    # 150 runs tell a spread to 6 %, eight lags of them together better.
    assert 0.9 < np.median(ratio) < 1.12


@pytest.mark.parametrize("n", [4, 10])
def test_jackknife_leaves_out_one_pair_at_a_time(n):
    da = polar(3, n=n, bad=0.3)
    found = pairs.disjoint(da.train)
    out = ops.difference_correlation(da, found, errors="jackknife")
    above, below = by_hand(differences(da.compute(), found))
    p = len(found)
    left = (above.sum(0) - above) / (below.sum(0) - below)
    expected = np.sqrt((p - 1) / p * ((left - left.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(out.sem, expected, rtol=1e-8)
    np.testing.assert_allclose(out.correlation, above.sum(0) / below.sum(0))


def test_jackknife_of_many_pairs_leaves_out_groups(monkeypatch):
    da = polar(4, n=40, bad=0)
    found = pairs.disjoint(da.train)
    exact = ops.difference_correlation(da, found).sem.values
    one_by_one = ops.difference_correlation(da, found, errors="jackknife").sem
    # Of equal counts, the jackknife is the standard error of the mean.
    np.testing.assert_allclose(one_by_one, exact, rtol=1e-9)
    monkeypatch.setattr(implementation, "GROUPS", 5)
    grouped = ops.difference_correlation(da, found, errors="jackknife").sem
    assert 0.6 < float((grouped / exact).mean()) < 1.4


@pytest.mark.parametrize("kind", ["consecutive", "random"])
@pytest.mark.parametrize("with_ring", [None, 1])
def test_jackknife_is_the_same_where_pairs_share_shots(kind, with_ring):
    da = polar()
    found = makers(da)[kind]
    options = {"with_ring": with_ring}
    for normalization in ("none", "pairs"):
        options["normalization"] = normalization
        plain = ops.difference_correlation(da, found, **options).sem
        jackknife = ops.difference_correlation(da, found, errors="jackknife", **options)
        np.testing.assert_array_equal(jackknife.sem, plain)
    options["normalization"] = "variance"
    plain = ops.difference_correlation(da, found, **options)
    jackknife = ops.difference_correlation(da, found, errors="jackknife", **options)
    np.testing.assert_array_equal(jackknife.sem, plain.sem)
    own = slice(None) if with_ring is None else with_ring
    # Of itself the correlation at lag 0 is 1 without an error.
    np.testing.assert_allclose(jackknife.sem[own][..., 0], 0, atol=1e-12)


def test_pairs_of_one_shot_with_all_others_have_no_error():
    """They tell nothing of how the mean changes from one such shot to another."""
    listed = [(100, 100 + 2 * i) for i in range(1, 10)]
    out = ops.difference_correlation(polar(), listed)
    assert np.isnan(out.sem).all()
    assert np.isfinite(out.correlation).all()


@pytest.mark.parametrize("repeated", [(118, 100), (100, 118)])
def test_a_pair_that_is_listed_twice_counts_twice(repeated):
    da = polar(bad=0)
    listed = [*pairs.consecutive(da.train).values.tolist(), (100, 118)]
    out = ops.difference_correlation(da, [*listed, repeated])
    above, below = by_hand(differences(da.compute(), np_pairs([*listed, repeated])))
    expected = sem_by_hand(above, below, np_pairs([*listed, repeated]))
    weights = np.ones(len(listed))
    weights[-1] = 2
    single = by_hand(differences(da.compute(), np_pairs(listed)))
    np.testing.assert_allclose(
        out.correlation, np.tensordot(weights / 11, single[0], 1) / N_PHI
    )
    np.testing.assert_allclose(out.sem, expected, rtol=1e-8)


def speckle(seed, n, n_phi=12):
    """Shots with the second and fourth harmonic at random, and noise."""
    rng = np.random.default_rng(seed)
    phi = 2 * np.pi * np.arange(n_phi) / n_phi - np.pi
    out = rng.normal(5, 0.3, (n, 1, n_phi))
    for order, width in ((2, 0.3), (4, 0.2)):
        real, imaginary = rng.normal(0, width, (2, n, 1, 1))
        out += real * np.cos(order * phi) + imaginary * np.sin(order * phi)
    coords = {"train": np.arange(n), "phi": phi}
    return xr.DataArray(out, coords, ("train", "radius", "phi"))


@pytest.mark.parametrize(
    ("kind", "n"),
    [
        ("random", 90),
        pytest.param("disjoint", 50, marks=pytest.mark.nightly),
        pytest.param("consecutive", 50, marks=pytest.mark.nightly),
    ],
)
def test_pulls_have_unit_width(kind, n):
    """Over many runs, as one array with a ring each: the error is that of the mean."""
    n_runs = 400
    runs = xr.concat([speckle(seed, n) for seed in range(n_runs)], "radius")
    found = makers_of(runs.train)[kind]
    out = ops.difference_correlation(runs, found).compute()
    true = out.correlation.std("radius", ddof=1)
    found = np.sqrt((out.sem**2).mean("radius"))
    # 1 / sqrt(2 * 400) = 3.5 % for each lag, which go together in part.
    assert float((found / true).mean()) == pytest.approx(1, abs=0.05)


def makers_of(train):
    return {
        "consecutive": pairs.consecutive(train),
        "disjoint": pairs.disjoint(train),
        "random": pairs.random(train, seed=3),
    }


@pytest.mark.parametrize("chunks", [7, 100, None])
def test_error_by_blocks_of_shots_does_not_depend_on_chunks(chunks):
    da = speckle(0, 100)
    found = pairs.random(da.train, 150, seed=2)
    whole = ops.difference_correlation(da, found)
    part = ops.difference_correlation(da.chunk(train=chunks) if chunks else da, found)
    np.testing.assert_allclose(part.sem, whole.sem, rtol=1e-10)


def test_one_pair_has_no_error():
    for errors in (None, "jackknife"):
        out = ops.difference_correlation(polar(), [(100, 102)], errors=errors)
        assert np.isnan(out.sem).all()
        assert np.isfinite(out.correlation).all()


def test_unsigned_counts_do_not_wrap():
    da = polar(dtype="u2", bad=0)
    found = pairs.consecutive(da.train)
    out = ops.difference_correlation(da, found, normalization="none")
    same = ops.difference_correlation(da.astype("f8"), found, normalization="none")
    largest = float(same.correlation.max())
    np.testing.assert_allclose(out.correlation, same.correlation, atol=1e-6 * largest)
    assert largest < 1e5


def test_what_shots_share_drops_out():
    da = polar(bad=0)
    pattern = xr.DataArray(
        1e3 * np.random.default_rng(5).random((3, N_PHI)), dims=da.dims[1:]
    )
    found = pairs.consecutive(da.train)
    out = ops.difference_correlation(da + pattern, found)
    expected = ops.difference_correlation(da, found)
    np.testing.assert_allclose(out.correlation, expected.correlation, atol=1e-8)


def test_absent_shots_are_dropped_and_counted():
    found = [(100, 102), (100, 101), (7, 102), (104, 102)]
    out = ops.difference_correlation(polar(), found)
    assert (out.attrs["n_used"], out.attrs["n_dropped"]) == (2, 2)
    kept = ops.difference_correlation(polar(), [(100, 102), (104, 102)])
    np.testing.assert_array_equal(out.correlation, kept.correlation)


def test_building_computes_nothing_and_reads_nothing_twice(no_compute):
    da = polar()
    with no_compute():
        for kind in makers(da).values():
            for reduce in ("mean", None):
                out = ops.difference_correlation(da, kind, reduce=reduce)
                assert all(v.chunks is not None for v in out.data_vars.values())


def test_result_is_labelled():
    out = ops.difference_correlation(polar(), pairs.consecutive(polar().train))
    assert out.correlation.dims == ("radius", "lag")
    np.testing.assert_array_equal(out.q, polar().q)
    np.testing.assert_allclose(out.lag, 2 * np.pi * np.arange(N_PHI) / N_PHI)
    assert out.correlation.attrs["units"] == out.sem.attrs["units"] == "(photon)**2"
    assert out.n_pairs.dtype == np.int64
    assert all(out[name].attrs["long_name"] for name in out.data_vars)
    lines = out.attrs["history"].splitlines()
    assert [line.split()[0] for line in lines] == ["made", "difference_correlation"]


def pulsed(chunks):
    rng = np.random.default_rng(4)
    x = rng.random((4, 3, 2, N_PHI))
    coords = {"train": [5, 6, 8, 9], "pulse": [0, 4, 8]}
    da = xr.DataArray(x, coords, ("train", "pulse", "radius", "phi"))
    return da.chunk(chunks) if chunks else da


@pytest.mark.parametrize("chunks", [{"train": 1}, {"train": 3, "pulse": 2}, None])
def test_pulses_are_shots(chunks):
    da = pulsed(chunks)
    found = pairs.consecutive(da)
    out = ops.difference_correlation(da, found, reduce=None)
    x = da.values.reshape(12, 2, N_PHI)
    above, below = by_hand(x[:-1] - x[1:])
    np.testing.assert_allclose(out.correlation, above / below, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(out.pulse, found.pulse)
    flat = da.stack(frame=("train", "pulse")).reset_index("frame")
    flat = flat.transpose("frame", ...)
    same = ops.difference_correlation(flat, found)
    mean = ops.difference_correlation(da, found)
    np.testing.assert_allclose(same.correlation, mean.correlation, rtol=1e-12)


def test_pairs_of_trains_are_pairs_of_their_pulses():
    da = pulsed({"train": 2})
    out = ops.difference_correlation(da, [(5, 6), (9, 6)], reduce=None)
    assert out.train.values.tolist() == [[5, 6]] * 3 + [[9, 6]] * 3
    assert out.pulse.values.tolist() == [[0, 0], [4, 4], [8, 8]] * 2
    x = da.values
    above, below = by_hand(np.concatenate([x[0] - x[1], x[3] - x[1]]))
    np.testing.assert_allclose(out.correlation, above / below, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def read_polar(agipd_run):
    """A part of a module as if it were polar maps: read from files, with a recipe."""
    run = xf.open_run(agipd_run.directory)
    part = run.frames()[:, :, 1, :4, :N_PHI]
    return part.rename(slow_scan="radius", fast_scan="phi")


@pytest.mark.parametrize("held", [1, 1 << 12, 1 << 25])
def test_shots_are_read_where_they_are(read_polar, monkeypatch, held):
    monkeypatch.setattr(pairwise, "HELD", held)
    assert isinstance(read_polar.data, PlannedArray)
    memory = read_polar.compute()
    for found in (pairs.consecutive(read_polar), pairs.random(read_polar, 20)):
        out = ops.difference_correlation(read_polar, found)
        same = ops.difference_correlation(memory, found)
        xr.testing.assert_allclose(out.compute(), same.compute(), rtol=1e-12)
        each = ops.difference_correlation(read_polar, found, reduce=None)
        same = ops.difference_correlation(memory, found, reduce=None)
        xr.testing.assert_allclose(each.compute(), same.compute(), rtol=1e-12)


def test_random_pairs_of_files_never_hold_the_run(read_polar, monkeypatch):
    monkeypatch.setattr(pairwise, "HELD", 1)
    held = []
    original = frames.read_frames

    def watched(*args):
        out = original(*args)
        held.append(len(out))
        return out

    monkeypatch.setattr(frames, "read_frames", watched)
    found = pairs.random(read_polar, 12)
    ops.difference_correlation(read_polar, found).correlation.compute()
    assert len(held) == 12
    assert max(held) == 2


def test_tasks_take_only_the_frames_that_they_need():
    da = polar(5)
    lazy = ops.difference_correlation(da, [(100, 118)]).correlation
    takes = [k for k in dict(lazy.__dask_graph__()) if "-take" in str(k[0])]
    assert len(takes) == 2


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_scheduler_does_not_change_a_bit(scheduler):
    lazy = ops.difference_correlation(polar(2), makers(polar())["random"])
    with dask.config.set(scheduler=scheduler):
        out = lazy.compute()
    xr.testing.assert_identical(out, lazy.compute(scheduler="synchronous"))


@pytest.mark.parametrize(
    ("change", "listed", "options", "error", "text"),
    [
        (None, [], {}, SelectionEmptyError, "list of pairs is empty"),
        (None, [(1, 2)], {}, SelectionEmptyError, "trains 100 to 118"),
        (None, [(100, 100)], {}, ValueError, "paired with themselves"),
        (None, [100, 102], {}, ValueError, "shape"),
        (None, [(100.5, 102)], {}, ValueError, "integers"),
        (None, [(100, 102)], {"errors": "boot"}, ValueError, "errors='boot'"),
        (None, [(100, 102)], {"reduce": "sum"}, ValueError, "reduce='sum'"),
        (None, [(100, 102)], {"normalization": "mean"}, ValueError, "normalization"),
        (None, [(100, 102)], {"with_ring": -4}, ValueError, "rings 0 to 2"),
        ("one", [(100, 102)], {}, GeometryMismatchError, "one shot"),
        ("gain", [(100, 102)], {}, GeometryMismatchError, "also have gain"),
        ("twice", [(100, 102)], {}, ValueError, "stand for several frames"),
        ("unlabelled", [(100, 102)], {}, ValueError, "no coordinate 'train'"),
    ],
)  # fmt: skip
def test_bad_input_is_an_error_while_building(change, listed, options, error, text):
    da = polar()
    changed = {
        None: lambda: da,
        "one": lambda: da[0],
        "gain": lambda: xr.concat([da, da], "gain"),
        "twice": lambda: xr.concat([da, da], "train"),
        "unlabelled": lambda: da.drop_vars("train"),
    }[change]()
    with pytest.raises(error, match=text):
        ops.difference_correlation(changed, listed, **options)


def test_error_of_a_mean_without_a_mean_is_refused():
    da = polar()
    with pytest.raises(ValueError, match="reduce=None keeps every pair"):
        ops.difference_correlation(
            da, pairs.disjoint(da.train), errors="jackknife", reduce=None
        )
