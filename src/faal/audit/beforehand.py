"""What several audits would refuse, said before the first of them is computed."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor, nn

from faal.audit import run
from faal.audit.blocks import Source
from faal.audit.checks import check_settings
from faal.audit.folder import blocks_of, refuse_another
from faal.config import Threat
from faal.errors import refuse_unwritable


def refuse_others(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    *,
    folders: Mapping[Path, Threat],
    beside: Path,
    seed: int = 0,
    block_size: int = 250,
    limit: int | None = None,
    model_record: Mapping[str, Any] | None = None,
    data_record: Mapping[str, Any] | None = None,
    **_: Any,
) -> None:
    """Refuse folders of other subjects as audits with these arguments would, before the first of them.

    Args:
        model: as for `audit`, and so are the other arguments that are not named here.
        images: (N, channels, H, W).
        labels: (N,).
        folders: the folders of the audits, and what each attacks.
        beside: a folder whose own audit is shown with these: it has to be of the same network and data, at any threat.
        seed: the audits'.
        block_size: the audits'.
        limit: the audits'.
        model_record: the audits'.
        data_record: the audits'.

    Raises:
        InputError: one holds the audit of another subject, or cannot be written.
    """
    check_settings(block_size=block_size, batch_size=None, limit=limit, level=0.95, engine="reference")
    model = run._network(model)
    told = {"name": type(model).__name__, **run._plain(model_record)}
    threat = next(iter(folders.values()))
    subject = run._subject(model, run._source(images)[0], labels, None, threat, seed, block_size, None, limit, told)
    record = run._record(subject, told, data_record)
    for folder, at in folders.items():
        refuse_another(folder, {**record, "threat": asdict(at)}, subject)
        refuse_unwritable(blocks_of(folder))
    same = {"model": record["model"], "data": {name: record["data"].get(name) for name in ("name", "split")}}
    refuse_another(beside, same, subject)
