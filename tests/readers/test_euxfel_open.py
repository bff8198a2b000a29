"""Which files make a run: kinds of data of a proposal, collections, joined runs."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.euxfel_files import Fast, Slow, lpd, write_file
from xfelred import RunDirectory, open_run
from xfelred.errors import InconsistentDataError, MultiRunError, PropertyNameError

BOTH = "MID_EXP/UPP/BOTH"


@pytest.fixture
def proposal(tmp_path, monkeypatch):
    """Return a function that makes run 7 of proposal 900 with some kinds of data."""
    monkeypatch.setenv("EXTRA_DATA_DATA_ROOT", str(tmp_path))
    place = tmp_path / "MID/202301/p000900"

    def make(kinds, empty=(), version="1.2"):
        for i, kind in enumerate(kinds):
            parts = [
                Slow(f"MID_EXP/ONLY/{kind.upper()}", {"v": np.array([i])}),
                Slow(BOTH, {"kind": np.array([i])}),
            ]
            name = f"{kind}/r0007/X-R0007-DA01-S00000.h5"
            write_file(place / name, [50], *parts, version=version, run=7, proposal=900)
        for kind in empty:
            (place / kind / "r0007").mkdir(parents=True)

    return make


def origin(run):
    """Where the source that all kinds have comes from."""
    return int(run[BOTH, "kind"].ndarray()[0])


@pytest.mark.parametrize("data", ["default", "all", ["raw", "proc"], ["proc", "raw"]])
@pytest.mark.parametrize(
    ("kinds", "empty"),
    [(["raw"], []), (["raw"], ["proc"]), (["proc"], []), (["proc"], ["raw"])],
)
def test_of_several_kinds_of_data_one_is_enough(kinds, empty, data, proposal):
    proposal(kinds, empty)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = open_run(900, 7, data=data)
    assert run.sources == sorted([BOTH, f"MID_EXP/ONLY/{kinds[0].upper()}"])
    gone = "proc" if kinds == ["raw"] else "raw"
    # What was asked for and is not there is told; the default is glad of either.
    told = [str(w.message) for w in said]
    assert [gone in t for t in told] == ([] if data == "default" else [True])


@pytest.mark.parametrize("data", ["raw", "default", "all", ["raw", "proc"], []])
def test_no_kind_at_all_is_an_error_that_says_where_it_looked(data, proposal):
    proposal([], ["raw"] if data == "raw" else ["proc"])
    with pytest.raises(FileNotFoundError, match="r0007"):
        open_run(900, 7, data=data)


@pytest.mark.parametrize("version", ["0.5", "1.0", "1.2"])
@pytest.mark.parametrize(
    ("data", "want"),
    [("default", 0), ("all", 1), (["raw", "proc"], 1), (["raw", "proc", "red"], 2)],
)
def test_kinds_are_one_run_in_which_the_later_wins(data, want, version, proposal):
    proposal(["raw", "proc", "red"], version=version)
    run = open_run(900, 7, data=data)
    assert origin(run) == want
    assert run.is_single_run
    assert run.run_metadata()["dataFormatVersion"] == version
    assert run[BOTH].run_value("kind") == want


def test_the_run_is_known_if_any_of_its_files_tells(tmp_path):
    write_file(tmp_path / "A.h5", [1], Slow("A/A/A", {"v": [1]}), version="0.5")
    write_file(tmp_path / "B.h5", [1], Slow("B/B/B", {"v": [1]}), run=33)
    assert RunDirectory(tmp_path).run_id == "p700000 r0033"


# Joined runs.


@pytest.fixture
def two_runs(tmp_path):
    for r in (1, 2):
        parts = [Slow("A/B/C", {"v": [2.5 * r]}), Slow(f"ONLY/IN/{r}", {"w": [r]})]
        write_file(tmp_path / f"r{r}" / "R.h5", [1000 * r], *parts, run=r)
    return tmp_path / "r1", tmp_path / "r2"


def joined(two_runs):
    return open_run(two_runs[0]) | open_run(two_runs[1])


def listed(two_runs):
    return open_run([str(d / "R.h5") for d in two_runs])


def globbed(two_runs):
    return open_run(str(two_runs[0].parent / "r*" / "*.h5"))


@pytest.mark.parametrize("join", [joined, listed, globbed])
def test_values_at_the_start_of_a_run_are_not_those_of_another_one(join, two_runs):
    run = join(two_runs)
    assert not run.is_single_run
    assert run.run_id == "several runs"
    for ask in (
        lambda: run.get_run_value("A/B/C", "v"),
        lambda: run.get_run_values("A/B/C"),
        lambda: run["A/B/C"].run_value("v"),
        lambda: run.select_trains([0])["A/B/C"].run_values(),
        run.run_metadata,
    ):
        with pytest.raises(MultiRunError):
            ask()
    # A source of one of the runs has one value, and data per train are no problem.
    assert run["ONLY/IN/2"].run_value("w") == 2
    assert run["A/B/C", "v"].ndarray().tolist() == [2.5, 5.0]
    with pytest.raises(PropertyNameError):
        run["ONLY/IN/1"].run_value("v")


def test_parts_of_one_run_joined_again_are_one_run(two_runs):
    run = open_run(two_runs[0])
    again = run.select("A/*") | run.select("ONLY/*")
    assert again.is_single_run
    assert again["A/B/C"].run_value("v") == 2.5


# Collections of another program.


def file(name):
    return SimpleNamespace(filename=str(name))


@pytest.fixture
def directory(tmp_path):
    parts = [
        Slow("A/B/C", {"v": np.arange(3.0), "w": np.arange(3)}),
        Fast("A/B/D:out", "data", [1, 1, 1], {"x": np.arange(3)}),
    ]
    write_file(tmp_path / "DA.h5", [1, 2, 3], *parts)
    write_file(tmp_path / "LPD.h5", [2, 3, 4], lpd(3, [1, 1, 1], [0, 0, 0]))
    return tmp_path


def test_anything_with_files_is_opened_as_far_as_it_tells(directory):
    names = [file(directory / "DA.h5"), file(directory / "LPD.h5")]
    run = open_run(SimpleNamespace(files=names))
    assert run.train_ids == [1, 2, 3, 4]
    assert len(run.sources) == 3
    few = open_run(SimpleNamespace(files=names, train_ids=[2, 4]))
    assert few.train_ids == [2, 4]
    assert few["A/B/C", "v"].ndarray().tolist() == [1]


def test_selections_of_extra_data_are_kept(directory):
    extra_data = pytest.importorskip("extra_data")
    peer = extra_data.RunDirectory(str(directory))
    for chosen in (
        peer.select("A/B/C", "w"), peer.select([("A/B/C", "w"), ("*LPD*", "*")]),
        peer.select_trains(np.s_[1:3]), peer.select_trains([0]).deselect("A/B/D*"),
        peer.select("A/*") | peer.select_trains([3]).select("*LPD*"),
    ):  # fmt: skip
        run = open_run(chosen)
        assert run.all_sources == chosen.all_sources
        assert run.train_ids == chosen.train_ids
        assert run.is_single_run
        for source in chosen.all_sources:
            assert run.keys_for_source(source) == chosen.keys_for_source(source)
            key = min(chosen.keys_for_source(source))
            want = chosen[source, key]
            got = run[source, key]
            np.testing.assert_array_equal(got.ndarray(), want.ndarray())
            np.testing.assert_array_equal(
                got.train_id_coordinates(), want.train_id_coordinates()
            )
    run = open_run(peer["A/B/C", "v"])
    assert run.sources == ["A/B/C"]
    assert run.keys_for_source("A/B/C") == {"v.value"}
    assert open_run(peer["A/B/D:out"]).sources == ["A/B/D:out"]


def test_a_collection_of_raw_and_corrected_data_has_what_it_prefers(proposal):
    extra_data = pytest.importorskip("extra_data")
    proposal(["raw", "proc"])
    for data, want in (("default", 0), ("all", 1)):
        run = open_run(extra_data.open_run(900, 7, data=data))
        assert origin(run) == want
        assert run.is_single_run


def test_a_collection_with_a_train_twice_is_refused(directory, tmp_path):
    (tmp_path / "again.h5").write_bytes((directory / "DA.h5").read_bytes())
    names = [file(directory / "DA.h5"), file(tmp_path / "again.h5")]
    with pytest.raises(InconsistentDataError, match="twice"):
        open_run(SimpleNamespace(files=names))
