"""Pairs of shots for difference correlations: who is subtracted from whom.

Every function returns a DataArray with dims ``(pair, member)`` that holds train IDs.
Dark shots (coordinate ``shutter_open`` False) are left out and never mix with lit ones.
"""

from xfelred.lazy_names import listed
from xfelred.pairs.makers import between, consecutive, disjoint, from_list, random
from xfelred.pairs.similarity import similar

__all__ = ["between", "consecutive", "disjoint", "from_list", "random", "similar"]

__dir__ = listed(__all__)
