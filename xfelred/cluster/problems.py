"""The error of clusters that cannot be started or reached."""

from __future__ import annotations

from xfelred.errors import XfelredError


class ClusterError(XfelredError, ConnectionError):
    """A cluster cannot be started, or cannot be reached."""
