"""`faal zoo` and `faal publish`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Column, Table

from faal.cli.notes import print_notes
from faal.cli.options import Data, Device, Model
from faal.epsilon import epsilon_text


def zoo(name: Annotated[str | None, Parameter(help="Show the model card of this network.")] = None, /) -> None:
    """List the networks that are shipped with the program, or show the model card of one.

    Accuracies are those of the card's audit, average (worst class) in per cent; `all` counts the
    images predicted correctly under every attack of it. `faal audit` and `faal repair` accept `zoo:NAME` as a
    checkpoint.

        faal zoo
        faal zoo prn18w16-pgd-at
        faal audit zoo:prn18w16-pgd-at --data cifar10:DIR
    """
    from faal.models.zoo import read_card, weights_file, zoo_names

    console = Console(highlight=False, markup=False)
    if name is not None:
        _print_card(console, read_card(name))
        return
    names = zoo_names()
    if not names:
        console.print("The zoo is empty.")
        return
    table = Table(
        Column("network", no_wrap=True, overflow="fold"),
        "data",
        "model",
        "method",
        "MB",
        "n",
        "clean",
        "attacks",
        "all",
        box=None,
        pad_edge=False,
    )
    for each in names:
        card, file = read_card(each), weights_file(each)
        audit = card["audit"]
        size = f"{file.stat().st_size / 1e6:.1f}" if file.exists() else "missing"
        attacks = ", ".join(attack for attack in audit["attacks"] if attack not in ("clean", "all"))
        details = card["data"]["name"], _model(card), card["method"], size, str(audit["n"])
        table.add_row(
            each, *details, _brief(audit["attacks"]["clean"]), attacks or "none", _brief(audit["attacks"]["all"])
        )
    console.print(table)
    console.print("\n`faal zoo NAME` shows a card; `faal audit` and `faal repair` accept `zoo:NAME`.")


def publish(
    run: Annotated[Path, Parameter(help="A run's folder, trained and audited, or a checkpoint (with --audit).")],
    name: Annotated[str, Parameter(help="The name of the network in the zoo.")],
    /,
    *,
    data: Data,
    audit: Annotated[Path | None, Parameter(help="The folder of its audit; the run's own if unset.")] = None,
    precision: Annotated[
        str, Parameter(help="The data type of weight matrices and filters: float16 or bfloat16.")
    ] = "float16",
    source: Annotated[
        str | None,
        Parameter(help="Source and licence of the data; known for digits, CIFAR-10 and CIFAR-100."),
    ] = None,
    licence: Annotated[str, Parameter(help="The licence of the weights.")] = "Apache-2.0",
    out: Annotated[Path | None, Parameter(help="The folder of the zoo; the program's own if unset.")] = None,
    device: Device = "auto",
    model: Model = None,
) -> None:
    """Add a trained and audited network to the zoo: its weights in 16 bits, and a model card with its origin and audit.

    The 16-bit weights are evaluated on the audit's clean images again, and the card records how many predictions
    changed; if these are more than 0.2 %, the network is rejected.

        faal publish runs/prn18-repaired prn18-faal-at --data cifar10:DIR
    """
    from faal.data import load_data
    from faal.engine.numerics import pick_device
    from faal.study.zoo import publish as run_publish

    published = run_publish(
        run,
        name,
        load_data(data),
        audit=audit,
        precision=precision,
        source=source,
        licence=licence,
        folder=out,
        model=model,
        device=pick_device(device),
    )
    print_notes(*published.notes)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{published.weights} ({published.size / 1e6:.1f} MB) and {published.card}")
    console.print(f"{published.changed} of {published.samples} clean predictions differ from those of the audit")


def _print_card(console: Console, card: dict[str, Any]) -> None:
    """Print a card without the settings of its recipe."""
    console.print(f"zoo:{card['name']}", style="bold", end="\n\n")
    audit, threat = card["audit"], card["threat"]
    origin, narrowing, commit = card.get("origin"), card.get("narrowing"), card.get("commit")
    facts = {
        "model": _model(card),
        "data": f"{card['data']['name']}: {card['data']['source']}",
        "method": f"{card['method']}, seed {card['seed']}, against {threat['norm']} {epsilon_text(threat['epsilon'])}",
        "from": f"{origin['path']}, SHA-256 {origin['sha256'][:12]}" if origin else "scratch",
        "weights": f"{card.get('precision')}, SHA-256 {card['sha256'][:12]}, {card['licence']}",
        "narrowing": f"changed {narrowing['changed']} of {narrowing['samples']} clean predictions"
        if narrowing
        else "-",
        "commit": ", ".join(f"{what} {which}" for what, which in commit.items() if which) if commit else "-",
        "audited on": f"{audit['n']} images ({audit['split']}), {audit['threat']['norm']} "
        f"{epsilon_text(audit['threat']['epsilon'])}, {audit['engine']}",
    }
    grid = Table.grid(padding=(0, 2))
    for fact, text in facts.items():
        grid.add_row(fact, text)
    console.print(grid, end="\n\n")
    table = Table("attack", f"average, {audit['level']:.0%} interval", "worst class", "which", box=None, pad_edge=False)
    for attack, found in audit["attacks"].items():
        table.add_row(attack, _with_interval(found["average"]), _with_interval(found["worst"]), found["worst"]["class"])
    console.print(table)


def _model(card: dict[str, Any]) -> str:
    width, depth = card["architecture"].get("width"), card["architecture"].get("depth")
    options = [f"{what} {value}" for what, value in (("width", width), ("depth", depth)) if value is not None]
    return ", ".join([card["architecture"]["model"], *options])


def _brief(found: dict[str, Any]) -> str:
    return f"{100 * found['average']['value']:.1f} ({100 * found['worst']['value']:.1f})"


def _with_interval(estimate: dict[str, Any]) -> str:
    return " ".join([f"{100 * estimate['value']:.1f}", f"[{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"])
