"""Open psana2 data sources, kept per process; psana itself is imported on first use.

psana2 is not thread safe, and decides at import whether it runs under MPI, so all
calls go through one lock and with ``PS_PARALLEL=none``.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, MissingExtraError, XfelredError
from xfelred.readers.lcls_psana.address import Address

LOCK = RLock()
KEPT = 4  # sessions: each holds its files open
NO_CONSTANTS = "all"  # of the detectors whose constants psana2 does not fetch
BEYOND = 1 << 64  # all timestamps: what failed or came to its end begins anew
INSTALL = (
    "pip install 'xfelred[lcls]' needs the packages libkrb5-dev, libopenmpi-dev and"
    " openmpi-bin of the system first; at LCLS source the psana2 environment instead"
)


class Event(Protocol):
    timestamp: int


class OpenRun(Protocol):
    """What is used of a run of psana2."""

    expt: str | None
    runnum: object
    detinfo: Mapping[tuple[str, str], object]
    scaninfo: Iterable[tuple[str, ...]]
    epicsinfo: Iterable[tuple[str, ...]]

    def Detector(self, name: str) -> Any: ...  # noqa: N802 - psana's name

    def steps(self) -> Iterator[Any]: ...

    def events(self) -> Iterator[Event]: ...

    def event(self, timestamp: int) -> Event: ...

    def build_table(self) -> AbstractContextManager[object]: ...


@contextmanager
def asking(address: Address, what: str) -> Iterator[None]:
    """Turn what psana2 raises into one error that says what it cannot do.

    psana2 raises errors of any kind, those of its web services among them, and ends
    the process where it finds no files. Errors of ours pass as they are.
    """
    try:
        yield
    except XfelredError:
        raise
    except (Exception, SystemExit) as error:
        hint = "" if address.offline else ". Away from LCLS pass offline=True"
        raise BrokenFileError(
            f"psana2 cannot {what} ({address}): {type(error).__name__}:"
            f" {str(error).rstrip('.') or 'no reason given'}{hint}"
        ) from error


def psana() -> Any:
    os.environ.setdefault("PS_PARALLEL", "none")
    try:
        with warnings.catch_warnings():  # those of its dependencies
            warnings.simplefilter("ignore")
            module = importlib.import_module("psana")
            importlib.import_module("psana.psexp.serial_ds")
    except Exception as error:  # its own dependencies fail in many ways
        raise MissingExtraError(
            f"reading xtc2 files needs psana2 (extra lcls), whose import fails:"
            f" {type(error).__name__}: {error}. {INSTALL}"
        ) from error
    return module


def open_source(address: Address, **options: Any) -> Any:
    """Return a new data source of psana2; the caller holds `LOCK`.

    Raises
    ------
    XfelredError
        If psana2 cannot open it; the message says what it said.
    """
    module = psana()
    if address.offline:
        options["skip_calib_load"] = NO_CONSTANTS
    with asking(address, "open the run; check the experiment, the number and dir="):
        if address.files:
            return module.DataSource(files=address.files, log_level="ERROR", **options)
        options |= {"exp": address.exp, "run": address.run, "log_level": "ERROR"}
        if address.dir:
            options["dir"] = address.dir
        if address.detectors:
            options["detectors"] = list(address.detectors)
        if address.offline:
            return without_log_book()(**options)
        return module.DataSource(**options)


def without_log_book() -> type[Any]:
    """Return a serial data source that lists the files of the directory itself."""
    serial = importlib.import_module("psana.psexp.serial_ds")

    class OnDisk(serial.SerialDataSource):  # type: ignore[misc, name-defined]
        """Takes every stream that lies in the directory."""

        def _get_file_info_from_db(self, runnum: object = None) -> dict[str, Any]:
            return {}

    return OnDisk


def first_run(source: Any, address: Address) -> OpenRun:
    with asking(address, "begin the run"):
        run: OpenRun | None = next(iter(source.runs()), None)
    if run is None:
        raise BrokenFileError(f"{address} holds no run: no BeginRun was found")
    return run


@dataclass
class Session:
    """An open run and the events that it gives; used under `LOCK` only."""

    address: Address
    source: object
    run: OpenRun
    detectors: dict[str, Any] = field(default_factory=dict)

    def interface(self, detector: str, part: str) -> Any:
        """Return ``run.Detector(detector).part``, made once."""
        with asking(self.address, f"make the detector {detector}/{part}"):
            if detector not in self.detectors:
                self.detectors[detector] = self.run.Detector(detector)
            return getattr(self.detectors[detector], part)

    def events(self, ids: NDArray[np.uint64]) -> Iterator[Event | None]:
        """Yield the events of sorted timestamps, None for one that is not there."""
        raise NotImplementedError


@dataclass
class RandomAccess(Session):
    """Events by the table of the ``.smd.xtc2`` files, read one by one."""

    def __post_init__(self) -> None:
        with asking(self.address, "list the events"), self.run.build_table():
            pass

    def events(self, ids: NDArray[np.uint64]) -> Iterator[Event | None]:
        event: Event | None
        for t in ids:
            with asking(self.address, f"read the event of timestamp {t}"):
                try:
                    event = self.run.event(int(t))
                except ValueError:  # psana's word for one that it does not have
                    event = None
            yield event


@dataclass
class InOrder(Session):
    """Events of a file that has no table; going back opens it again."""

    stream: Iterator[Event] | None = None
    last: int = -1

    def restart(self) -> None:
        self.source = open_source(self.address)
        self.run = first_run(self.source, self.address)
        self.detectors = {}
        self.stream, self.last = None, -1

    def events(self, ids: NDArray[np.uint64]) -> Iterator[Event | None]:
        if len(ids) and int(ids[0]) <= self.last:
            self.restart()
        if self.stream is None:
            with asking(self.address, "list the events"):
                self.stream = self.run.events()
        for wanted in ids:
            yield self.forward(int(wanted))

    def forward(self, wanted: int) -> Event | None:
        """Return the event of a timestamp, None if the file has gone beyond it."""
        while self.last < wanted:
            last, self.last = self.last, BEYOND  # until it has come
            with asking(self.address, f"read the event behind timestamp {last}"):
                event = next(self.stream or iter(()), None)
                if event is None:
                    return None
                self.last = int(event.timestamp)
            if self.last == wanted:
                return event
        return None


def filtered(address: Address, ids: NDArray[np.uint64]) -> InOrder:
    """Return a new session of some timestamps.

    For runs whose streams go on in further files: the table of psana2 does not know
    which file an offset belongs to, and reading beyond the first one ends the process
    (github.com/slac-lcls/lcls2, issue 130). A filter reads all files in order.
    """
    source = open_source(address, timestamps=np.asarray(ids, np.uint64))
    return InOrder(address, source, first_run(source, address))


SESSIONS: OrderedDict[Address, Session] = OrderedDict()


def session(address: Address) -> Session:
    """Return the open session of a run of this process; the caller holds `LOCK`."""
    found = SESSIONS.pop(address, None)
    if found is None:
        source = open_source(address)
        run = first_run(source, address)
        kind = InOrder if address.files else RandomAccess
        found = kind(address, source, run)
    SESSIONS[address] = found
    while len(SESSIONS) > KEPT:
        SESSIONS.popitem(last=False)
    return found


def forget() -> None:
    """Close what is open, in a forked child above all."""
    SESSIONS.clear()


os.register_at_fork(after_in_child=forget)
