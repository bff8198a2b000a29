"""How detectors are divided: segments, their ASICs and their readout groups."""

from __future__ import annotations

from dataclasses import dataclass

from xfelred.detector_names import known_as
from xfelred.entries import entry
from xfelred.errors import ArgumentError, must_be_one_of


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


# Pixels, banks and halves of the LCLS detectors: psana. Of the others: readout chips of
# AGIPD have 64 x 64 pixels, of LPD 32 x 128, of DSSC 64 x 64; a sensor of the MPCCD is
# taken to be read through 8 ports of 64 columns.
segments: dict[str, Segment] = {
    "jungfrau": Segment((512, 1024), 16, 2, ((256,), (256, 512, 768))),
    "epix10ka": Segment((352, 384), 8, 2, ((176,), (192,))),
    "epix100": Segment((704, 768), 8, 2, ((352,), (384,))),
    "epixhr": Segment((288, 384), 8, 2, ((144,), (192,))),
    "pnccd": Segment((512, 512), 4, 1),
    "cspad2x1": Segment((185, 388), 2, 1, ((), (194,))),
    # Without banks: psana has no common mode of these by groups.
    "epixm": Segment((192, 384)),
    "epixuhr": Segment((168, 192)),
    "agipd": Segment((512, 128), 2, 8, (tuple(range(64, 512, 64)), (64,))),
    "lpd": Segment((256, 256), 2, 8, (tuple(range(32, 256, 32)), (128,))),
    "dssc": Segment((128, 512), 8, 2, ((64,), tuple(range(64, 512, 64)))),
    "mpccd": Segment((1024, 512), 8, 1),
}


@entry
def segment_of(segment: Segment | str | tuple[int, int]) -> Segment:
    """Return the segment of a name, such as "jungfrau", or of a shape.

    Parameters
    ----------
    segment : Segment, str or (rows, columns)
        A name in `masks.segments`, whatever its case, or a name of the whole detector,
        such as "jungfrau4M". A plain shape has one bank and no ASICs.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if isinstance(segment, Segment):
        return segment
    if isinstance(segment, str):
        name = known_as(
            segment, segments, "segment",
            " For any other give Segment(shape, banks=, halves=)",
        )  # fmt: skip
        return segments[name]
    rows, columns = segment
    return Segment((int(rows), int(columns)))
