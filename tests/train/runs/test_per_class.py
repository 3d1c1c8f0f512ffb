"""What a method moves over the classes is in the log of its run, on its page and on its line in the terminal."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from tests.conftest import toy_data
from tests.train.test_loop import records, run

from faal.config import Recipe
from faal.methods import METHODS
from faal.report.elements import Chart
from faal.report.files.read import _training
from faal.report.files.run import RunFiles
from faal.report.sections import training as page
from faal.train.notes import vectors_text

TRAINING = [name for name, row in METHODS.items() if row.trains]
BOTH_TERMS = {"weights", "clean_weights"}
BUDGET = {"epsilon_factors", "step_factors"}

NOTHING = {"standard", "pgd-at", "trades", "mart", "at-awp", "trades-awp", "bat"}
"""The methods to which all classes are alike."""

MOVED = {
    "faal-at": {"weights"},
    "faal-trades": {"weights"},
    "faal-mart": {"weights"},
    "faal-at-awp": {"weights"},
    "faal-trades-awp": {"weights"},
    "frl-rw": BOTH_TERMS,
    "frl-rwrm": BOTH_TERMS | BUDGET,
    "cfa-at": {"epsilon_factors"},
    "cfa-trades": BOTH_TERMS | {"epsilon_factors"},
    "wat": {"weights"},
    "fat": {"weights"},
    "dafa": {"clean_weights"} | BUDGET,
    "cfol": {"sampling"},
    "csr": {"penalty"},
    "group-dro": {"weights"},
    "dro-kl-forward": {"weights"},
    "dro-chi2": {"weights"},
    "dro-cvar": {"weights"},
    "faal-cfa-at": {"weights", "epsilon_factors"},
    "faal-cfa-trades": BOTH_TERMS | {"epsilon_factors"},
    "faal-dafa": BOTH_TERMS | BUDGET,
    "faal-bat": {"weights"},
    "faal-wat": {"weights"},
}

SOON = {"start": "1/3"}
CONSTANTS = {
    **dict.fromkeys(("cfa-at", "cfa-trades", "dafa", "faal-cfa-at", "faal-cfa-trades", "faal-dafa"), SOON),
    "cfol": {"eta": "0.05"},
}

TITLES = {
    "weights": ("Class weights per batch", "Class weights of the robust term"),
    "clean_weights": "Class weights of the clean term",
    "sampling": "Probabilities of the classes in a batch",
    "epsilon_factors": "Epsilon in training",
    "step_factors": "Step size of the attack",
    "penalty": "Weights of the penalty",
}


def test_every_method_is_on_one_of_the_lists() -> None:
    assert set(MOVED) | NOTHING == set(TRAINING)


@pytest.mark.medium
@pytest.mark.parametrize("name", TRAINING)
def test_what_a_method_moves_is_logged_and_shown(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"method": name, "epochs": 3, "constants": CONSTANTS.get(name, {}), "hold_out": "both"}
    run(recipe.replace(settings, source="test"), toy_data([60, 60, 60]), tmp_path)
    found = defaultdict(list)
    for row in records(tmp_path):
        for key in TITLES:
            if key in row:
                assert len(row[key]) == 3
                found[key].append(row[key])
    moved = {key for key, vectors in found.items() if not np.allclose(vectors, vectors[0][0], atol=1e-4)}
    expected = MOVED.get(name, set())
    # Where the log has no more to say of the classes than that they are alike, it says nothing.
    assert moved == expected
    assert set(found) - {"weights"} == expected - {"weights"}

    last = [row for row in records(tmp_path) if row["event"] in ("batch", "epoch")][-2:]
    line = "".join(map(vectors_text, last))
    assert bool(line) == bool(expected)
    for key, title in (("epsilon_factors", "epsilon times"), ("clean_weights", "clean term's"), ("penalty", "penalty")):
        assert (title in line) == (key in expected)

    text = shown(tmp_path, monkeypatch)
    assert ("Every class had the same weight in all steps." in text) == (name in NOTHING)
    for key, title in TITLES.items():
        assert any(part.startswith(title) for part in text) == (key in expected), key


def shown(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """The sentences, titles and captions of the part of the page about the training, its drawings left out."""
    patch.setattr(page, "drawn", lambda caption, draw, **_: Chart(caption=caption, wide=""))
    training = _training(folder / "metrics.jsonl", 3)
    assert training is not None
    run = SimpleNamespace(
        name="run", training=replace(training, epochs=()), audit=SimpleNamespace(classes=("ant", "bee", "cat"))
    )
    section = page.training_section(cast(RunFiles, run), name="run")
    assert section is not None
    return [*section.text, *(chart.caption for chart in section.charts)]
