"""Records, saved states and stores that were damaged: found, and said of which file."""

import json
import os
import shutil

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xfelred.errors import InconsistentDataError, OutputExistsError, XfelredError
from xfelred.products import blocks, write
from xfelred.products.atomic import remove
from xfelred.products.resumable import (
    LARGEST_OF_OTHERS,
    new_file,
    read_record,
    write_record,
)
from xfelred.recipes import cube_state
from xfelred.recipes.manifest import Block, Job, Manifest, read_manifest

CONTENT = {"schema_version": 1, "done": [["frames", [0, 2]]], "word": "é\x1b"}


def a_manifest():
    job = Job("0" * 64, {"bins": {"delay": {"n": 3}}}, [("a.h5", 100, 17)], {})
    return Manifest(job, (Block(0, (1, 9), 9, "done"), Block(1, (10, 20), 10)))


def a_state():
    rng = np.random.default_rng(1)
    return cube_state.BinSums(
        np.array([1, 4, 5]), np.array([3, 1, 2]), rng.random((3, 4, 2)),
        rng.random((3, 4, 2)), rng.integers(1, 3, (3, 4, 2)),
    )  # fmt: skip


def all_values(state):
    rows = [state.row(i) for i in range(len(state.bins))]
    return [
        state.bins,
        state.frames,
        *(x for r in rows for x in (r.n, r.sum, r.squares)),
    ]


def hurt(rng, path):
    """Change a file somewhere: bits, bytes left out or added, an end that is gone."""
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data)))
    kind = rng.integers(4)
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + int(rng.integers(1, 9))]
    else:
        data[at:at] = bytes(rng.integers(256, size=int(rng.integers(1, 9)), dtype="u1"))
    path.write_bytes(bytes(data))


# -- records -------------------------------------------------------------------------


def test_a_record_reads_back_and_is_json_for_others(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, CONTENT)
    assert read_record(path, "record") == CONTENT
    assert json.loads(path.read_text())["word"] == CONTENT["word"]


def test_every_changed_byte_of_a_record_is_found(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, CONTENT)
    good = path.read_bytes()
    for at in range(len(good)):
        for bit in (0, 5, 7):
            data = bytearray(good)
            data[at] ^= 1 << bit
            path.write_bytes(bytes(data))
            with pytest.raises(InconsistentDataError, match=str(path)):
                read_record(path, "record")


def test_a_record_is_not_parsed_before_its_checksum_is_right(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text('{"checksum": "' + "0" * 64 + '", ' + "[" * 1000)
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("parsed"))
    with pytest.raises(InconsistentDataError, match="checksum is wrong"):
        read_record(path, "record")
    path.write_text("[" * (LARGEST_OF_OTHERS + 1))
    with pytest.raises(InconsistentDataError, match="has no checksum"):
        read_record(path, "record")


def test_an_edited_record_says_that_it_is_one(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(CONTENT))
    with pytest.raises(InconsistentDataError, match=r"no checksum.*--overwrite"):
        read_record(path, "record")


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda p: os.symlink("x", p)])
def test_something_in_place_of_a_record_is_an_error(tmp_path, plant):
    path = tmp_path / "a.json"
    plant(path)
    with pytest.raises(InconsistentDataError, match=r"a\.json is a"):
        read_record(path, "record")


def test_writing_a_record_follows_nothing_that_was_planted(tmp_path):
    precious = tmp_path / "thesis.tex"
    precious.write_text("all of it")
    path = tmp_path / "a.json"
    (tmp_path / "a.new").symlink_to(precious)
    write_record(path, CONTENT)
    assert precious.read_text() == "all of it"
    os.mkfifo(tmp_path / "a.new")  # would wait for a reader
    write_record(path, CONTENT)
    path.unlink()
    path.symlink_to(precious)
    write_record(path, CONTENT)
    assert precious.read_text() == "all of it"
    assert not path.is_symlink()
    with new_file(tmp_path / "b") as file:
        assert file.write(b"x") == 1


# -- manifests and states of cubes ---------------------------------------------------


def test_a_damaged_manifest_is_found(tmp_path):
    rng, path = np.random.default_rng(3), tmp_path / "manifest.json"
    for _ in range(300):
        a_manifest().write(path)
        before = path.read_bytes()
        hurt(rng, path)
        if path.read_bytes() == before:
            continue
        with pytest.raises(InconsistentDataError, match=str(path)):
            read_manifest(path)


@pytest.mark.parametrize(
    "more",
    [
        {"blocks": "abc"}, {"blocks": 3}, {"blocks": [1]}, {"blocks": [{"id": 0}]},
        {"sources": [1]}, {"sources": ["abc"]}, {"sources": [["a", 1e999, 2]]},
        {"options": None}, {"recipe": 4}, {"recipe_sha256": None, "blocks": None},
        {"computed": "x"}, {"products": 3}, {"blocks": {"id": 0}},
        {"software": 3}, {"software": {"numpy": 2}}, {"xfelred_version": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_of_other_types_is_an_error(tmp_path, more):
    path = tmp_path / "manifest.json"
    write_record(path, a_manifest().to_dict() | more)
    with pytest.raises(InconsistentDataError, match=r"manifest\.json is damaged"):
        read_manifest(path)


@pytest.mark.parametrize(
    "more",
    [
        {"id": 1}, {"id": True}, {"id": 0.0}, {"id": 1e999}, {"trains": [1]},
        {"trains": [1, 2, 3]}, {"trains": "12"}, {"status": "Done"}, {"n_trains": "9"},
        {"trains": [None, 1]},
    ],
    ids=str,
)  # fmt: skip
def test_a_block_of_other_types_is_an_error(tmp_path, more):
    path = tmp_path / "manifest.json"
    content = a_manifest().to_dict()
    write_record(path, content | {"blocks": [content["blocks"][0] | more]})
    with pytest.raises(InconsistentDataError, match=r"manifest\.json is damaged"):
        read_manifest(path)


def test_a_saved_state_reads_back(tmp_path):
    path = cube_state.save({"a": a_state(), "b": None}, tmp_path, range(2, 5))
    found = cube_state.load(path, ["a", "b"])
    assert list(found) == ["a"]
    for got, want in zip(all_values(found["a"]), all_values(a_state()), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_damaged_state_is_found_wherever_it_is(tmp_path):
    rng = np.random.default_rng(5)
    kept = cube_state.save({"a": a_state()}, tmp_path / ".", range(1))
    place = tmp_path / "s"
    names = sorted(p.name for p in kept.iterdir())
    assert len(names) == 6
    for i in range(240):
        shutil.rmtree(place, ignore_errors=True)
        path = place / kept.name
        shutil.copytree(kept, path)
        victim = path / names[i % len(names)]
        before = victim.read_bytes()
        hurt(rng, victim)
        if victim.read_bytes() == before:
            continue
        with pytest.raises(InconsistentDataError, match=rf"{path}.* is damaged"):
            cube_state.load(path, ["a"])


@pytest.mark.parametrize("part", [*cube_state.PARTS, "checksums"])
@pytest.mark.parametrize("plant", [None, os.mkfifo, os.mkdir])
def test_a_part_of_a_state_that_is_gone_or_replaced_is_found(tmp_path, part, plant):
    path = cube_state.save({"a": a_state()}, tmp_path, range(1))
    file = path / ("checksums.json" if part == "checksums" else f"0.{part}.npy")
    file.unlink()
    if plant is not None:
        plant(file)
    with pytest.raises(InconsistentDataError, match=str(path)):
        cube_state.load(path, ["a"])


def test_a_state_of_other_blocks_or_behind_a_link_is_not_taken(tmp_path):
    path = cube_state.save({"a": a_state()}, tmp_path, range(1))
    other = path.with_name("000001-000001")
    shutil.copytree(path, other)
    with pytest.raises(InconsistentDataError, match="other blocks"):
        cube_state.load(other, ["a"])
    shutil.rmtree(other)
    other.symlink_to(path)
    with pytest.raises(InconsistentDataError, match="no directory"):
        cube_state.load(other, ["a"])
    remove(other)
    assert path.is_dir()


def test_a_row_that_is_cut_off_later_is_an_error(tmp_path):
    path = cube_state.save({"a": a_state()}, tmp_path, range(1))
    found = cube_state.load(path, ["a"])["a"]
    file = path / "0.sum.npy"
    os.truncate(file, file.stat().st_size - 8)
    with pytest.raises(InconsistentDataError, match="row 2 is cut off"):
        found.row(2)


def test_merged_states_have_checksums_too(tmp_path):
    for i in range(3):
        cube_state.save({"a": a_state()}, tmp_path, range(i, i + 1))
    path = cube_state.merge(tmp_path, ["a"], range(3))
    found = cube_state.load(path, ["a"])["a"]
    np.testing.assert_array_equal(found.frames, 3 * a_state().frames)
    (path / "0.frames.npy").write_bytes((path / "0.bins.npy").read_bytes())
    with pytest.raises(InconsistentDataError, match=r"0\.frames\.npy is damaged"):
        cube_state.load(path, ["a"])


def test_a_state_is_published_once_and_written_by_tasks_that_run_again(tmp_path):
    draft = cube_state.Draft.of(tmp_path, range(3))
    for _ in range(2):
        draft.write(0, "bins", np.arange(2))
        draft.write(0, "frames", np.ones(2, np.int64))
        draft.write(0, "count", np.ones((2, 3), np.int64))
        rows = draft.rows(0, "sum", np.dtype(np.float64), (2, 3))
        for i in (1, 0, 1):
            rows[slice(i, i + 1), slice(0, 3)] = np.full((1, 3), i + 0.5)
    for _ in range(2):
        path = draft.publish(without=["0.count.npy"])
        assert draft.is_published()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    found = cube_state.load(path, ["a"])["a"]
    assert [found.row(i).sum.tolist() for i in range(2)] == [[0.5] * 3, [1.5] * 3]
    assert found.count is None
    with pytest.raises(FileNotFoundError):
        rows[slice(0, 1), slice(0, 3)] = np.zeros((1, 3))


@pytest.mark.parametrize("size", [1, 150, 1 << 30])
def test_states_are_put_together_in_their_order_however_they_are_cut(
    tmp_path, monkeypatch, size
):
    monkeypatch.setattr(cube_state, "MERGED_BYTES", size)
    rng = np.random.default_rng(7)
    states = []
    for i, bins in enumerate(([1, 4, 5], [0, 4], [4, 5, 9])):
        n = len(bins)
        states.append(
            cube_state.BinSums(
                np.array(bins), rng.integers(1, 5, n), rng.random((n, 4, 2)),
                rng.random((n, 4, 2)), rng.integers(0, 3, (n, 4, 2)) if i else None,
            )
        )  # fmt: skip
        cube_state.save({"b": None, "a": states[-1]}, tmp_path, range(i, i + 1))
    path = cube_state.merge(tmp_path, ["b", "a"], range(3))
    assert cube_state.saved(tmp_path) == [path]
    found = cube_state.load(path, ["b", "a"])["a"]
    assert found.bins.tolist() == [0, 1, 4, 5, 9]
    for at, one in enumerate(found.bins.tolist()):
        mine = [(s, s.bins.tolist().index(one)) for s in states if one in s.bins]
        total, *rest = (s.row(i) for s, i in mine)
        for row in rest:
            total = total.plus(row)
        got = found.row(at)
        assert found.frames[at] == sum(s.frames[i] for s, i in mine)
        np.testing.assert_array_equal(got.sum, total.sum)
        np.testing.assert_array_equal(got.squares, total.squares)
        np.testing.assert_array_equal(got.n, np.broadcast_to(total.n, (4, 2)))


def test_names_of_states_that_stand_for_no_blocks_are_not_looked_at(tmp_path):
    for name in ("000005-000002", "000000-99999999999999999999"):
        (tmp_path / name).mkdir()
    assert [p.name for p in cube_state.saved(tmp_path)] == [
        "000000-99999999999999999999"
    ]


# -- unfinished zarr stores ----------------------------------------------------------


@pytest.fixture
def unfinished(tmp_path, monkeypatch):
    """Frames, and where an interrupted call wrote two of their four blocks."""
    monkeypatch.setattr(blocks.batches, "__defaults__", (1,))
    values = np.random.default_rng(0).random((8, 3))
    state = {"fail": True}

    def block(part, block_info=None):
        if state["fail"] and block_info[0]["chunk-location"][0] == 2:
            raise KeyboardInterrupt
        return part

    lazy = da.map_blocks(
        block, da.from_array(values, (2, 3)), dtype=float, name="frames-1"
    )
    frames = xr.DataArray(
        lazy, dims=("train", "x"), coords={"train": np.arange(8)}, name="frames",
        attrs={"units": "adu"},
    )  # fmt: skip
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(KeyboardInterrupt):
            write(frames, tmp_path / "a.zarr", resume=True)
        state["fail"] = False
        yield frames, values, tmp_path / "a.zarr"


def test_a_damaged_unfinished_store_is_found_or_made_right(unfinished, tmp_path):
    frames, values, path = unfinished
    rng = np.random.default_rng(11)
    work = path.with_name("a.zarr.partial")
    kept = tmp_path / "kept"
    shutil.copytree(work, kept)
    # Values of frames that are done have no checksum of their own.
    files = [
        p.relative_to(kept) for p in sorted(kept.rglob("*"))
        if p.is_file() and "frames/c" not in str(p)
    ]  # fmt: skip
    assert len(files) >= 4
    refused = 0
    for i in range(60):
        remove(work)
        remove(path)
        shutil.copytree(kept, work)
        hurt(rng, work / files[i % len(files)])
        try:
            write(frames, path, resume=True)
        except InconsistentDataError as error:
            assert str(work) in str(error)  # noqa: PT017
            refused += 1
            continue
        with xr.open_zarr(path) as found:
            np.testing.assert_array_equal(found.frames, values)
            np.testing.assert_array_equal(found.train, np.arange(8))
            assert found.frames.attrs["units"] == "adu"
    assert refused > 40


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "[]", "null", "9" * 5000, '{"attributes": 3}', "\0",
     '{"attributes": {"write_token": "["}}', '{"attributes": {"write_token": 3}}'],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_finished_store_is_an_error_of_ours(unfinished, text):
    frames, _, path = unfinished
    write(frames, path, resume=True)
    (path / "zarr.json").write_text(text)
    with pytest.raises((InconsistentDataError, OutputExistsError), match=str(path)):
        write(frames, path, resume=True)


def plant_link(path):
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, plant_link])
@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.partial", ".a.zarr.lock"])
@pytest.mark.parametrize("resume", [True, False])
def test_what_is_in_the_way_is_one_error_and_stays(tmp_path, plant, name, resume):
    frames = xr.DataArray(da.zeros((4, 2), chunks=2), dims=("train", "x"), name="a")
    (tmp_path / "elsewhere").mkdir()
    precious = tmp_path / "elsewhere" / "thesis.tex"
    precious.write_text("all of it")
    plant(tmp_path / name)
    try:
        write(frames, tmp_path / "a.zarr", resume=resume)
    except XfelredError as error:
        assert isinstance(error, OutputExistsError)  # noqa: PT017
    assert precious.read_text() == "all of it"
    assert (tmp_path / "elsewhere").is_dir()
