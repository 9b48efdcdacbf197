"""A comparison as one HTML file that opens from disk: scores, and a viewer of every image."""

from hdrlab.evaluation.report.images import page_image
from hdrlab.evaluation.report.page import write_report

__all__ = ["page_image", "write_report"]
