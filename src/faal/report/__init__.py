"""`report.html` and figures for papers, from a run's files alone. Imports no torch."""
