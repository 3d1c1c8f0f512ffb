"""The threat model: the norm and the radius of the ball around an image that an attack may search."""

from dataclasses import dataclass

from faal.arguments import real
from faal.config.choices import NormName
from faal.config.schedule import number
from faal.epsilon import epsilon_text
from faal.errors import InputError, described, one_of

MAX_EPSILON: dict[NormName, float] = {"linf": 1.0, "l2": 16.0}
"""For each norm the largest plausible radius in units of images in [0, 1]; a larger one is in pixel levels."""


@dataclass(frozen=True)
class Threat:
    """A ball: its norm, `linf` or `l2`, and its radius epsilon in units of images in [0, 1].

    Raises:
        InputError: there is no such norm, or the radius is not above 0, or so large that it is in pixel levels.
    """

    norm: NormName = "linf"
    epsilon: float = 8 / 255

    def __post_init__(self) -> None:
        norm_named(self.norm)
        if self.epsilon > MAX_EPSILON[self.norm]:
            large = "the full range" if self.norm == "linf" else "any useful radius"
            raise InputError(
                f"epsilon {self.epsilon:g} is larger than {large} of images in [0, 1]; "
                f"did you mean {self.epsilon:g}/255?"
            )
        if not self.epsilon > 0:
            raise InputError(f"epsilon is the radius of a ball and larger than 0, not {self.epsilon:g}")

    def __str__(self) -> str:
        return f"{self.norm} epsilon {epsilon_text(self.epsilon)}"


def norm_named(name: str) -> NormName:
    """The norm of a name. Raises InputError where there is none."""
    return one_of("norm", name, MAX_EPSILON, see="`faal audit --help`")


def parse_epsilon(value: object) -> float:
    """A radius from a number, or from text such as `8/255`.

    Raises:
        InputError: it is neither.
    """
    try:
        return number(value if isinstance(value, str) else real("epsilon", value))
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"epsilon is a number in units of images in [0, 1], such as 8/255, not {described(value)}"
        ) from None
