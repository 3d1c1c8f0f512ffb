"""The description of a run in its files: config.yaml, and the part of a checkpoint that describes the network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import Tensor, nn

from faal.config import Recipe
from faal.data import DataSet, fingerprint
from faal.methods import steers
from faal.models import Architecture
from faal.train.parts import Parts
from faal.train.state import copied


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The properties of a run that are fixed before its first step."""

    recipe: Recipe
    architecture: Architecture
    seed: int
    data_name: str
    fingerprint: str
    """The fingerprint of the full training set."""
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    """The groups that class rules weight: the classes, unless the data has a grouping."""
    grouping: dict[str, Any] | None
    """The record of the grouping, where the data has one."""
    image_shape: tuple[int, ...]
    """Channels, height and width."""
    select_index: Tensor
    """(M,) int64, the images withheld to choose the epoch."""
    withheld: tuple[str, ...]
    """Digests of the withheld parts on which neither this run nor its bases were trained."""
    trained_on: tuple[str, ...]
    """The withheld parts, `select` or `steer`, that the initial network may have been trained on."""
    origin: Mapping[str, Any] | None
    """The checkpoint that a fine-tune starts from."""
    validation: str | None = None
    """The fingerprint of the images that the epoch is chosen on, where these are not of the training set."""

    @classmethod
    def of(
        cls,
        data: DataSet,
        parts: Parts,
        recipe: Recipe,
        architecture: Architecture,
        *,
        seed: int,
        origin: Mapping[str, Any] | None,
    ) -> Self:
        """The record of a run on `parts` of `data`."""
        full = parts.full
        data_digest = fingerprint(full)
        digests = parts.digests(data_digest)
        unused = digests.values() if origin is None else origin.get("withheld", ())
        evaluated = ("select", "steer") if steers(recipe) else ("select",)
        return cls(
            recipe=recipe,
            architecture=architecture,
            seed=seed,
            data_name=data.name,
            fingerprint=data_digest,
            classes=data.classes,
            groups=data.groups,
            grouping=full.grouping.record() if full.grouping else None,
            image_shape=tuple(full.images.shape),
            select_index=parts.select_index,
            withheld=tuple(digest for digest in digests.values() if digest in unused),
            trained_on=tuple(part for part in evaluated if part in digests and digests[part] not in unused),
            origin=origin,
            validation=parts.validation,
        )

    def config(self, precision: str) -> dict[str, Any]:
        """The contents of config.yaml."""
        grouped = {"groups": self.grouping} if self.grouping else {}
        validated = {"validation": self.validation} if self.validation else {}
        return {
            "recipe": self.recipe.plain(),
            "architecture": asdict(self.architecture),
            "data": {"name": self.data_name, "fingerprint": self.fingerprint, "held_out": len(self.select_index)}
            | grouped
            | validated,
            "seed": self.seed,
            "precision": precision,
            "origin": self.origin,
        }

    def checkpoint(self, net: nn.Module, epoch: int) -> dict[str, Any]:
        """The contents of a checkpoint of `net`, after `epoch`: its weights, and all that is needed to use them."""
        return {
            "architecture": asdict(self.architecture),
            "classes": list(self.classes),
            "image_size": list(self.image_shape[1:]),
            "weights": copied(net),
            "recipe": self.recipe.plain(),
            "seed": self.seed,
            "epoch": epoch,
            "held_out": {
                "data": self.fingerprint,
                "select": self.select_index,
                "withheld": list(self.withheld),
                "seen": "select" in self.trained_on,
            },
            "origin": None if self.origin is None else dict(self.origin),
        }
