"""`faal reproduce`: the paper's tables and figures, row by row, by any number of workers that share a folder.

From rows to a table: `rows.py` what a row is, `tables.py` which there are, `scales.py` how a row is trained and judged
at each scale, `plan.py` what depends on what, `claims.py` who does it, `work.py` the doing, `run.py` all of it.
"""
