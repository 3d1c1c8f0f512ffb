"""Evaluates candidates on the images that the choice is made on, each once: repair.json has what is evaluated."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from faal.config import Recipe
from faal.config.choices import ScoreRule
from faal.data import Split
from faal.engine.numerics import Numerics
from faal.models.offsets import Offset
from faal.repair.candidates import RepairCandidate, with_parts
from faal.repair.networks import Networks
from faal.repair.record import RepairRecord
from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts, scores
from faal.train.evaluate import evaluate, robustly_correct
from faal.train.offsets import rule_for_offsets, search
from faal.train.selection import selection_request


class Evaluator:
    """The candidates of one repair under the attack of its selection, in float32.

    Args:
        networks: builds the candidates.
        images: what the choice is made on.
        record: what has been evaluated.
        recipe: the repair's.
        settings: the repair's.
        seed: of the attack's random starts, which are the same for all candidates.
        device: where to evaluate.
    """

    def __init__(
        self,
        networks: Networks,
        images: Split,
        record: RepairRecord,
        recipe: Recipe,
        settings: RepairSettings,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.networks, self.images, self.record, self.recipe = networks, images, record, recipe
        self.settings, self.seed = settings, seed
        self.rule: ScoreRule = rule_for_offsets(recipe) if settings.max_average_loss is None else "worst"
        """The score that candidates are chosen by."""
        self.numerics = Numerics.choose("float32", device)
        self.request = selection_request(recipe.select_attack)

    def verdicts(self, net: nn.Module, split: Split | None = None) -> HeldOutVerdicts:
        """The verdicts of a network, on `split` or on the images of the choice."""
        images = self.images if split is None else split
        correct = robustly_correct(
            net, images, self.request, threat=self.recipe.threat, seed=self.seed, numerics=self.numerics
        )
        return HeldOutVerdicts.of(correct, images.groups, self.record.names)

    def clean_accuracy(self, net: nn.Module) -> float:
        """The accuracy of a network without attack, on the images of the choice; a fraction."""
        metrics = evaluate(
            net,
            self.images,
            self.request,
            num_classes=self.networks.num_classes,
            threat=self.recipe.threat,
            seed=self.seed,
            numerics=self.numerics,
        )
        return float(1 - metrics.overall(metrics.clean_error))

    def evaluate(
        self, candidate: RepairCandidate, epochs: Mapping[int, Mapping[str, Tensor]] | None = None
    ) -> HeldOutVerdicts:
        """The verdicts of a candidate, from the record where it has them; `epochs`: weights by epoch."""
        known = self.record.evaluated.get(candidate.name)
        if known is not None:
            return known[1]
        verdicts = self.verdicts(self.networks.load(self.networks.weights(candidate, epochs or {}), candidate.offsets))
        self.record.add(candidate, verdicts)
        return verdicts

    def score(self, candidate: RepairCandidate) -> tuple[bool, float]:
        """Whether an evaluated candidate loses little enough on average, and its score."""
        verdicts, base = (self.record.evaluated[each.name][1] for each in (candidate, RepairCandidate()))
        allowed = base.average - verdicts.average <= self.settings.largest_loss
        return allowed, float(scores(verdicts.rates, verdicts.average, self.rule))

    def with_offsets(
        self, candidate: RepairCandidate, epochs: Mapping[int, Mapping[str, Tensor]]
    ) -> list[RepairCandidate]:
        """A candidate with the best offsets for it, and with parts of them; none where no offsets are better.

        They are searched on the images of the choice (`train.offsets`).
        """
        known = [each for each, _ in self.record.evaluated.values() if each.without_offsets == candidate]
        found = [each for each in known if each.offsets is not None and each.part == 1]
        net = self.networks.load(self.networks.weights(candidate, epochs), None)
        before: Any = net.offsets.cpu().clone() if isinstance(net, Offset) else torch.zeros(self.networks.num_classes)
        if found and found[0].offsets is not None:
            return with_parts(candidate, before, torch.tensor(found[0].offsets))
        net = net if isinstance(net, Offset) else Offset(net, before.to(self.numerics.device))
        search(
            net,
            self.images,
            self.request,
            rule=self.rule,
            num_classes=self.networks.num_classes,
            threat=self.recipe.threat,
            seed=self.seed,
            numerics=self.numerics,
        )
        return with_parts(candidate, before, net.offsets.cpu())
