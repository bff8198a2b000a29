"""What is fixed for one detector, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from xfelred.entries import entry
from xfelred.errors import ArgumentError, must_be_one_of
from xfelred.kernels.calibration.rule import Rule

Pars = tuple[Any, ...]
Pair = tuple[float, float]
Tells = Literal["nothing", "bits", "codes", "configuration", "thresholds"]


@entry
@dataclass(frozen=True)
class Segment:
    """One module as its electronics read it.

    Attributes
    ----------
    shape : (rows, columns)
        Pixels along slow_scan and fast_scan.
    banks : int
        Equal groups of columns that are read together.
    halves : int
        Equal groups of rows.
    asics : ((first row, ...), (first column, ...))
        Where a new ASIC begins inside the segment. By default nowhere.

    Raises
    ------
    ValueError
        If banks or halves do not divide the shape.

    Examples
    --------
    >>> Segment((512, 128), banks=2, halves=8).groups("row")
    (1, 64)
    """

    shape: tuple[int, int]
    banks: int = 1
    halves: int = 1
    asics: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def __post_init__(self) -> None:
        for name, n, size, axis in (
            ("banks", self.banks, self.shape[1], "columns"),
            ("halves", self.halves, self.shape[0], "rows"),
        ):
            if n < 1 or size < 1 or size % n:
                raise ArgumentError(
                    f"{name}={n} does not divide {size} {axis} of a segment of shape"
                    f" {self.shape}; wanted a divisor of {size}"
                )

    @entry
    def groups(self, kind: str) -> tuple[int, int]:
        """Return (rows, columns) of one group: "bank", "row", "column", ...

        Raises
        ------
        ValueError
            If there is no such kind of group.
        """
        rows, columns = self.shape
        half, bank = rows // self.halves, columns // self.banks
        known = {
            "row": (1, bank),
            "full_row": (1, columns),
            "column": (half, 1),
            "full_column": (rows, 1),
            "bank": (half, bank),
            "all": (rows, columns),
        }
        must_be_one_of("groups: kind", kind, known)
        return known[kind]


@dataclass(frozen=True)
class Gain:
    """How raw numbers are read."""

    rule: Rule = field(default_factory=Rule)
    # What tells the gain range: bits of the number, codes in an array beside it, the
    # configuration of the pixel and one bit, or thresholds of the gain voltage.
    tells: Tells = "nothing"
    used_ranges: tuple[int, ...] = (0,)  # that take part in a common mode
    unit: str = ""  # of a gain that does not say
    axis: str = ""  # along which frames hold a gain voltage, or every gain stage
    flag_bit: int = 0  # the lowest bit that is a flag, where `rule` knows of none
    negative: bool = False  # numbers count downwards

    @property
    def switches(self) -> bool:
        """Whether there are several gain ranges."""
        return self.rule.n_ranges > 1


@dataclass(frozen=True, eq=False)
class CommonModes:
    """The numbers that LCLS users know common modes by."""

    default: int  # the number that `None` stands for
    numbers: Mapping[int, Pars]  # () does nothing
    lcls2: Mapping[int, Pars] = field(default_factory=dict)  # where those differ there
    ghosts: bool = False  # numbers above 100 also take away that of the previous frame
    dark_region: bool = False  # first the median of pixels without light is subtracted


@dataclass(frozen=True)
class Sources:
    """How the European XFEL names and stores the modules of a detector."""

    kind: str  # name of the class in scripts of the facility
    pattern: str  # of the detector name, the start of its source names
    # What follows in source names, with the module number.
    raw: str = r"/DET/(?P<modno>\d+)CH"
    corrected: str = r"/CORR/(?P<modno>\d+)CH"
    data: str = "image.data"  # key of the pixels
    mask: str = "image.mask"  # that of their bad-pixel bits
    first_number: int = 0
    inner: tuple[str, ...] = ()  # axes of an entry that count frames (memory cells)
    # Axes of raw data, if these tell them from corrected ones; else raw are integers.
    raw_ndim: int | None = None
    options: tuple[str, ...] = ()  # of this detector alone

    def match(self, source: str) -> tuple[str, int, bool] | None:
        """Return (detector, module number, whether below /CORR/) for a source name."""
        for tail, corrected in ((self.raw, False), (self.corrected, True)):
            found = re.match(f"(?P<detector>{self.pattern}){tail}", source)
            if found:
                return found["detector"], int(found["modno"]), corrected
        return None


@dataclass(frozen=True)
class Layout:
    """How modules are placed."""

    unit: float  # metres per unit in which positions and gaps are given
    asic_gap: float  # by default, in `unit`, as is the next
    panel_gap: float | Pair  # a pair: along x and along y
    tile: tuple[int, int]  # (slow, fast) pixels without a gap between them
    # How tiles and modules follow each other, see `xfelred.geometry.detectors`.
    order: Literal["agipd", "agipd500k2g", "dssc", "jungfrau", "lpd"]
    stagger: float = 0.0  # odd rows are shifted by this part of a pixel


@dataclass(frozen=True, eq=False)
class Detector:
    """One detector; what is None is not known of it, or it has none.

    Attributes
    ----------
    name : str
    facility : {"euxfel", "lcls", "sacla"}
    aliases : tuple of str
        Other names, in any spelling. Sizes, such as the 4M of jungfrau4M, need none.
    family : str
        Of one size of a detector: the name of the detector.
    segment : Segment
    n_segments : int
        None: it depends on the installation.
    pitch : (slow, fast), m
        Of usual pixels, some between ASICs are wider; 0 if it is not known.
    gain : Gain
    modes : CommonModes
    sources : Sources
    layout : Layout
    camera : bool
        Nothing more is known of its numbers than of those of any camera.
    """

    name: str
    facility: str
    aliases: tuple[str, ...] = ()
    family: str = ""
    segment: Segment | None = None
    n_segments: int | None = None
    pitch: Pair = (0.0, 0.0)
    gain: Gain = field(default_factory=Gain)
    modes: CommonModes | None = None
    sources: Sources | None = None
    layout: Layout | None = None
    camera: bool = False

    @property
    def kind(self) -> str:
        """Name of the detector, whatever its size."""
        return self.family or self.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Modules (0: it depends), rows and columns of frames; 0 if not known."""
        rows, columns = (0, 0) if self.segment is None else self.segment.shape
        return self.n_segments or 0, rows, columns

    @property
    def flag(self) -> int | None:
        """The lowest flag in a raw word, ``g0cut`` of the LCLS calibration suite.

        Words from it on are of pixels that have switched; None: words have no flag.
        """
        bit = self.gain.flag_bit or self.gain.rule.shift
        return 1 << bit if bit else None

    def sized(
        self, name: str, n_segments: int | None, *aliases: str, **own: Any
    ) -> Detector:
        """Return one size of the detector."""
        own |= {"name": name, "n_segments": n_segments, "aliases": aliases}
        return replace(self, family=self.kind, **own)
