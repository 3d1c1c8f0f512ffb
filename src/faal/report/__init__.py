"""`report.html` and figures for papers, from a run's files alone. Imports no torch."""

from faal.report.page import write_report

__all__ = ["write_report"]
