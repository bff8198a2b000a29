"""What a simulated European XFEL run should look like."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from xfelred.errors import ArgumentError
from xfelred.synth.euxfel.layout import KINDS, Array, DetectorKind

PerTrain = int | Sequence[int] | Sequence[Sequence[int]]
Compression = Literal["gzip", "shuffle+gzip"] | None
Scene = Literal["rings", "noise", "constant"] | Callable[[Array], Array]
DA01 = "DA01"  # the aggregator of control data, which has a file of its own
# Of the data format; 0.5 has no METADATA of its own.
VERSIONS = ("0.5", "1.0", "1.1", "1.2", "1.3")
FILTERS = (None, "gzip", "shuffle+gzip")
FACILITY_FILTERS: dict[str, Compression] = {"mask": "gzip", "gain": "gzip"}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything about a simulated run; every field has a default.

    Parameters
    ----------
    kind : str
        "AGIPD1M", "AGIPD500K", "LPD1M", "LPDSolo", "DSSC1M" or "JUNGFRAU".
    detector : str, optional
        Name of the detector, e.g. "SPB_DET_AGIPD1M-1".
    corrected : bool
        Corrected data (float32 with gain and mask) or raw data (uint16).
    source : str, optional
        Template of the source names instead of the usual one, e.g.
        ``"{detector}/DET/{module}CH0:xtdf"`` for old corrected data or
        ``"{detector}/DET/MODULE_{module}:daqOutput"`` for a JUNGFRAU.
    legacy_sources : bool
        Add the raw names to corrected data, as soft links.
    modules : iterable of int, optional
        Numbers of the modules to write; default all.
    n_trains, first_train : int
        The train IDs, one after the other.
    train_ids : sequence of int, optional
        The train IDs as they stand in the files instead; any order, with gaps.
    suspect : collection of int
        Train IDs which did not come from the time server.
    pulses : int, sequence or sequence of sequences
        Number of pulses, pulse IDs, or pulse IDs for each train (ragged trains).
        JUNGFRAU: only the number of memory cells counts, the same for all trains.
    cells : like `pulses`, optional
        Memory cells. By default the position in the train; JUNGFRAU starts at 15.
    missing : collection of (module, train ID)
        Nothing recorded: the train is in the file of the module, with count 0.
        The module "DA01" stands for the file of control data.
    absent : collection of (module, train ID)
        The train is not in the file of the module at all.
    sequences : int, sequence of int, or mapping of module to these, optional
        Trains in each sequence file; the last one takes what is left.
    format_version : str
        "0.5", "1.0", "1.1", "1.2" or "1.3".
    index : "count" or "last", optional
        ``first, count`` or the oldest form ``first, last, status``, the default of
        format version 0.5.
    padding : int
        Pad INDEX with train ID 0 to a multiple of this.
    tail_rows : int
        Unused entries of garbage at the end of the pixel datasets.
    gap_rows : int
        Unused entries of garbage before those of every train.
    image_only : bool
        Leave out the header, detector and trailer groups.
    compression : None, "gzip", "shuffle+gzip", or mapping of dataset to these
        Default as at the facility: gain and mask with gzip, data without.
    layout : "chunked" or "contiguous"
        One HDF5 chunk for each frame, or one block for all (never compressed).
    scene : "rings", "noise", "constant", or callable
        Powder rings, no light, the same everywhere, or your own
        ``f(positions (slow, fast, 3) metre) -> (slow, fast)``, called per module.
    amplitude, noise : float
        Height of the strongest ring (or of the constant) and standard deviation of
        the readout noise, adu.
    q_rings, ring_width : float
        Centres and standard deviation of the rings, 1/angstrom.
    energy_ev, distance_m : float
        Photon energy and distance of the detector.
    beam_m : (float, float)
        Where the beam hits the plane of the detector: x, y in metre.
    positions : float (module, slow, fast, 3), metre, optional
        Pixel centres for all modules of the kind, from the sample; default
        `layout.pixel_positions`.
    jitter : float
        Relative standard deviation of the pulse energy.
    pump : float
        Fraction of the scattering that the pump laser moves to larger q. The laser is
        on in every second train.
    bad_pixels : float
        Fraction of hot pixels, marked in the mask.
    parallel_gain : bool
        LPD: every pulse is recorded in three gain stages.
    xgm, motors : bool
        Write a pulse energy monitor; a sample motor, a delay stage and the laser.
    proposal, run : int
        Numbers in METADATA and in the file names.
    seed : int
        The same seed gives the same bytes.
    faults : sequence of callables
        Each is called with the `Truth` of the finished run; see `xfelred.synth.faults`.
    """

    kind: str = "AGIPD1M"
    detector: str | None = None
    corrected: bool = True
    source: str | None = None
    legacy_sources: bool = False
    modules: Iterable[int] | None = None
    n_trains: int = 4
    first_train: int = 10000
    train_ids: Sequence[int] | None = None
    suspect: Collection[int] = ()
    pulses: PerTrain = 4
    cells: PerTrain | None = None
    missing: Collection[tuple[int | str, int]] = ()
    absent: Collection[tuple[int | str, int]] = ()
    sequences: int | Sequence[int] | Mapping[int | str, int | Sequence[int]] | None = (
        None
    )
    format_version: str = "1.2"
    index: Literal["count", "last"] | None = None
    padding: int = 0
    tail_rows: int = 0
    gap_rows: int = 0
    image_only: bool = False
    compression: Compression | Mapping[str, Compression] | Literal["facility"] = (
        "facility"
    )
    layout: Literal["chunked", "contiguous"] = "chunked"
    scene: Scene = "rings"
    amplitude: float = 100.0
    noise: float = 1.0
    q_rings: tuple[float, ...] = (0.8, 1.3, 1.9, 2.5)
    ring_width: float = 0.03
    energy_ev: float = 9300.0
    distance_m: float = 0.2
    beam_m: tuple[float, float] = (0.0, 0.0)
    positions: Array | None = None
    jitter: float = 0.1
    pump: float = 0.0
    bad_pixels: float = 0.0
    parallel_gain: bool = False
    xgm: bool = True
    motors: bool = True
    proposal: int = 700000
    run: int = 1
    seed: int = 0
    faults: Sequence[Callable[[Any], object]] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ArgumentError(f"kind={self.kind!r}: choose one of {', '.join(KINDS)}")
        check(self)

    @property
    def facts(self) -> DetectorKind:
        """The facts about this kind of detector."""
        return KINDS[self.kind]

    @property
    def name(self) -> str:
        """Name of the detector."""
        return self.detector or self.facts.default_detector

    @cached_property
    def trains(self) -> tuple[int, ...]:
        """Train IDs in the order of the files."""
        if self.train_ids is not None:
            return tuple(int(t) for t in self.train_ids)
        return tuple(range(self.first_train, self.first_train + self.n_trains))

    @cached_property
    def places(self) -> dict[int, int]:
        """Position of each train ID in `trains`."""
        return {train: i for i, train in enumerate(self.trains)}

    @cached_property
    def without_data(self) -> frozenset[tuple[int | str, int]]:
        """`missing` for quick look-up."""
        return frozenset(self.missing)

    @cached_property
    def without_row(self) -> frozenset[tuple[int | str, int]]:
        """`absent` for quick look-up."""
        return frozenset(self.absent)

    @property
    def module_numbers(self) -> tuple[int, ...]:
        """Numbers of the modules which are written."""
        if self.modules is not None:
            return tuple(int(m) for m in self.modules)
        return self.facts.numbers

    @property
    def index_form(self) -> str:
        """Form of the index of a source: "count" or "last"."""
        return self.index or ("last" if self.format_version == "0.5" else "count")

    @property
    def n_stages(self) -> int:
        """Number of frames that are recorded for each pulse."""
        return 3 if self.parallel_gain else 1

    def source_name(self, module: int) -> str:
        """Return the name of the source that holds one module."""
        if self.source is not None:
            return self.source.format(detector=self.name, module=module)
        return self.facts.source(self.name, module, corrected=self.corrected)

    def compression_of(self, dataset: str) -> Compression:
        """Return the filter of one dataset of the detector."""
        if self.layout == "contiguous" or self.compression is None:
            return None
        if isinstance(self.compression, Mapping):
            return self.compression.get(dataset)
        if self.compression == "facility":
            return FACILITY_FILTERS.get(dataset) if self.corrected else None
        return self.compression

    def files(self, module: int | str) -> list[tuple[int, ...]]:
        """Return the train IDs in each sequence file of a module (or "DA01")."""
        trains = [t for t in self.trains if (module, t) not in self.without_row]
        lengths = self.sequences
        if isinstance(lengths, Mapping):
            lengths = lengths.get(module)
        if lengths is None:
            lengths = len(trains)
        if isinstance(lengths, int):
            lengths = [lengths] * (len(trains) // max(lengths, 1))
        cuts = np.cumsum([0, *lengths])
        cuts = np.append(cuts[cuts < len(trains)], len(trains))
        return [tuple(trains[a:b]) for a, b in itertools.pairwise(cuts)]

    def pulse_ids(self) -> list[Array]:
        """Return the pulse IDs (JUNGFRAU: positions of cells) of each train."""
        ids = per_train(self.pulses, len(self.trains))
        if self.facts.per_pulse:
            return ids
        return [np.arange(len(p), dtype=np.uint64) for p in ids]

    def cell_ids(self) -> list[Array]:
        """Return the memory cell of each pulse of each train."""
        if self.cells is not None:
            return per_train(self.cells, len(self.trains))
        sizes = [len(p) for p in self.pulse_ids()]
        # A JUNGFRAU starts with cell 15 and goes on with 0.
        shift = 0 if self.facts.per_pulse else 15
        wrap = 1 << 16 if self.facts.per_pulse else 16
        return [(np.arange(n, dtype=np.uint64) + shift) % wrap for n in sizes]


def per_train(value: PerTrain, n_trains: int) -> list[Array]:
    """Return IDs for each train from a number, IDs, or IDs per train."""
    if isinstance(value, (int, np.integer)):
        return [np.arange(value, dtype=np.uint64)] * n_trains
    rows: list[Any] = list(value)
    if not any(np.ndim(row) for row in rows):
        return [np.asarray(rows, dtype=np.uint64)] * n_trains
    return [np.asarray(row, dtype=np.uint64) for row in rows]


def check(config: RunConfig) -> None:
    kind, trains = config.facts, config.trains
    named = {t for _, t in (*config.missing, *config.absent)} | set(config.suspect)
    unknown = sorted(named - set(trains))
    pulses, cells = config.pulse_ids(), config.cell_ids()
    sizes = [len(p) for p in pulses]
    filters = {config.compression_of(name) for name in ("data", "gain", "mask")}
    problems = (
        (
            config.format_version not in VERSIONS,
            f"format_version={config.format_version!r}; known: {', '.join(VERSIONS)}",
        ),
        (
            not set(config.module_numbers) <= set(kind.numbers),
            f"modules={config.module_numbers}; {kind.name} has only {kind.numbers}",
        ),
        (
            len(set(trains)) < len(trains) or 0 in trains,
            f"train IDs must be different and not 0: {trains}",
        ),
        (bool(unknown), f"missing, absent or suspect trains not in the run: {unknown}"),
        (
            {len(pulses), len(cells)} != {len(trains)},
            f"pulses of {len(pulses)} and cells of {len(cells)} trains are given, the"
            f" run has {len(trains)}",
        ),
        (sizes != [len(c) for c in cells], "as many cells as pulses are needed"),
        (
            not kind.per_pulse and len(set(sizes)) > 1,
            f"a {kind.name} has the same cells in every train; pulses={sizes}",
        ),
        (
            config.parallel_gain and kind.aggregator != "LPD",
            f"parallel_gain is a mode of the LPD, not of {kind.name}",
        ),
        (
            not filters <= set(FILTERS),
            f"compression={config.compression!r}; known: {FILTERS}",
        ),
        (
            config.index == "last" and config.format_version != "0.5",
            f'index="last" belongs to version 0.5, not {config.format_version}',
        ),
    )
    for wrong, message in problems:
        if wrong:
            raise ArgumentError(message)
