"""`report.html` and figures for papers, only from a run's files, without importing torch."""

from faal.report.page import write_report

__all__ = ["write_report"]
