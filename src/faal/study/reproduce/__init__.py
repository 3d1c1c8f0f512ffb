"""`faal reproduce`: the paper's tables and figures, row by row, by any number of workers that share a folder.

`rows.py` defines a row, `tables.py` lists all rows, `scales.py` the recipe and the attacks of a row at each scale,
`plan.py` the order of the work; `workers/` executes it, `output/` writes the files, and `run.py` calls all of these.
"""
