"""What psana2 raises, of whatever class, is one error that says what it was asked."""

import sys
import types

import numpy as np
import pytest

import xfelred as xf
from xfelred.readers.lcls_psana import session

IDS = (4, 7, 9)


class HTTPFaultError(ConnectionError):
    """As the requests of psana's web service raise it."""


FAULTS = {
    "a web service": HTTPFaultError("pswww.slac.stanford.edu: Max retries exceeded\n"),
    "an assertion": AssertionError(),
    "a key": KeyError("config"),
    "an exit": SystemExit(1),
}


class Fake:
    """Stands for psana2: a run of three events with one detector; may be told to fail.

    Attributes
    ----------
    fails : str
        The call that fails: "source", "begin", "steps", "detector", "event",
        "calib", "constants" or "slow"; "" for none.
    """

    def __init__(self, error):
        self.error = error
        self.fails = ""

    def at(self, call):
        """Fail, if this is the call that shall."""
        if call == self.fails:
            raise self.error

    def DataSource(self, **options):  # noqa: N802 - a name of psana2
        self.at("source")
        return types.SimpleNamespace(runs=self.runs)

    def runs(self):
        self.at("begin")
        yield FakeRun(self)


class FakeRun:
    expt, runnum = "fake", 3
    scaninfo = (("motor", "raw"),)
    epicsinfo = (("room", "raw"),)
    detinfo = {("epix", "raw"): ["calib", "raw"]}  # noqa: RUF012

    def __init__(self, fake):
        self.fake = fake

    def steps(self):
        self.fake.at("steps")
        events = [types.SimpleNamespace(timestamp=t) for t in IDS]
        yield types.SimpleNamespace(
            evt=types.SimpleNamespace(timestamp=1), events=lambda: events
        )

    def events(self):
        for t in IDS:
            self.fake.at("event")
            yield types.SimpleNamespace(timestamp=t)

    def Detector(self, name):  # noqa: N802 - a name of psana2
        if name == "motor":
            return lambda step: 1.5
        if name == "room":
            return self.slow
        self.fake.at("detector")
        return types.SimpleNamespace(raw=FakeInterface(self.fake))

    def slow(self, event):
        self.fake.at("slow")
        return 0.25


class FakeInterface:
    def __init__(self, fake):
        self.fake = fake

    def raw(self, event):
        self.fake.at("calib")
        return np.full((2, 3), event.timestamp, np.uint16)

    def _pedestals(self):
        self.fake.at("constants")


@pytest.fixture(params=FAULTS)
def fake(request, monkeypatch):
    """A psana2 that is installed, and forgotten behind the test."""
    found = Fake(FAULTS[request.param])
    monkeypatch.setitem(sys.modules, "psana", found)
    monkeypatch.setitem(sys.modules, "psana.psexp.serial_ds", found)
    session.forget()
    yield found
    session.forget()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.xtc2").write_bytes(b"xtc")
    return str(tmp_path / "run.xtc2")


def check(caught, fake, path, asked):
    """One error, which names what was asked, of which run, and what psana2 said."""
    text = str(caught.value)
    assert asked in text
    assert path in text
    assert type(fake.error).__name__ in text
    assert str(fake.error).strip() in text
    assert "offline=True" in text
    assert caught.value.__cause__ is fake.error


@pytest.mark.parametrize(
    ("fails", "asked"),
    [
        ("source", "cannot open the run"),
        ("begin", "cannot begin the run"),
        ("steps", "cannot list its steps"),
        ("detector", "cannot list its steps, events and detectors"),
    ],
)
def test_opening_fails_with_one_error(fake, path, fails, asked):
    fake.fails = fails
    with pytest.raises(xf.BrokenFileError) as caught:
        xf.open_run(path)
    check(caught, fake, path, asked)


@pytest.mark.parametrize(
    ("fails", "asked"),
    [
        ("source", "cannot open the run"),
        ("begin", "cannot begin the run"),
        ("event", "cannot read the event behind timestamp -1"),
        ("detector", "cannot make the detector epix/raw"),
        ("calib", "cannot read epix/raw/raw at timestamp 4"),
    ],
)
def test_reading_fails_with_one_error(fake, path, fails, asked):
    run = xf.open_run(path)
    fake.fails = fails
    with pytest.raises(xf.BrokenFileError) as caught:
        run.frames()
    check(caught, fake, path, asked)
    fake.fails = ""
    values = run.frames(layout="frame").compute(scheduler="synchronous")
    assert values[:, 0, 1, 1].values.tolist() == [*IDS]  # the next call begins anew


@pytest.mark.parametrize(
    ("fails", "asked"),
    [
        ("constants", "cannot give the constants of epix"),
        ("detector", "cannot make the detector epix/raw"),
    ],
)
def test_constants_fail_with_one_error(fake, path, fails, asked):
    run = xf.open_run(path)
    fake.fails = fails
    with pytest.raises(xf.BrokenFileError) as caught:
        run.constants()
    check(caught, fake, path, asked)


def test_slow_values_fail_with_one_error(fake, path):
    run = xf.open_run(path)
    assert run.scalars("epics/room")["epics/room"].values.tolist() == [0.25] * 3
    fake.fails = "slow"
    with pytest.raises(xf.BrokenFileError) as caught:
        run.scalars("epics/room")
    # The parts of a run are read offline, whatever the run is: no hint.
    assert "cannot read the slow values room" in str(caught.value)
    assert type(fake.error).__name__ in str(caught.value)


def test_the_hint_is_not_given_to_whom_it_does_not_help(fake, path):
    fake.fails = "source"
    with pytest.raises(xf.BrokenFileError) as caught:
        xf.open_run(path, offline=True)
    assert "offline=True" not in str(caught.value)


def test_an_interrupt_passes(fake, path):
    fake.error, fake.fails = KeyboardInterrupt(), "begin"
    with pytest.raises(KeyboardInterrupt):
        xf.open_run(path)


def test_a_file_that_has_gone_is_named(fake, path):
    with pytest.raises(xf.errors.MissingFileError, match=r"absent\.xtc2 is not there"):
        xf.open_run(f"files={path}absent.xtc2")
