"""Public robust networks of others: where they are from, what was published of them, and how they are audited here."""

from dataclasses import dataclass, field

WHOLE = 10_000
"""Images of either test set; the published figures are of all of them."""

ONE_START = (
    "one start of 20 steps on the cross-entropy is the weakest attack here; the margin (cw20), and both together, are "
    "within the published interval."
)


@dataclass(frozen=True)
class Published:
    """An accuracy that somebody else measured, in per cent."""

    attack: str
    """As its source names it; `clean` for none."""
    value: float
    n: int = WHOLE
    """Of how many test images."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One audit: its attacks, and how many images, drawn in proportion to the classes; None for all."""

    attacks: str
    limit: int | None = None

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.attacks.replace(',', '-')}-{self.limit or 'all'}"


@dataclass(frozen=True, kw_only=True)
class PublicNetwork:
    """A checkpoint, its architecture in `nets.py` beside it, and its audits.

    Attributes:
        file: the checkpoint.
        model: `nets:FUNCTION`.
        source: the public repository that it is from.
        data: `cifar10` or `mnist`.
        epsilon: radius of the ball in L-infinity, as text.
        normalize: like `--normalize`.
        published: what its source says of it; the first is clean accuracy where there is one.
        clean: clean accuracy on all test images measured outside this project, in per cent; None for none.
        audits: what is measured here.
        explained: where a robust accuracy is above the published one, why.
    """

    file: str
    model: str
    source: str
    data: str
    epsilon: str
    normalize: str = "none"
    published: tuple[Published, ...] = ()
    clean: float | None = None
    audits: tuple[Audited, ...] = field(default=())
    explained: str = ""


NETWORKS = {
    "ResNet-2B": PublicNetwork(
        file="vnncomp-resnet2b.pth",
        model="nets:resnet2b",
        source="stanleybak/vnncomp2021, benchmarks/cifar10_resnet",
        data="cifar10",
        epsilon="2/255",
        normalize="cifar10",
        published=(Published("clean", 69.25), Published("PGD", 54.82)),
        clean=69.25,
        audits=(
            Audited(attacks="clean,pgd20,cw20"),
            Audited(attacks="autoattack", limit=250),
            Audited(attacks="pgd20x5,cw20x5", limit=4200),
        ),
        explained=ONE_START,
    ),
    "ResNet-4B": PublicNetwork(
        file="vnncomp-resnet4b.pth",
        model="nets:resnet4b",
        source="stanleybak/vnncomp2021, benchmarks/cifar10_resnet",
        data="cifar10",
        epsilon="2/255",
        normalize="cifar10",
        published=(Published("clean", 77.20), Published("PGD", 61.41)),
        clean=77.20,
        audits=(Audited(attacks="clean"), Audited(attacks="pgd20,cw20")),
        explained=ONE_START,
    ),
    "CNN-A": PublicNetwork(
        file="sdp-cnn-a-adv.pth",
        model="nets:cnn_a",
        source="Verified-Intelligence/alpha-beta-CROWN, models/sdp",
        data="cifar10",
        epsilon="2/255",
        normalize="0.491373,0.482353,0.446667:0.247059,0.243529,0.261569",
        audits=(Audited(attacks="clean"), Audited(attacks="pgd20,cw20", limit=4200)),
    ),
    "LeNet-5": PublicNetwork(
        file="advertorch-mnist-lenet5.pt",
        model="nets:LeNet5",
        source="BorealisAI/advertorch",
        data="mnist",
        epsilon="0.3",
        published=(Published("clean", 98.64), Published("PGD-40", 93.2)),
        clean=98.64,
        audits=(Audited(attacks="clean"), Audited(attacks="pgd40,cw40", limit=1200)),
    ),
    "SmallCNN (TRADES)": PublicNetwork(
        file="trades-mnist-smallcnn.pt",
        model="nets:SmallCNN",
        source="lovettxh/trade-m",
        data="mnist",
        epsilon="0.3",
        published=(Published("clean", 99.48), Published("AutoAttack", 92.81)),
        clean=99.52,
        audits=(
            Audited(attacks="clean"),
            Audited(attacks="pgd40,cw40", limit=1000),
            Audited(attacks="autoattack", limit=100),
        ),
        explained="the published figure is AutoAttack's: four attacks, two of them against nine targets each and one a "
        "search of 5,000 queries. Here it is 40 steps from one start, which gave 95.3 % elsewhere, on the first 2,000 "
        "images.",
    ),
}
