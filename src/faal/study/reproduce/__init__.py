"""`faal reproduce`: the paper's tables and figures, row by row, by any number of workers that share a folder.

From rows to a table: `rows.py` defines a row, `tables.py` lists them, `scales.py` has the recipe and the attacks of a
row at each scale, `plan.py` the order of the work, `workers/` its execution, `output/` the files, `run.py` all of it.
"""
