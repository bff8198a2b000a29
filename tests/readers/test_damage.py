"""Seeded damage to small runs of every layout: what h5py gives, or it is said.

Whatever a file has become, opening, describing and reading a run gives the values that
a plain loop of h5py gives, or marks what is lost and warns, or raises an `XfelredError`
that names the file: no other error, no end of the process, no hang.
`XFELRED_DAMAGE_SEED` is the first of the seeds, `XFELRED_DAMAGE_CASES` the number of
cases of a layout.
"""

import contextlib
import faulthandler
import io
import os
import pickle
import resource
import select
import shutil
import signal
import time
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest

import xfelred as xf
from tests.support.by_h5py import ANY, images_of
from tests.support.damage import LAYOUTS, damaged
from xfelred import ops

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("XFELRED_DAMAGE_SEED", 0))
CASES = int(os.environ.get("XFELRED_DAMAGE_CASES", 5))
SECONDS = 60  # of one case; most take 0.2
MEMORY = 3 << 30  # beyond what the process has
COLUMNS = {
    "agipd": ("SA1_XTD2_XGM/DOOCS/MAIN", "pulseEnergy.photonFlux"),
    "sacla": "bm_1_pulse_energy_in_joule",
    "lcls1": "ipm2/sum",
    "lcls2": "ipm2/sum",
}
HDF5, OURS = "h5py", "xfelred"  # who is at work


# -- what a user does ----


class Look:
    """Everything that a user looks at.

    Attributes
    ----------
    names : set of str
        Of which an error must have one.
    """

    def __init__(self, layout, source):
        self.layout = layout
        self.source = Path(source)
        files = self.source.iterdir() if self.source.is_dir() else [self.source]
        self.names = {self.source.name, *(f.name for f in files)}
        self.findings = []
        self.frames = {}
        self.means = {}
        self.failed = False
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with dask.config.set(scheduler="synchronous"):
                self.at_run()
        self.warned = bool(caught)
        for w in caught:
            if not issubclass(w.category, UserWarning):
                self.findings.append(f"{w.category.__name__}: {w.message}")

    def attempt(self, what, call):
        """Return what a call gives; what it raises must be ours and name something."""
        try:
            return call()
        except xf.XfelredError as error:
            self.failed = True
            if not any(name in str(error) for name in self.names):
                self.findings.append(f"{what}: names no file: {error!r}"[:500])
        except Exception as error:
            trace = error.__traceback__
            while trace.tb_next:
                trace = trace.tb_next
            at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            self.findings.append(f"{what}: bare {error!r} at {at}"[:500])
        return None

    def at_run(self):
        run = self.attempt("open_run", lambda: xf.open_run(self.source))
        if run is None:
            return
        self.attempt("describe", lambda: self.described(run))
        detectors = self.attempt("detectors", lambda: list(run.detectors)) or []
        self.names |= set(detectors)
        for name in detectors:
            frames = self.attempt(
                "frames", lambda n=name: run.frames(n, bad_pixels=None)
            )
            if frames is None or frames.nbytes > 1 << 28:
                continue
            values = self.attempt("values", lambda f=frames: f.compute())
            if values is not None:
                self.frames[name] = values
                self.means[name] = self.attempt("mean", lambda f=frames: mean_of(f))
            self.attempt("constants", lambda n=name: self.constants(run, n))
        key = COLUMNS.get(self.layout.split()[0])
        if key is not None:
            self.attempt("scalars", lambda: self.scalars(run, key))

    def described(self, run):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            run.info()
        for part in (text.getvalue(), repr(run), run._repr_html_()):
            if "\x1b" in part:
                self.findings.append(f"an escape code: {part[:200]!r}")

    def constants(self, run, name):
        with contextlib.suppress(xf.MissingConstantError):
            run.constants(name).compute()

    def scalars(self, run, key):
        with contextlib.suppress(xf.PropertyNameError, xf.SourceNameError):
            run.scalars([key]).compute()


def mean_of(frames):
    """Means of a corner, by the package."""
    corner = frames[..., :4, :4]
    dims = [d for d in ("train", "pulse") if d in corner.dims]
    found = ops.statistics(corner, dims, which=("mean",))["mean"]
    return found.transpose("module", ...).compute().values


# -- what is right ----


def is_filled(image):
    return np.isnan(image).all() if image.dtype.kind == "f" else not image.any()


def is_same(image, stored):
    if image.shape != stored.shape:
        return False
    with np.errstate(all="ignore"):
        return np.array_equal(
            image, stored.astype(image.dtype), equal_nan=image.dtype.kind == "f"
        )


def judged(look, truth, unsure):
    """Return what is wrong: wrong values, and what is lost without a word."""
    wrong, shown = [], set()
    for name, frames in look.frames.items():
        values = frames.transpose("train", "pulse", "module", ...)
        here = frames.available.transpose("train", "module").values
        one = frames.sizes["module"] == 1
        sums = [[] for _ in frames.module]
        for i, train in enumerate(frames.train.values.tolist()):
            for j, pulse in enumerate(frames.pulse.values.tolist()):
                for k, module in enumerate(frames.module.values.tolist()):
                    image = values.values[i, j, k]
                    labels = of_label(truth, (train, pulse, module), one)
                    if not here[i, k] or is_filled(image):
                        if here[i, k] and labels:
                            sums[k].append(image)
                        continue
                    sums[k].append(image)
                    match = [
                        label
                        for label in labels
                        if any(is_same(image, x) for x in truth[label])
                    ]
                    shown.update(labels)
                    if not match:
                        wrong.append(
                            f"{name} {train} {pulse} {module}: not in the file"
                        )
        wrong += wrong_means(look, name, sums)
    lost = {
        label
        for label, images in truth.items()
        if label not in shown | unsure and not all(map(is_filled, images))
    }
    if lost and not (look.warned or look.failed):
        wrong.append(f"{len(lost)} images are lost without a word, such as {min(lost)}")
    return wrong


def of_label(truth, label, one):
    """Labels of a file that a label of frames may stand for."""
    train, pulse, module = label
    found = [x for x in (label, (ANY, 0, module)) if x in truth]
    # A detector of which one module is left may call it 0.
    return found or [
        x for x in truth if one and module == 0 and x[:2] == (train, pulse)
    ]


def wrong_means(look, name, sums):
    """Compare means of a corner with numpy's."""
    means = look.means.get(name)
    if means is None:
        return
    for k, images in enumerate(sums):
        if not images:
            continue
        corner = np.array([i[..., :4, :4] for i in images], "f8")
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.nanmean(corner, axis=0)
            if not np.isfinite(corner).all() or np.abs(corner).max() > 1e30:
                continue
            if not np.allclose(means[k], expected, rtol=1e-4, equal_nan=True):
                yield f"{name}: the mean of module index {k} is not that of its images"


# -- many cases in one child ----


def case_of(layout, intact, place, seed):
    """Damage a copy of a run; return what was done, and the copy."""
    shutil.rmtree(place, ignore_errors=True)
    copy = place / intact.name
    if intact.is_dir():
        shutil.copytree(intact, copy)
    else:
        place.mkdir()
        shutil.copy(intact, copy)
    rng = np.random.default_rng([seed, *layout.encode()])
    try:
        return damaged(copy, rng), copy
    except (ValueError, TypeError, OSError, KeyError, MemoryError) as error:
        return f"no such damage: {error}", None


def work(layout, intact, place, seeds, tell):
    """Look at cases one after the other; tell who is at work, and what is found."""
    for seed in seeds:
        tell((seed, HDF5, "damage"))
        what, copy = case_of(layout, intact, place, seed)
        if copy is None:
            continue
        tell((seed, OURS, what))
        look = Look(layout, copy)
        tell((seed, HDF5, what))
        truth, unsure = images_of(layout, copy)
        tell((seed, None, [f"{what}: {w}" for w in look.findings]))
        tell((seed, None, [f"{what}: {w}" for w in judged(look, truth, unsure)]))


def limited():
    """Limit the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def in_child(call):
    """Yield what a call in a forked child tells, and how it ended if not well."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            faulthandler.disable()  # what ends h5py is not worth a page
            limited()
            with os.fdopen(writer, "wb") as pipe:

                def tell(record):
                    pickle.dump(record, pipe)
                    pipe.flush()

                call(tell)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    hung = False
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        data = b""
        end = time.monotonic() + SECONDS
        while not (
            hung := not select.select([pipe], [], [], end - time.monotonic())[0]
        ):
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                break
            data += part
            end = time.monotonic() + SECONDS
            data = yield from records(data)
    if hung:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if hung or status:
        yield "hangs" if hung else f"ends the process ({status})"


def records(data):
    """Yield the whole records of a stream; return the rest."""
    stream = io.BytesIO(data)
    while True:
        at = stream.tell()
        try:
            yield pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):
            return data[at:]


def found_in(layout, intact, place, seeds):
    """Return what is wrong with the cases of some seeds."""
    found = []
    left = list(seeds)
    while left:
        last = None
        now = list(left)
        told = in_child(lambda tell, now=now: work(layout, intact, place, now, tell))
        for record in told:
            if isinstance(record, str):
                seed, who, what = last or (now[0], OURS, "start")
                left = [s for s in left if s > seed]
                # What ends h5py itself is not ours to judge.
                if who != HDF5:
                    found.append(f"seed {seed}: {what}: {record}")
                break
            last = record
            if record[1] is None:
                found += [f"seed {record[0]}: {text}" for text in record[2]]
        else:
            left = []
    return found


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Runs that were written, by layout."""
    made = {}

    def written(layout):
        if layout not in made:
            place = tmp_path_factory.mktemp("intact") / "at"
            made[layout] = LAYOUTS[layout].written(place)
        return made[layout]

    return written


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_loop_of_h5py_finds_what_is_in_an_intact_run(layout, intact):
    look = Look(layout, intact(layout))
    truth, unsure = images_of(layout, intact(layout))
    assert not look.findings
    assert len(look.frames) == 1
    frames = next(iter(look.frames.values()))
    n = frames.available.values.sum() * frames.sizes["pulse"]
    assert n == sum(len(images) for images in truth.values()) - len(unsure)
    assert judged(look, truth, unsure) == []
    # The judge is not blind: another value, and a lost image, are found.
    frames.values[0, 0, 0] += 3
    assert any("not in the file" in w for w in judged(look, truth, unsure))
    look.frames.clear()
    assert any("without a word" in w for w in judged(look, truth, unsure))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_gives_what_h5py_gives_or_is_said(layout, intact, tmp_path):
    seeds = range(SEED, SEED + CASES)
    found = found_in(layout, intact(layout), tmp_path / "at", seeds)
    assert not found, "\n".join(found)


@pytest.mark.nightly
@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_damage_gives_what_h5py_gives_or_is_said(layout, intact, tmp_path):
    seeds = range(SEED + CASES, SEED + 60 * CASES)
    found = found_in(layout, intact(layout), tmp_path / "at", seeds)
    assert not found, "\n".join(found)


def test_a_case_that_ends_or_hangs_is_told_and_the_next_ones_go_on(monkeypatch):
    def judged_badly(layout, intact, place, seeds, tell):
        for seed in seeds:
            tell((seed, HDF5 if seed == 2 else OURS, "damage"))
            if seed in (1, 2):
                os.kill(os.getpid(), signal.SIGSEGV)
            if seed == 3:
                time.sleep(60)
            tell((seed, None, [f"looked at {seed}"]))

    monkeypatch.setitem(globals(), "work", judged_badly)
    monkeypatch.setitem(globals(), "SECONDS", 1)
    assert found_in("", None, None, range(5)) == [
        "seed 0: looked at 0", "seed 1: damage: ends the process (11)",
        "seed 3: damage: hangs", "seed 4: looked at 4",
    ]  # fmt: skip
