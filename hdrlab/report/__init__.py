"""A comparison as one HTML file that opens from disk: scores, and a viewer of every picture."""

from hdrlab.report.model import Column, Difference, Method, Picture, Report, ReportError, Score
from hdrlab.report.page import write_report

__all__ = [
    "Column",
    "Difference",
    "Method",
    "Picture",
    "Report",
    "ReportError",
    "Score",
    "write_report",
]
