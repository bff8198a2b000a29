"""A damaged file costs itself, whatever the damage and wherever it sorts."""

import os
import shutil

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.synth.euxfel import write_run

pytestmark = pytest.mark.slow

CORNER = np.s_[:4, :4]


def garbage(path):
    path.write_bytes(b"not HDF5")


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


def heaps(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b"HEAP", bytes(4)))


def trees(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b"TREE", bytes(4)).replace(b"SNOD", bytes(4)))


def no_ids(path):
    with h5py.File(path, "r+") as f:
        del f["INDEX/trainId"]


def trillion_ids(path):
    with h5py.File(path, "r+") as f:
        del f["INDEX/trainId"]
        f.create_dataset("INDEX/trainId", (10**12,), "u8", chunks=(1024,))


def ids_of_themselves(path):
    with h5py.File(path, "r+") as f:
        n = f["INDEX/trainId"].shape
        layout = h5py.VirtualLayout(n, "u8")
        layout[...] = h5py.VirtualSource(".", "INDEX/trainId", n)
        del f["INDEX/trainId"]
        f.create_virtual_dataset("INDEX/trainId", layout)


def text_ids(path):
    with h5py.File(path, "r+") as f:
        n = len(f["INDEX/trainId"])
        del f["INDEX/trainId"]
        f["INDEX/trainId"] = np.full(n, b"\xff", "S3")


def no_source_names(path):
    with h5py.File(path, "r+") as f:
        n = f["METADATA/dataSources/dataSourceId"].shape
        del f["METADATA/dataSources/dataSourceId"]
        names = f.create_dataset(
            "METADATA/dataSources/dataSourceId", n, h5py.string_dtype()
        )
        assert names[0] == b""


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def directory(path):
    path.unlink()
    path.mkdir()


def lost_link(path):
    path.unlink()
    path.symlink_to("gone")


DAMAGE = [
    garbage, truncated, empty, heaps, trees, no_ids, trillion_ids, ids_of_themselves,
    text_ids, no_source_names, pipe, directory, lost_link,
]  # fmt: skip


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    return write_run(
        tmp_path_factory.mktemp("runs") / "run", kind="DSSC1M", corrected=False,
        modules=(0, 1, 2), n_trains=3, pulses=2, xgm=False, motors=False,
    )  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("module", [0, 2])
def test_the_other_files_of_a_run_are_read(intact, tmp_path, damage, module):
    shutil.copytree(intact.directory, tmp_path / "run")
    bad = tmp_path / "run" / intact.file(module).name
    damage(bad)
    with pytest.warns(UserWarning, match=f"left out: {bad.name}"):
        run = xf.open_run(tmp_path / "run")
    assert [f.file for f in run.left_out] == [str(bad)]
    assert run.left_out[0].reason
    others = [m for m in (0, 1, 2) if m != module]
    frames = run.frames(roi=CORNER, bad_pixels=None)
    assert frames.module.values.tolist() == others
    want = intact.frames()[:, :, others, :4, :4]
    np.testing.assert_array_equal(frames, want)
    for text in (repr(run), run._repr_html_(), frames.attrs["left_out"]):
        assert bad.name in text
    assert bad.name in frames.attrs["history"]
    part = run.select_trains(np.s_[:1]).select("*")
    assert part.left_out == run.left_out


@pytest.mark.parametrize("number", [np.nan, np.inf, 1.0, -1, b"\xff", np.void(b"ab")])
def test_a_run_number_that_is_none_is_not_shown(intact, tmp_path, number):
    shutil.copytree(intact.directory, tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        with h5py.File(path, "r+") as f:
            del f["METADATA/runNumber"]
            f["METADATA/runNumber"] = np.array([number])
    run = xf.open_run(tmp_path / "run")
    assert "European XFEL" in repr(run)
    assert run.frames(roi=CORNER, bad_pixels=None).available.all()


@pytest.mark.parametrize(
    "name",
    ["", "/image", "/image/data", "/image/status", "/header/majorTrainFormatVersion"],
)
def test_a_damaged_object_is_in_nobodys_way_until_it_is_read(intact, tmp_path, name):
    shutil.copytree(intact.directory, tmp_path / "run")
    bad = tmp_path / "run" / intact.file(1).name
    source = "SCS_DET_DSSC1M-1/DET/1CH0:xtdf"
    with h5py.File(bad, "r") as f:
        at = h5py.h5o.get_info(f[f"INSTRUMENT/{source}{name}"].id).addr
    with open(bad, "r+b") as f:
        f.seek(at)
        f.write(b"\xee")
    run = xf.open_run(tmp_path / "run")
    others = run.frames(modules=[0, 2], roi=CORNER, bad_pixels=None)
    np.testing.assert_array_equal(others, intact.frames()[:, :, [0, 2], :4, :4])
    if name in ("", "/image", "/image/data"):
        with pytest.raises(xf.BrokenFileError, match="modules of other files") as told:
            run.frames(roi=CORNER, bad_pixels=None).compute()
        assert bad.name in str(told.value)
    else:
        frames = run.frames(roi=CORNER, bad_pixels=None)
        np.testing.assert_array_equal(frames, intact.frames()[..., :4, :4])


def test_a_damaged_file_of_a_module_leaves_the_trains_of_its_other_files(tmp_path):
    truth = write_run(
        tmp_path / "run", kind="DSSC1M", corrected=False, modules=(0, 1), n_trains=4,
        pulses=2, sequences=2, xgm=False, motors=False,
    )  # fmt: skip
    bad = tmp_path / "run" / truth.file(1).name.replace("S00000", "S00001")
    with h5py.File(bad, "r") as f:
        source = f["INSTRUMENT/SCS_DET_DSSC1M-1/DET/1CH0:xtdf"]
        at = h5py.h5o.get_info(source.id).addr
    with open(bad, "r+b") as f:
        f.seek(at)
        f.write(b"\xee")
    run = xf.open_run(tmp_path / "run")
    frames = run.select_trains(np.s_[:2]).frames(roi=CORNER, bad_pixels=None)
    np.testing.assert_array_equal(frames, truth.frames()[:2, ..., :4, :4])
    with pytest.raises(xf.BrokenFileError, match="select trains"):
        run.frames(bad_pixels=None)


def test_info_names_files_that_are_left_out(intact, tmp_path, capsys):
    shutil.copytree(intact.directory, tmp_path / "run")
    bad = tmp_path / "run" / "RAW-R0001-AAAA-S00000.h5"
    garbage(bad)
    with pytest.warns(UserWarning, match="left out"):
        run = xf.open_run(tmp_path / "run")
    run.info()
    assert bad.name in capsys.readouterr().out
    one, other = run.select_trains(np.s_[:1]), run.select_trains(np.s_[1:])
    assert one.union(other).left_out == run.left_out


def test_the_facility_is_found_beside_any_other_file(intact, tmp_path):
    shutil.copytree(intact.directory, tmp_path / "run")
    os.mkfifo(tmp_path / "run" / "000.h5")
    (tmp_path / "run" / "001.h5").mkdir()
    (tmp_path / "run" / "002.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.warns(UserWarning, match="3 files cannot be read"):
        run = xf.open_run(tmp_path / "run")
    assert len(run.left_out) == 3
    assert len(run.all_sources) == 3


def test_a_run_in_which_nothing_can_be_read_is_an_error(intact, tmp_path):
    shutil.copytree(intact.directory, tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        garbage(path)
    with pytest.raises(xf.BrokenFileError, match="none of 3 files"):
        xf.open_run(tmp_path / "run", facility="euxfel")
    with pytest.raises(xf.XfelredError, match="damaged"):
        xf.open_run(tmp_path / "run")


def write_window(path, tags):
    with h5py.File(path, "w") as f:
        group = f.create_group("run_7/detector_2d_1")
        group["detector_info/detector_name"] = "MPCCD-2N0-1-002-1"
        f["run_7/event_info/tag_number_list"] = np.array(tags, np.uint32)
        for t in tags:
            group[f"tag_{t}/detector_data"] = np.full((4, 3), t, "f4")


@pytest.mark.parametrize("damage", [garbage, heaps, trees, pipe, directory])
@pytest.mark.parametrize("which", [0, 2])
def test_windows_of_sacla(tmp_path, damage, which):
    for i in range(3):
        write_window(tmp_path / f"w{i}.h5", range(10 * i + 2, 10 * i + 8, 2))
    damage(tmp_path / f"w{which}.h5")
    with pytest.warns(UserWarning, match=rf"left out: w{which}\.h5"):
        run = xf.open_run(tmp_path)
    assert [os.path.basename(f.file) for f in run.left_out] == [f"w{which}.h5"]
    left = [t for i in range(3) for t in range(10 * i + 2, 10 * i + 8, 2) if i != which]
    assert run.train_ids == left
    frames = run.frames()
    np.testing.assert_array_equal(frames[:, 0, 0, 0, 0], left)
    assert f"w{which}.h5" in frames.attrs["left_out"]
    assert f"w{which}.h5" in repr(run)


@pytest.mark.parametrize("damage", [garbage, heaps, trees, pipe])
@pytest.mark.parametrize("which", [0, 1])
def test_parts_of_lcls(tmp_path, damage, which):
    joined = tmp_path / "xpptest01_Run0047.h5"
    xf.synth.lcls.write_smalldata(
        joined, n_events=40, parts=2, shape=(2, 6, 8), n_banks=2
    )
    joined.unlink()
    paths = sorted(tmp_path.glob("*.h5"))
    whole = xf.open_run([str(p) for p in paths])
    damage(paths[which])
    with pytest.warns(UserWarning, match=f"left out: {paths[which].name}"):
        run = xf.open_run([str(p) for p in paths])
    assert [f.file for f in run.left_out] == [str(paths[which])]
    assert 0 < len(run.ids) < len(whole.ids)
    assert set(run.train_ids) < set(whole.train_ids)
    assert paths[which].name in run.frames().attrs["left_out"]


def test_a_file_whose_parts_are_damaged_leaves_the_other_parts(tmp_path):
    joined = tmp_path / "xpptest01_Run0047.h5"
    xf.synth.lcls.write_smalldata(
        joined, n_events=40, parts=2, shape=(2, 6, 8), n_banks=2
    )
    whole = xf.open_run(tmp_path)
    assert not whole.left_out
    garbage(tmp_path / "xpptest01_Run0047_part1.h5")
    with pytest.warns(UserWarning, match="2 files cannot be read"):
        run = xf.open_run(tmp_path)
    assert {os.path.basename(f.file) for f in run.left_out} == {
        "xpptest01_Run0047.h5", "xpptest01_Run0047_part1.h5",
    }  # fmt: skip
    assert set(run.train_ids) < set(whole.train_ids)


def test_a_damaged_shot_costs_that_shot(tmp_path):
    write_window(tmp_path / "w.h5", range(2, 42, 2))
    with h5py.File(tmp_path / "w.h5", "r") as f:
        at = h5py.h5o.get_info(f["run_7/detector_2d_1/tag_8/detector_data"].id).addr
    with open(tmp_path / "w.h5", "r+b") as f:
        f.seek(at)
        f.write(b"\xee")
    run = xf.open_run(tmp_path / "w.h5")
    with pytest.warns(UserWarning, match=r"tag 8 .*damaged"):
        frames = run.frames()
    np.testing.assert_array_equal(frames.available[:, 0], frames.train.values != 8)
    good = frames.train.values != 8
    np.testing.assert_array_equal(frames[good][:, 0, 0, 0, 0], frames.train[good])
    assert np.isnan(frames[~good]).all()
