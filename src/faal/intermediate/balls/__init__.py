"""The balls of `solve_kldro`, a module for each: the divergence, the form of its worst distribution, and its solution.

A ball is a function of three float64 tensors on one device. It reads no value on the host, except to end a search on a
CPU (see `newton`):

    gap: (..., C) the difference of each class's loss to the largest, in units of the losses' range, so in [0, 1].
    tau: (..., 1) or (1,) the radius, larger than 0.
    u:   (..., C) the reference; a class with u = 0 has gap 0.

It returns (..., C) weights. What all balls have in common (units, the radius 0, equal losses) is in `kldro.py`, which
passes a tau of NaN where it needs no search, and discards the result.
"""
