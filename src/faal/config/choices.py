"""Names of a fixed choice that several parts of the program share, as types.

`typing.get_args` of a type is the list of its names; a table that has an entry for each is keyed by the type.
"""

from typing import Literal

NormName = Literal["linf", "l2"]
"""The norm of the ball that an attack is limited to."""

LossName = Literal["ce", "kl", "cw"]
"""What an attack maximises: cross-entropy, the KL divergence from the clean prediction, or the margin of the logits."""

StartName = Literal["uniform", "gaussian", "zero"]
"""Where an attack starts: a random point of the ball, x + 0.001 N(0, 1), or the image x itself."""

ScoreRule = Literal["sum", "average", "worst"]
"""What is maximised of the robust accuracies: average plus worst class, average, or worst class."""

StatisticName = Literal["margin", "cross-entropy"]
"""The class statistic that FAAL's weights follow from."""

Precision = Literal["auto", "float32", "bf16"]
"""The arithmetic of training; `auto`: bf16 where that is faster."""
