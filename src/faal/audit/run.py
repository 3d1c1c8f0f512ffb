"""`audit`: the class-wise accuracy of a classifier, clean and under attack, with intervals."""

# Annotations remain text, so that `help` prints the signature with `Tensor | ArrayLike | Source`.
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import ArrayLike
from torch import Tensor, nn

from faal.arguments import truth_value
from faal.audit.attacks.backend import EngineName
from faal.audit.blocks import Progress, Source, attack_blocks, clean_blocks
from faal.audit.folder import blocks_of, prepare_blocks_folder, refuse_another
from faal.audit.prepare import prepare
from faal.audit.records.result import AuditResult
from faal.audit.settings import ATTACKS, AuditContext, AuditSettings, SettingsArguments
from faal.audit.stages import controlled, diagnose, evaluate_clean, limit_memory, make_result, run_attacks, with_engine
from faal.config.choices import NormName
from faal.data import Grouping
from faal.engine import processes
from faal.engine.ordinary import ordinary_modes
from faal.engine.writers.lock import folder_lock
from faal.errors import InputError, refuse_unwritable


def audit(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    attacks: str | Iterable[str] = ATTACKS,
    epsilon: float | str = 8 / 255,
    norm: NormName = "linf",
    seed: int = 0,
    block_size: int = 250,
    batch_size: int | None = None,
    limit: int | None = None,
    level: float = 0.95,
    groups: Mapping[str, Sequence[object]] | Iterable[Grouping] = (),
    engine: EngineName = "fast",
    out: Path | str | None = None,
    model_record: Mapping[str, Any] | None = None,
    data_record: Mapping[str, Any] | None = None,
    trained: Mapping[str, Any] | None = None,
    train_images: Tensor | ArrayLike | Source | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
    local: bool = False,
) -> AuditResult:
    """Audit a classifier: accuracy per class, clean and under attack, with intervals.

    Parameters
    ----------
    model : nn.Module
        Returns logits (B, C) for images (B, channels, H, W) in [0, 1]; normalisation is part of it. A ScriptModule
        is accepted, unless it is frozen.
    images : Tensor, array or Source
        (N, channels, H, W), uint8 or floating point in [0, 1]; or any object with `len` and `fetch(index)`, such as a
        store of `faal.data`.
    labels : Tensor or array
        (N,) integers, 0 to C - 1.
    classes : sequence of str, optional
        The C classes' names; by default their numbers.
    attacks : str or iterable of str
        `clean` (always first, named or not), `pgd20`, `cw20` or another number of steps, `autoattack`.
    epsilon : float or str
        Radius of the ball, in units of [0, 1]: a number, or text such as `8/255`.
    norm : {"linf", "l2"}
        The ball's norm.
    seed : int
        The only source of randomness. Verdicts depend on it and on `block_size`, but neither on a memory limit nor on
        the number of processes.
    block_size : int
        Samples per block.
    batch_size : int, optional
        Images per forward; by default a full block, on a CPU as many as have activations of 4 GiB. With less
        than a block a step costs an additional forward. If a GPU runs out of memory, the number is halved.
    limit : int, optional
        Audit only this many samples, drawn at random with `seed`, every class in proportion to its size.
    level : float
        Nominal coverage of the intervals.
    groups : mapping or iterable of Grouping
        Groups of samples other than their classes, for the same estimates by group: name -> each sample's group, such
        as `{"camera": ["A", "B", ...]}`.
    engine : {"fast", "reference"}
        The backend that attacks run on: `fast`, a copy of the network in bfloat16 if that is faster for it on this
        device; `reference`, the network in float32. Verdicts are float32 with either.
    out : Path or str, optional
        The folder of the result. Finished blocks are stored in its `blocks`, so that the same call after a crash
        continues where it stopped. A folder is for the audit of one network, data, threat and seed: another
        is rejected, and attacks of an earlier call whose blocks are all stored remain in the result.
    model_record, data_record : mapping, optional
        Entries for the record of the model, such as `name` and the checkpoint's `sha256`, and about the data: `name`,
        `split`.
    trained : mapping, optional
        The known settings of the network's training: `epsilon`, `norm`, `method`,
        `select`, `select_on` of a recipe. Compared with those of the audit, and not recorded.
    train_images : Tensor, array or Source, optional
        The training images, like `images`; the result states which test images are among them.
    notes : sequence of str
        Sentences on the origin of model and data for the reader; first among the warnings.
    progress : callable, optional
        Called with (attack, blocks done, total blocks) after every block of this process.
    local : bool
        In a group of processes: audit in this process alone, as in `if rank == 0:`.

    Returns
    -------
    AuditResult
        Per attack the average, balanced and worst-class accuracy, the gap and every class, each with its interval;
        warnings; and the verdicts for every sample. Accuracies are fractions; those under attack are upper bounds.

    Raises
    ------
    InputError
        The input is invalid; the message states what is wrong, where, and what to do.

    Notes
    -----
    During the audit the model is in evaluation mode with frozen weights, in float32 with TF32, autocast and inference
    mode off; afterwards its state and that of the global random generators are restored. A model that was built in
    inference mode is copied. The model may write into the images that it is given. Under `torchrun` the blocks are
    distributed over the processes, every process returns the full result, and the main one writes it; a process whose
    group has not called within ten seconds raises an InputError. With `local` it audits alone and sends nothing.

    `pgd20` is projected gradient descent [1]_ on the cross-entropy, `cw20` on the margin of the logits [2]_,
    `autoattack` the standard ensemble [3]_. Intervals of a class are Clopper and Pearson's.

    References
    ----------
    .. [1] Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.
    .. [2] Carlini and Wagner, Towards evaluating the robustness of neural networks, IEEE S&P 2017.
    .. [3] Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
       attacks, ICML 2020.

    Examples
    --------
    A classifier by brightness. Light images are closer to its threshold of 0.5 than dark ones:

    >>> import faal, torch
    >>> labels = torch.arange(2).repeat_interleave(50)
    >>> images = torch.tensor([0.1, 0.6])[labels].reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> with torch.no_grad():
    ...     _ = model[1].weight.copy_(torch.tensor([[-5.0], [5.0]]))
    ...     _ = model[1].bias.copy_(torch.tensor([10.0, -10.0]))
    >>> result = faal.audit(model, images, labels, classes=["dark", "light"], attacks="pgd10", epsilon=0.2)
    >>> worst = result.attacks["pgd10"].worst
    >>> worst.name, worst.value
    ('light', 0.0)
    >>> [entry.value for entry in result.attacks["pgd10"].classes]
    [1.0, 0.0]
    """
    settings = AuditSettings.of(
        attacks=attacks,
        epsilon=epsilon,
        norm=norm,
        seed=seed,
        block_size=block_size,
        batch_size=batch_size,
        limit=limit,
        level=level,
        engine=engine,
    )
    context = AuditContext(
        classes=classes,
        groups=groups,
        out=out,
        model_record=model_record,
        data_record=data_record,
        trained=trained,
        train_images=train_images,
        notes=notes,
        progress=progress,
    )
    with processes.alone() if truth_value("local", local) else nullcontext():
        processes.meet("faal.audit")
        return run_audit(model, images, labels, settings, context)


@ordinary_modes()
def run_audit(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    settings: AuditSettings,
    context: AuditContext | None = None,
) -> AuditResult:
    """`audit` with its keyword arguments as two objects.

    Args:
        model: the network.
        images: (N, channels, H, W) in [0, 1].
        labels: (N,) integers.
        settings: of the audit.
        context: the information on model and data, and the folder of the result.

    Raises:
        InputError: the input is invalid; the message states what is wrong, where, and what to do.
    """
    context = context or AuditContext()
    plan = prepare(model, images, labels, settings, context)
    with nullcontext() if plan.out is None else folder_lock(plan.out):
        with controlled(plan.subject):
            plan, clean = evaluate_clean(plan, context.progress)
            plan, outcomes = run_attacks(plan, clean, context.progress)
            signs = diagnose(plan, clean, outcomes, context.progress)
        result = make_result(plan, outcomes, signs)
        if plan.out is not None and processes.is_main():
            result.write(plan.out)
        return result


def audit_share(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    *,
    rank: int,
    world_size: int,
    out: Path | str,
    model_record: Mapping[str, Any] | None = None,
    **settings: Unpack[SettingsArguments],
) -> None:
    """Compute the share `rank` of `world_size` of an audit's blocks and store them in `out`.

    For processes or machines that share only a folder. After all shares are finished, `audit` with the same arguments
    and the same `out` reads all blocks and computes only the estimates. Machines of different kinds need the engine
    `reference`: `audit` does not accept blocks computed with another arithmetic.

    Args:
        model: as in `audit`, as are the other arguments that are not listed here.
        images: (N, channels, H, W) in [0, 1].
        labels: (N,) integers.
        rank: the number of the share, from 0.
        world_size: the number of shares.
        out: the folder of the audit.
        model_record: the record of the model; the same as in `audit`.
        settings: `attacks`, `epsilon`, `norm`, `seed`, `block_size`, `batch_size`, `limit`, `engine`.

    Raises:
        InputError: the input is invalid; the message states what is wrong, where, and what to do.
    """
    context = AuditContext(out=out, model_record=model_record)
    run_share(model, images, labels, AuditSettings.of(**settings), context, rank=rank, world_size=world_size)


@ordinary_modes()
def run_share(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    settings: AuditSettings,
    context: AuditContext,
    *,
    rank: int,
    world_size: int,
) -> None:
    """`audit_share` with its arguments as two objects; the context names the folder."""
    plan = prepare(model, images, labels, settings, context)
    if plan.out is None:
        raise InputError("a share of an audit needs the folder of the audit; pass out")
    blocks = blocks_of(plan.out)
    refuse_another(plan.out, plan.record, plan.subject)
    refuse_unwritable(blocks)
    # Shared: the processes write different blocks.
    with folder_lock(plan.out, shared=True), controlled(plan.subject):
        limit_memory(plan)
        clean = clean_blocks(plan.subject, rank=rank, world_size=world_size)
        subject = with_engine(plan)
        prepare_blocks_folder(plan.out)
        for attack in plan.settings.attacks:
            attack_blocks(subject, attack, clean, folder=blocks, rank=rank, world_size=world_size)
