"""What the reader of a table has to know, in sentences made from its records."""

from collections.abc import Mapping, Sequence

from faal.report import wording
from faal.study.reproduce.output.aggregate import Line
from faal.study.reproduce.output.formats import MISSING
from faal.study.reproduce.rows import Record
from faal.study.reproduce.scales import scale_named

PROTOCOLS = {
    "honest": "one split, one budget and one rule of selection for all rows, and none looks at the test images",
    "published": "each method with the quirks of its published code",
}


def lead(scale: str, printed: bool) -> list[str]:
    """How to read the table."""
    told = [
        "Average (worst class) accuracy in per cent: mean ± standard deviation over the training seeds, of which a "
        f"single one has no ±; the worst class is each seed’s own. {MISSING} stands where nothing is finished or "
        "printed."
    ]
    if printed and scale == "paper":
        told.append("The columns “paper” are what the paper prints.")
    elif printed:
        told.append(
            "The columns “paper” are what the paper prints, at its own scale: they are not comparable number for "
            f"number with ours, which are at scale {scale}."
        )
    return told


def notes(lines: Sequence[Line], records: Sequence[Record], scale: str, protocol: str) -> list[str]:
    """What the figures rest on."""
    told = [*scale_named(scale).words, f"Protocol {protocol}: {PROTOCOLS[protocol]}."]
    if not records:
        return [*told, "No row is finished."]
    counts = sorted({record.n for record in records})
    told.append(f"Judged on {wording.listing([f'{n:,}' for n in counts])} test images.")
    told += _shared([line for line in lines if line.records])
    workers = max(record.workers for record in records)
    if workers > 1:
        told.append(
            f"Up to {workers} networks were trained side by side on one machine: the seconds per epoch are no measure "
            "of the methods."
        )
    commits = sorted({record.commit or "unknown" for record in records})
    machines = dict.fromkeys(_machine(record.environment) for record in records)
    told.append(f"Commit{'s' * (len(commits) > 1)} {wording.listing(commits)}; {wording.listing(list(machines))}.")
    return list(dict.fromkeys(told))


def _shared(finished: Sequence[Line]) -> list[str]:
    """The records' notes, every one once; one that not all finished rows have names its rows."""
    rows_of: dict[str, list[str]] = {}
    for line in finished:
        for note in dict.fromkeys(note for record in line.records for note in record.note):
            sentence = " ".join(note.split()).removesuffix(".") + "."
            rows_of.setdefault(sentence, []).append(line.row.name)
    return [
        sentence if len(rows) == len(finished) else f"{', '.join(rows)}: {sentence}"
        for sentence, rows in rows_of.items()
    ]


def _machine(environment: Mapping[str, object]) -> str:
    packages = environment.get("packages")
    torch = packages.get("torch") if isinstance(packages, Mapping) else None
    device = environment.get("device", "cpu")
    return f"{environment.get('processor') or 'unknown processor'}" + (
        (f", {device}" if device != "cpu" else "") + (f", PyTorch {torch}" if torch else "")
    )
