"""Checks of the folders of several audits, before the first of them is computed."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor, nn

from faal.audit.blocks import Source
from faal.audit.folder import blocks_of, refuse_another
from faal.audit.prepare import prepare
from faal.audit.settings import AuditContext, AuditSettings
from faal.config import Threat
from faal.engine.ordinary import ordinary_modes
from faal.errors import refuse_unwritable


@ordinary_modes()
def refuse_others(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    settings: AuditSettings,
    context: AuditContext,
    *,
    folders: Mapping[Path, Threat],
    report_folder: Path,
) -> None:
    """Reject folders of other subjects, as an audit with these settings does, before the first of them.

    Args:
        model: the network.
        images: (N, channels, H, W).
        labels: (N,).
        settings: of the audits, except their threat.
        context: the information on model and data.
        folders: the folders of the audits, and the threat of each.
        report_folder: a folder whose audit is reported with these: it must be of the same network and data, at any
            threat.

    Raises:
        InputError: one contains the audit of another subject, or cannot be written.
    """
    known = AuditContext(model_record=context.model_record, data_record=context.data_record)
    plan = prepare(model, images, labels, settings, known)
    record, subject = plan.record, plan.subject
    for folder, threat in folders.items():
        refuse_another(folder, {**record, "threat": asdict(threat)}, subject)
        refuse_unwritable(blocks_of(folder))
    identity = {"model": record["model"], "data": {name: record["data"].get(name) for name in ("name", "split")}}
    refuse_another(report_folder, identity, subject)
