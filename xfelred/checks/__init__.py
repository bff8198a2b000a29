"""What is wrong with the files of a run, found without reading its frames."""

from xfelred.checks.findings import Finding, Report
from xfelred.checks.whole import check

__all__ = ["Finding", "Report", "check"]
