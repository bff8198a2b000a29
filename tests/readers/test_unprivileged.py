"""Users who may not read, enter or write: an error that says so, or the other files."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.support import as_nobody
from xfelred import synth

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "65534"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else"),
]


def write_runs(place):
    """Write small runs of every facility, of which several files belong together."""
    synth.euxfel.write_run(
        place / "euxfel_all", modules=(0, 3), n_trains=2, pulses=2, sequences=None
    )
    (place / "sacla_all").mkdir()
    for k in range(2):
        synth.sacla.write_run(
            place / "sacla_all" / f"300001_{k}.h5", shape=(8, 8), n_images=3,
            n_darks=1, first_tag=1000 + 100 * k,
        )  # fmt: skip
    (place / "lcls_all").mkdir()
    synth.lcls.write_smalldata(
        place / "lcls_all" / "xpptest01_Run0047.h5", n_events=24, shape=(2, 6, 8),
        n_banks=2,
    )  # fmt: skip
    (place / "suite_all").mkdir()
    synth.lcls.write_suite(place / "suite_all" / "run.h5")


@pytest.fixture(scope="module")
def place():
    """A directory that anybody may enter; pytest's own are closed to others."""
    place = Path(tempfile.mkdtemp(prefix="xfelred-nobody-"))
    write_runs(place)
    for name in ("euxfel", "sacla", "lcls", "suite"):
        for which, closed in (("none", slice(None)), ("some", slice(1))):
            copy = place / f"{name}_{which}"
            shutil.copytree(place / f"{name}_all", copy)
            if name == "lcls" and which == "some":
                part = next(copy.iterdir())
                part.rename(copy / "xpptest01_Run0047_part0.h5")
                shutil.copy(
                    copy / "xpptest01_Run0047_part0.h5",
                    copy / "xpptest01_Run0047_part1.h5",
                )
            for file in sorted(copy.iterdir())[closed]:
                file.chmod(0o200)
    for name, mode in (("no_read", 0o711), ("no_enter", 0o744)):
        shutil.copytree(place / "lcls_all", place / name)
        next((place / name).iterdir()).rename(place / name / "run.h5")
        (place / name).chmod(mode)
    (place / "no_write").mkdir()
    (place / "no_write" / "old.h5").write_bytes(b"mine")
    (place / "may_write").mkdir()
    (place / "may_write").chmod(0o777)
    (place / "recipe.yaml").write_text(yaml.safe_dump(as_nobody.RECIPE))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def as_other(place, *before, uid=NOBODY, **variables):
    """Return what the program `as_nobody` prints when somebody else runs it."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(place / "may_write"),
        "HOME": str(place / "may_write"),
        **variables,
    }
    done = subprocess.run(
        [*before, sys.executable, as_nobody.__file__, str(place), uid],
        cwd=place, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def got(place):
    return as_other(place)


@pytest.fixture(scope="module")
def as_root(place):
    """Sums of the whole runs, by somebody who may read everything."""
    return {n: as_nobody.of_run(place / f"{n}_all") for n in as_nobody.ONE_OF_SEVERAL}


CASES = [name for cases in (as_nobody.reading, as_nobody.writing)
         for name, _ in cases(Path("/nowhere"))]  # fmt: skip


def test_the_program_runs_as_somebody_else(got):
    assert got["who"] == [int(NOBODY), int(NOBODY), []]


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("open")])
def test_what_may_not_be_read_is_one_error_that_names_it(got, place, name):
    error = got[name]["error"]
    assert error["ours"]
    assert error["access"]
    assert f"{place}/" in error["text"]
    assert "Permission denied" in error["text"]
    assert "Ask its owner" in error["text"]
    assert "damaged" not in error["text"]
    assert len(error["text"]) < 400


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("check one")])
def test_a_check_says_that_it_may_not_read(got, name):
    report = got[name]["value"]
    assert "2 faults" in report
    assert "may not read it" in report


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("command")])
def test_the_command_fails_in_one_line(got, place, name):
    code, text = got[name]["value"]
    assert code == 1
    assert "Permission denied" in text
    assert f"{place}/" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", as_nobody.ONE_OF_SEVERAL)
def test_a_run_opens_without_the_file_that_may_not_be_read(got, as_root, name):
    value = got[f"some of {name}"]["value"]
    ((file, reason),) = value["left_out"]
    assert "may not read it" in reason
    assert file in reason
    assert any(file in text for text in got[f"some of {name}"]["warned"])
    code, text = value["info"]
    assert code == 0
    assert file in text
    assert 0 < value["sum"] < as_root[name]["sum"] or name == "lcls"
    assert "unreadable file" in got[f"check some of {name}"]["value"]


def test_the_parts_of_lcls_that_are_left_give_their_own_values(got, as_root):
    # Both parts are copies of the run: one of them is all of it.
    assert got["some of lcls"]["value"]["sum"] == as_root["lcls"]["sum"]


def writes(name):
    return not name.startswith(("open", "check", "command", "some"))


@pytest.mark.parametrize("name", [n for n in CASES if writes(n)])
def test_what_may_not_be_written_is_one_error_that_names_it(got, place, name):
    error = got[name]["error"]
    assert error["class"] == "NoAccessError"
    assert error["text"].startswith("cannot write ")
    assert f"{place}/no_write/" in error["text"]
    assert "Permission denied" in error["text"]
    assert "Choose a directory in which you may write" in error["text"]


def test_nothing_was_written(got, place):
    assert got
    assert [p.name for p in (place / "no_write").iterdir()] == ["old.h5"]
    assert (place / "no_write" / "old.h5").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name", ["cache in no_write", "cache is no_write", "cache in no_enter"]
)
def test_a_cache_that_cannot_be_kept_costs_nothing_but_time(got, name):
    assert got[name]["value"] == got["sum"]["value"]


@pytest.mark.nightly  # compiles everything anew
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_program_that_never_had_rights_gets_the_same(got, place):
    before = ("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups")
    probe = subprocess.run(
        [*before, sys.executable, "-c", "import numba, xarray"],
        capture_output=True, check=False,
    )  # fmt: skip
    if probe.returncode:
        pytest.skip("others may not read the interpreter")
    # What root has left in this directory is closed to others.
    home = place / "may_write" / "home"
    home.mkdir()
    home.chmod(0o777)
    again = as_other(place, *before, uid="-1", HOME=str(home))
    assert again.pop("who") == got["who"]
    for name in again:
        assert again[name].get("error") == got[name].get("error"), name
