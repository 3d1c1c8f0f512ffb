"""Misuse, caught in words: signs that an audit's figures do not mean what a reader takes them for.

Each sign is a whole sentence in the result: what was seen, what it means for the figures, what to do. Most are facts:
in what was asked and in the clean pass (`known.py`), among the images (`leakage.py`), in how the model answers
(`outputs.py`) and what it does to images (`normalisers.py`). The other probes are tests: of the clean answers
(`numbering.py`), and of a few samples, drawn with the audit's seed (`readings.py`, `gradients.py`). They speak up for
an honest model with a chance of at most 1 in 1,000 each, 1 in 200 together; `evidence.py` has the test, each probe what
it calls honest. They change no verdict, and the first that asks the model and finds something is the last to ask.

Together they cost about 64 x (200 + 20 x 3) + 6 x 256 forwards at the most: 3 % of a PGD-20 on 10,000 images. On fewer
images they ask fewer, down to 16: three tenths of a PGD-20 on 250.
"""

from faal.audit.misuse.examination import Signs, examine

__all__ = ["Signs", "examine"]
