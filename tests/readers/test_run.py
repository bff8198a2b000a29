"""A run as a whole: what it holds, how it is selected, joined and shown."""

import os

import numpy as np
import pytest

from xfelred import by_id, open_run
from xfelred.errors import (
    InconsistentDataError,
    MultiRunError,
    ShotNameError,
    SourceNameError,
)
from xfelred.readers.selection import select_train_ids
from xfelred.synth.euxfel import write_run

MOTOR = "SPB_IRU_SAMPLE/MOTOR/X"
CORNER = np.s_[:2, :2]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_run(
        tmp_path_factory.mktemp("run"), modules=(0, 3), n_trains=5, pulses=2,
        suspect=[10001, 10003],
    )  # fmt: skip


@pytest.fixture
def run(truth):
    return open_run(truth.directory)


def test_a_run_tells_what_it_holds(run, truth):
    assert run.train_ids == truth.train_ids.tolist()
    assert run.detectors == {"SPB_DET_AGIPD1M-1": "AGIPD1M"}
    assert {truth.source(0), truth.source(3)} == run.detector_sources
    assert MOTOR in run.control_sources
    assert run.is_single_run
    assert run.run_id == "p700000 r0001"
    assert (MOTOR, "actualPosition.value") in run


@pytest.mark.parametrize(
    ("chosen", "want"),
    [
        (np.s_[1:3], [1, 2]), (-1, [4]), ([0, 2], [0, 2]), ([], []),
        ([True, False, True, False, False], [0, 2]), (by_id[10001:10003], [1, 2]),
        (by_id[[10004, 10000]], [0, 4]), (by_id["tag_10002"], [2]),
        (by_id["tag_10001":"tag_10003"], [1, 2]), (["tag_10004", "10000"], [0, 4]),
        (by_id[[10004.0, 3.0]], [4]), (by_id[[-1, 10001]], [1]),
        (slice("tag_10003", None), [3, 4]),
    ],
)  # fmt: skip
def test_trains_are_selected_by_position_or_id(chosen, want, run, truth):
    few = run.select_trains(chosen)
    assert few.train_ids == [10000 + i for i in want]
    if want:
        got = few.frames(bad_pixels=None, roi=CORNER).values
        np.testing.assert_array_equal(got, truth.frames()[want][..., :2, :2])


@pytest.mark.parametrize(
    "chosen", [by_id["run_5"], by_id[["tag_10002", "x"]], by_id[1.5], "motor", ["a"]]
)
def test_what_names_no_train_is_an_error(chosen, run):
    with pytest.raises(ShotNameError, match="integers such as 12, or names"):
        run.select_trains(chosen)


def test_ids_are_compared_with_all_their_digits():
    ids = np.array([2**62, 2**62 + 1, 2**62 + 2], np.uint64)
    many = [2**62 + 1, *range(1000)]
    assert select_train_ids(ids, by_id[many]).tolist() == [2**62 + 1]


def test_sources_and_keys_are_selected_and_left_out(run, truth):
    images = run.select("*AGIPD*", "image.*")
    assert images.all_sources == {truth.source(0), truth.source(3)}
    assert all(k.startswith("image.") for k in images.keys(truth.source(0)))
    got = images.frames(bad_pixels=None, roi=CORNER)
    np.testing.assert_array_equal(got.values, truth.frames()[..., :2, :2])
    rest = run.deselect("*AGIPD*")
    assert rest.all_sources == run.all_sources - images.all_sources
    assert rest.detectors == {}
    with pytest.raises(SourceNameError, match="no multi-module detector"):
        rest.frames()
    with pytest.raises(ValueError, match="nope"):
        run.select("nope*")
    joined = images | rest
    assert joined.all_sources == run.all_sources


def test_only_trains_in_which_all_sources_have_data(ragged_run):
    run = open_run(ragged_run.directory)
    kept = run.select("*AGIPD*", "image.data", require_all=True).train_ids
    trains = ragged_run.train_ids.tolist()
    want = [t for t in trains if all(ragged_run.recorded(t, m) for m in (0, 3, 15))]
    assert kept == want
    some = run.select("*AGIPD*", "image.data", require_any=True).train_ids
    assert some == [t for t in trains if len(ragged_run.pulse_ids(t))]


@pytest.mark.parametrize("options", [{"parts": 2}, {"trains_per_part": 2}])
def test_pieces_of_a_run_make_the_whole(options, run):
    pieces = list(run.split_trains(**options))
    sizes = [len(p.train_ids) for p in pieces]
    assert sum(sizes) == 5
    assert max(sizes) - min(sizes) <= 1
    assert pieces[0].union(*pieces[1:]).train_ids == run.train_ids
    whole = pieces[0].union(*pieces[1:]).frames(roi=CORNER)
    assert whole.equals(run.frames(roi=CORNER))


def test_runs_are_joined_by_their_trains(run, truth, tmp_path):
    other = write_run(
        tmp_path, modules=(0, 3), n_trains=2, first_train=10010, pulses=2, run=2, seed=3
    )
    both = run | open_run(other.directory)
    assert both.train_ids == [*range(10000, 10005), 10010, 10011]
    got = both.frames(bad_pixels=None, roi=CORNER).values
    want = np.concatenate([truth.frames(), other.frames()])[..., :2, :2]
    np.testing.assert_array_equal(got, want)
    assert not both.is_single_run
    with pytest.raises(MultiRunError):
        both.run_metadata()


def test_the_same_trains_of_two_runs_contradict_each_other(run, tmp_path):
    other = write_run(tmp_path, modules=(0, 3), n_trains=5, pulses=2, run=3, seed=3)
    with pytest.raises(InconsistentDataError):
        run | open_run(other.directory)


def test_suspect_trains_can_be_left_out(truth):
    few = open_run(truth.directory, inc_suspect_trains=False)
    assert few.train_ids == [10000, 10002, 10004]
    got = few.frames(bad_pixels=None, roi=CORNER)
    np.testing.assert_array_equal(got.values, truth.frames()[::2][..., :2, :2])
    assert few.scalars([f"{MOTOR}.actualPosition"]).sizes["train"] == 3


def test_files_that_are_no_data_are_skipped(tmp_path):
    truth = write_run(tmp_path, modules=(0,), n_trains=2, pulses=2)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "RAW-R0001-BROKEN-S00000.h5").write_bytes(b"not HDF5")
    (tmp_path / "overview.h5").write_bytes(truth.file(0).read_bytes())
    with pytest.warns(UserWarning, match="left out: RAW-R0001-BROKEN-S00000.h5"):
        run = open_run(tmp_path)
    assert [os.path.basename(f.file) for f in run.left_out] == [
        "RAW-R0001-BROKEN-S00000.h5"
    ]
    assert run.train_ids == [10000, 10001]
    got = run.frames(bad_pixels=None).values
    np.testing.assert_array_equal(got, truth.frames())


@pytest.fixture(scope="module")
def proposal(tmp_path_factory):
    """Raw and corrected data of a run by another program, with legacy links."""
    make = pytest.importorskip("extra_data.tests.make_examples")
    root = tmp_path_factory.mktemp("root") / "SPB" / "202301" / "p002012"
    for kind in ("raw", "proc"):
        (root / kind / "r0238").mkdir(parents=True)
    make.make_spb_run(str(root / "raw" / "r0238"), format_version="1.2")
    make.make_modern_spb_proc_run(str(root / "proc" / "r0238"))
    return root


@pytest.mark.slow
def test_the_corrected_detector_stays_beside_raw_data(proposal):
    name = "SPB_DET_AGIPD1M-1"
    both = open_run(proposal, run=238)
    for modno in range(16):
        assert f"{name}/CORR/{modno}CH0:output" in both.entries
        assert f"{name}/DET/{modno}CH0:xtdf" in both.entries
    frames = both.frames(roi=CORNER)
    assert frames.dtype == np.float32
    assert frames.sizes["pulse"] == 32
    raw = open_run(proposal, run=238, data="raw")
    assert raw.frames(roi=np.s_[0, :2, :2]).sizes["pulse"] == 64


def test_the_repr_is_short_and_names_the_detector(run):
    text = repr(run)
    assert len(text.splitlines()) <= 20
    assert "SPB_DET_AGIPD1M-1 (AGIPD1M): 2 modules, 5 trains with 2 frames" in text
    assert "10000 to 10004" in text
    assert len(repr(run.select_trains([])).splitlines()) <= 20


def test_hostile_names_are_escaped_in_html(tmp_path):
    name = "<script>alert(1)&_DET_AGIPD1M-1"
    write_run(tmp_path, modules=(0,), n_trains=1, pulses=1, source=f"{name}/DET/0CH0:x")
    html = open_run(tmp_path)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&amp;_DET" in html


def test_info_names_every_source(run, capsys):
    run.info()
    printed = capsys.readouterr().out
    assert printed.startswith(repr(run).splitlines()[0])
    for source in run.sources:
        assert f"  - {source}\n" in printed
