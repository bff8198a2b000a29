"""What a job has done and is made from: whole at any moment, told in words."""

import json
import os
import threading
from dataclasses import replace
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.errors import ConfigError, InconsistentDataError
from xfelred.recipes import manifest as module
from xfelred.recipes.manifest import (
    Block,
    Job,
    Manifest,
    changed_keys,
    check_same,
    read_manifest,
)
from xfelred.recipes.sources import (
    all_sources,
    changes,
    fingerprint,
    identity,
    run_paths,
)
from xfelred.synth.lcls import write_smalldata

FIRST = 7_301_444_403_200_000_001  # an event_time: floats cannot hold it
SOURCES = [("a.h5", 100, 17), ("b.h5", 200, 18)]


def a_manifest(**more):
    job = Job(
        "0" * 64, {"bins": {"delay": {"n": 3}}, "laser": "all"}, SOURCES,
        {"filter": "filter1", "compat": False},
    )  # fmt: skip
    blocks = tuple(Block(i, (FIRST + 10 * i, FIRST + 10 * i + 9), 10) for i in range(4))
    return Manifest(replace(job, **more), blocks)


# -- the file ------------------------------------------------------------------------


def test_file_reads_back_with_exact_ids(tmp_path):
    path = tmp_path / "manifest.json"
    made = a_manifest().with_done(range(1, 3))
    made.write(path)
    assert read_manifest(path) == made
    assert made.n_done == 2
    assert [b.done for b in made.blocks] == [False, True, True, False]
    assert read_manifest(path).blocks[0].trains == (FIRST, FIRST + 9)
    finished = replace(made, result={"computed": 3, "reused": 1, "products": ["x.h5"]})
    finished.write(path)
    assert read_manifest(path).result == finished.result


def test_file_has_the_keys_that_were_promised(tmp_path):
    path = tmp_path / "manifest.json"
    a_manifest().with_done(range(1)).write(path)
    content = json.loads(path.read_text())
    assert content["schema_version"] == 1
    assert content["recipe_sha256"] == "0" * 64
    assert content["source_fingerprint"] == fingerprint(SOURCES)
    assert content["xfelred_version"] == xf.__version__
    assert content["blocks"][0] == {
        "id": 0, "trains": [FIRST, FIRST + 9], "n_trains": 10, "status": "done"
    }  # fmt: skip
    assert {b["status"] for b in content["blocks"][1:]} == {"pending"}


def test_marking_blocks_changes_no_other_manifest():
    made = a_manifest()
    assert made.with_done(range(4)).n_done == 4
    assert made.n_done == 0


@pytest.mark.parametrize("where", ["fsync", "replace", "dump"])
def test_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch, where):
    path = tmp_path / "manifest.json"
    old = a_manifest()
    old.write(path)

    def fail(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.json if where == "dump" else module.os, where, fail)
        with pytest.raises(OSError, match="no space"):
            old.with_done(range(4)).write(path)
    assert read_manifest(path) == old
    old.with_done(range(2)).write(path)  # what was left does not stand in the way
    assert read_manifest(path).n_done == 2
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_reader_sees_a_whole_file_at_any_moment(tmp_path):
    path = tmp_path / "manifest.json"
    made = a_manifest()
    made.write(path)
    stop, seen, faults = threading.Event(), set(), []

    def watch():
        while not stop.is_set():
            try:
                seen.add(read_manifest(path).n_done)
            except (InconsistentDataError, OSError) as error:
                faults.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(60):
        made.with_done(range(i % 5)).write(path)
    stop.set()
    watcher.join()
    assert faults == []
    assert seen <= set(range(5))


def damaged(**more):
    return json.dumps({**a_manifest().to_dict(), **more})


@pytest.mark.parametrize(
    "text",
    {
        "empty": "",
        "cut": damaged()[:200],
        "no object": "[]",
        "a number": "3",
        "null": "null",
        "zeros": "\0" * 50,
        "no blocks": damaged(blocks=None),
        "a block without trains": damaged(blocks=[{"id": 0}]),
        "one train": damaged(
            blocks=[{"id": 0, "trains": [1], "n_trains": 1, "status": "done"}]
        ),
        "no sources": damaged(sources=None),
        "no options": damaged(options=None),
        "a recipe that is none": damaged(recipe=4),
    }.items(),
    ids=lambda item: item[0],
)
def test_damaged_file_is_an_error_that_says_what_to_do(tmp_path, text):
    path = tmp_path / "manifest.json"
    path.write_text(text[1])
    with pytest.raises(InconsistentDataError, match="--overwrite") as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert "is damaged" in str(caught.value)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_manifest_of_another_version_is_not_gone_on_with(tmp_path, version):
    path = tmp_path / "manifest.json"
    path.write_text(damaged(schema_version=version))
    with pytest.raises(InconsistentDataError, match=r"version .*--overwrite"):
        read_manifest(path)


def test_binary_garbage_is_a_damaged_file(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_bytes(b"\xff\xfe\x00\x89HDF")
    with pytest.raises(InconsistentDataError, match="is damaged"):
        read_manifest(path)


# -- what has changed ----------------------------------------------------------------


def test_same_job_goes_on(tmp_path):
    path = tmp_path / "manifest.json"
    made = a_manifest(options={"filter": "x", "pair": (1, 2)})
    made.write(path)
    check_same(path, read_manifest(path), replace(made, job=made.job))
    check_same(path, made.with_done(range(3)), made)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"recipe_sha256": "1", "recipe": {"bins": {"delay": {"n": 4}}}},
            r"the recipe has changed \(bins.delay.n, laser\)",
        ),
        ({"recipe_sha256": "1"}, r"the recipe has changed \(its defaults\)"),
        ({"sources": SOURCES[:1]}, "the source has changed: b.h5 is gone"),
        ({"sources": [*SOURCES, ("c.h5", 1, 1)]}, "c.h5 is new"),
        (
            {"sources": [("a.h5", 101, 19), SOURCES[1]]},
            r"a.h5 has changed \(100 bytes, now 101\)",
        ),
        (
            {"sources": [("a.h5", 100, 19), SOURCES[1]]},
            r"a.h5 has changed \(rewritten\)",
        ),
        (
            {"options": {"filter": "filter1", "compat": True}},
            "compat differ from the last call",
        ),
    ],
)
def test_changes_are_told_in_words(tmp_path, more, words):
    path = tmp_path / "manifest.json"
    a_manifest().write(path)
    with pytest.raises(ConfigError, match=words) as caught:
        check_same(path, read_manifest(path), a_manifest(**more))
    assert caught.value.path == str(path)
    assert "--overwrite" in str(caught.value)


def test_other_trains_are_noticed(tmp_path):
    made = a_manifest()
    with pytest.raises(ConfigError, match="other trains of the run are selected"):
        check_same(tmp_path, made, replace(made, blocks=made.blocks[:3]))


def test_changed_keys_are_dotted_and_complete():
    old = {"a": 1, "b": {"c": (1, 2), "d": {"e": None}}, "gone": 0}
    new = {"a": 1, "b": {"c": [1, 2], "d": {"e": 3}}, "more": {"x": 1}}
    assert changed_keys(old, new) == ["b.d.e", "gone", "more"]
    assert changed_keys(old, old) == []


def test_long_lists_of_changes_are_cut():
    new = [(f"r{i}.h5", 1, 1) for i in range(9)]
    text = changes([], new)
    assert text.count("is new") == 5
    assert text.endswith("; ...")
    assert changes(new[:5], []).count("is gone") == 5
    assert not changes(new[:5], []).endswith("...")
    assert changes(new, new) == ""


def test_files_of_one_name_in_several_directories_are_told_apart():
    old = [("run.h5", 10, 1), ("run.h5", 20, 2)]
    assert changes(old, [("run.h5", 10, 5), old[1]]) == "run.h5 has changed (rewritten)"
    assert changes(old, old[1:]) == "run.h5 has changed (30 bytes, now 20)"


# -- sources -------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=10, shape=(2, 6, 8), n_banks=2)
    return path


def test_sources_of_a_run_are_its_files(source):
    found = all_sources(xf.open_run(source), {})
    about = source.stat()
    assert found == [(source.name, about.st_size, about.st_mtime_ns)]
    os.utime(source, ns=(1, about.st_mtime_ns + 1))
    assert fingerprint(all_sources(xf.open_run(source), {})) != fingerprint(found)


def test_sources_of_other_facilities_are_their_files(agipd_run):
    run = xf.open_run(agipd_run.directory)
    names = {name for name, _, _ in all_sources(run, {})}
    assert names == {p.name for p in agipd_run.directory.glob("*.h5")}


def test_frames_of_another_run_are_sources_too(source, tmp_path):
    other = tmp_path / "xpptest01_Run0048.h5"
    write_smalldata(other, n_events=10, shape=(2, 6, 8), n_banks=2, seed=2)
    frames = {"jungfrau1M": xf.open_run(other).frames()}
    found = all_sources(xf.open_run(source), frames)
    assert [name for name, *_ in found] == [source.name, other.name]


def test_arrays_without_files_are_told_apart_by_their_values(source):
    run = xf.open_run(source)

    def sources(values):
        return all_sources(run, {"det": xr.DataArray(values)})

    one = np.arange(4.0)
    assert sources(one) == sources(one.copy())
    assert fingerprint(sources(one)) != fingerprint(sources(one + 1))
    lazy = da.ones(4, chunks=2)
    assert sources(lazy) == sources(lazy)
    assert sources(lazy) != sources(lazy + 1)
    words = changes(sources(one), sources(one + 1))
    assert words == "frames of det has changed (rewritten)"


def test_fingerprint_survives_json():
    again = [tuple(s) for s in json.loads(json.dumps(SOURCES))]
    assert fingerprint(again) == fingerprint(SOURCES)
    assert len(fingerprint(SOURCES)) == 64


def test_files_that_are_gone_have_no_identity(tmp_path):
    assert identity(str(tmp_path / "nothing")) is None
    run = SimpleNamespace(files=[SimpleNamespace(path=tmp_path / "nothing")])
    assert list(run_paths(run)) == [str(tmp_path / "nothing")]
    assert all_sources(run, {}) == []
