"""The balls of `solve_kldro`, one file each: what the divergence is, how its worst distribution looks, how it is found.

A ball is a function of three float64 tensors on one device, in which no value is looked at from Python (but for the
end of a search on a CPU, see `newton`):

    gap: (..., C) how far each class's loss lies below the largest, in units of the losses' range, so in [0, 1].
    tau: (..., 1) or (1,) the radius, larger than 0.
    u:   (..., C) the reference; a class with u = 0 has gap 0.

It returns (..., C) weights. What all balls have in common (units, the radius 0, equal losses) is `kldro.py`'s: rows of
NaN come in where it knows the answer, and nobody looks at what goes out.
"""
