"""The introduction and the notes of a table, from its records."""

from collections.abc import Mapping, Sequence

from faal.report import wording
from faal.study.reproduce.output.aggregate import RowSummary
from faal.study.reproduce.output.formats import MISSING
from faal.study.reproduce.rows import Record
from faal.study.reproduce.scales import PROTOCOLS, SCALES, ProtocolName, ScaleName


def introduction(scale: ScaleName, printed: bool) -> list[str]:
    """How to read the table; `printed`: whether it has columns of the paper."""
    sentences = [
        "Average (worst class) accuracy in per cent: mean ± standard deviation over the training seeds, without ± "
        f"for a single seed; the worst class is that of each seed. {MISSING} marks a missing value: "
        "not finished here, or not in the paper."
    ]
    if printed and scale == "paper":
        sentences.append("The columns “paper” are the values in the paper.")
    elif printed:
        sentences.append(
            "The columns “paper” are the values in the paper, at its scale: they are not comparable with the "
            f"measured ones, which are at scale {scale}."
        )
    return sentences


def table_notes(
    rows: Sequence[RowSummary], records: Sequence[Record], scale: ScaleName, protocol: ProtocolName
) -> list[str]:
    """Scale, protocol, number of images, remarks, machine and commit of the records."""
    sentences = [*SCALES[scale].remarks, f"Protocol {protocol}: {PROTOCOLS[protocol]}."]
    if not records:
        return [*sentences, "No row is finished."]
    counts = sorted({record.n for record in records})
    sentences.append(f"Evaluated on {wording.listing([f'{n:,}' for n in counts])} test images.")
    sentences += _remarks([row for row in rows if row.records])
    workers = max(record.workers for record in records)
    if workers > 1:
        sentences.append(
            f"Up to {workers} networks were trained in parallel on one machine: the seconds per epoch of the "
            "methods are not comparable."
        )
    commits = sorted({record.commit or "unknown" for record in records})
    machines = dict.fromkeys(_machine(record.environment) for record in records)
    sentences.append(f"Commit{'s' * (len(commits) > 1)} {wording.listing(commits)}; {wording.listing(list(machines))}.")
    return list(dict.fromkeys(sentences))


def _remarks(finished: Sequence[RowSummary]) -> list[str]:
    """The distinct notes of the records; one that is not in all finished rows begins with the names of its rows."""
    rows_of: dict[str, list[str]] = {}
    for row in finished:
        for note in dict.fromkeys(note for record in row.records for note in record.note):
            sentence = " ".join(note.split()).removesuffix(".") + "."
            rows_of.setdefault(sentence, []).append(row.row.name)
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
