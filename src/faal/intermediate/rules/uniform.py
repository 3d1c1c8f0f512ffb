"""Equal weights: plain adversarial training."""

from faal.intermediate.class_rule import ClassRule


class Uniform(ClassRule):
    """Weight 1 for every class."""

    any_groups = True

    def first_epoch(self, epochs: int) -> int:
        """None: `epochs`."""
        return epochs
