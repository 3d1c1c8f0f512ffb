"""The stages of an audit: the clean pass, the attacks, the checks for misuse, the result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from faal.audit.attacks.backend import engine_for
from faal.audit.attacks.registry import attacks_named
from faal.audit.blocks import Progress, Subject, stored_blocks_text
from faal.audit.checks import check_gradient
from faal.audit.estimates import attack_results, group_accuracies
from faal.audit.folder import blocks_of, earlier_attacks, earlier_keys, prepare_blocks_folder, refuse_another
from faal.audit.judge import CleanVerdict
from faal.audit.misuse.run_checks import MisuseReport, run_checks
from faal.audit.passes import AttackOutcomes, attack_passes, clean_pass, fingerprint
from faal.audit.prepare import AuditPlan
from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import Verdicts, with_all
from faal.audit.statistics.intervals import METHOD
from faal.engine import interrupts, processes
from faal.engine.determinism import preserve_rng, strict_float32
from faal.engine.environment import environment
from faal.engine.memory import max_chunk, retry_on_oom
from faal.errors import InputError, refuse_unwritable
from faal.inner.modes import attacked

CLEAN_PASS = "the clean pass begins again, finished blocks are kept"
"""What an interrupt within it leaves; its verdicts are not stored."""


@contextmanager
def controlled(subject: Subject) -> Iterator[None]:
    """The context of evaluation mode with frozen weights, strict float32 and preserved random generators."""
    with attacked(subject.model.model), strict_float32(subject.device), preserve_rng():
        yield


def evaluate_clean(plan: AuditPlan, progress: Progress | None) -> tuple[AuditPlan, dict[int, CleanVerdict]]:
    """The clean verdicts by block, and the plan with the data's fingerprint and the folder's earlier keys."""
    subject, record = plan.subject, plan.record
    if len(set(processes.gather_objects(subject.key))) > 1:
        raise InputError("the processes have different weights; load the same weights in all of them before the audit")
    if plan.out is not None:
        refuse_another(plan.out, record, subject)
        refuse_unwritable(blocks_of(plan.out))
        subject = replace(subject, earlier_keys=earlier_keys(plan.out, record))
    limit_memory(plan)
    with interrupts.reporting(lambda message: message or CLEAN_PASS):
        clean = clean_pass(subject, plan.num_classes, progress=progress)
    data = {**record["data"], "fingerprint": fingerprint(subject.labels, clean)}
    return replace(plan, subject=subject, record={**record, "data": data}), clean


def run_attacks(
    plan: AuditPlan, clean: Mapping[int, CleanVerdict], progress: Progress | None
) -> tuple[AuditPlan, AttackOutcomes]:
    """The outcomes of all attacks, including those of an earlier audit in the folder, and the plan with the engine."""
    subject, attacks = with_engine(plan), plan.settings.attacks
    if len(set(processes.gather_objects(subject.engine.fast is None))) > 1:
        raise InputError(
            "the machines of this audit would compute the attacks with different arithmetic: audit on machines of "
            "the same kind, or with the engine reference"
        )
    missing: list[str] = []
    if plan.out is not None:
        refuse_another(plan.out, plan.record, subject, clean)
        prepare_blocks_folder(plan.out)
        # The main process's list is used: the folder may be updated later for the others.
        stored, missing = processes.gather_objects(earlier_attacks(plan.out, subject, clean, attacks))[0]
        attacks = (*attacks, *attacks_named(stored))
    folder = None if plan.out is None else blocks_of(plan.out)
    with interrupts.reporting(
        lambda message: message if folder is None else stored_blocks_text(folder, subject, attacks, clean)
    ):
        outcomes = attack_passes(subject, attacks, clean, folder=folder, progress=progress)
    warnings = [
        f"An earlier audit in this folder also ran {name}, whose blocks are not stored: its accuracies are not "
        "included."
        for name in missing
    ]
    return replace(plan, subject=subject), replace(outcomes, warnings=(*outcomes.warnings, *warnings))


def diagnose(
    plan: AuditPlan, clean: Mapping[int, CleanVerdict], outcomes: AttackOutcomes, progress: Progress | None
) -> MisuseReport:
    """The results of the checks for misuse."""
    return run_checks(
        plan.subject,
        clean,
        outcomes,
        classes=plan.names(outcomes.num_classes),
        training=plan.in_training_mode,
        trained=plan.trained,
        train_images=plan.train_images,
        progress=progress,
    )


def make_result(plan: AuditPlan, outcomes: AttackOutcomes, signs: MisuseReport) -> AuditResult:
    """Verdicts and estimates, with their record."""
    subject, level = plan.subject, plan.settings.level
    names = plan.names(outcomes.num_classes)
    verdicts = Verdicts(
        label=subject.labels.numpy(),
        index=subject.index.numpy(),
        predicted=with_all(subject.labels.numpy(), outcomes.predicted),
        groups={each.name: each.index.numpy() for each in plan.groupings},
    )
    return AuditResult(
        **{**plan.record, "data": {**plan.record["data"], "classes": names}},
        engine=str(subject.engine),
        level=level,
        interval_method=METHOD,
        warnings=(*plan.notes, *signs.warnings, *outcomes.warnings),
        environment=environment(subject.device),
        attacks=attack_results(verdicts, outcomes.parameters, outcomes.seconds, classes=names, level=level),
        groups=group_accuracies(verdicts, plan.groupings, level=level),
        probes=signs.probes,
        verdicts=verdicts,
        examples=outcomes.examples,
    )


def limit_memory(plan: AuditPlan) -> None:
    """Limit the images per forward to the available memory, unless the caller sets a batch size."""
    subject = plan.subject
    if plan.settings.batch_size is None:
        subject.model.limit = max_chunk(subject.model, subject.fetch(0)[:1], subject.block_size)


def with_engine(plan: AuditPlan) -> Subject:
    """The subject with the backend of its attacks, after a check that their gradient exists."""
    subject, images = plan.subject, plan.subject.fetch(0)
    if plan.settings.attacks:
        check_gradient(subject.model, images[:2])
    engine = retry_on_oom(partial(engine_for, plan.settings.engine, subject.model, images), subject.model)
    return replace(subject, engine=engine)
