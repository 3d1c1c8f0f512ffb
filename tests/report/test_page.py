import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.reader import heading, printed, read

import faal.report.page as page
from faal.report import write_report

Write = Callable[..., dict[str, Any]]


# --- one audit -------------------------------------------------------------------------------------------------------


def test_one_audit_prints_the_figures_of_its_file(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base", warnings=["class “8” has 24 images"])
    path = write_report([tmp_path / "base"])
    assert path == tmp_path / "base" / "report.html"
    reader = read(path)

    strongest = audit["attacks"]["all"]
    worst = strongest["worst"]
    numbers = [f"{100 * worst[key]:.0f}" for key in ("value", "low", "high")]
    assert heading(reader, path) == (
        f"{100 * strongest['average']['value']:.0f} % robust accuracy on average, "
        f"{numbers[0]} % ({numbers[1]} to {numbers[2]}) on the worst class, “{worst['class']}”."
    )
    attacks = reader.rows("Accuracy in percent")
    for name, label in (
        ("clean", "No attack"),
        ("pgd20", "PGD-20"),
        ("cw20", "CW-20"),
        ("all", "All attacks together"),
    ):
        worst_cell, average = attacks[label]
        entry = audit["attacks"][name]
        assert average == printed(entry["average"])
        value, rest = printed(entry["worst"]).split(" ", 1)
        assert worst_cell == f"{value} “{entry['worst']['class']}”, {rest}"
    dispersion = reader.rows("Dispersion over the classes")
    for name, label in (("clean", "No attack"), ("all", "All attacks together")):
        entry = audit["attacks"][name]
        value, rest = printed(entry["gap"]).split(" ", 1)
        best, worst = (entry["gap"][end] for end in ("best", "worst"))
        assert dispersion[label] == [f"{value} “{best}” to “{worst}”, {rest}", printed(entry["deviation"])]
    classes = reader.rows("Accuracy per class and attack")
    for i, entry in enumerate(strongest["classes"]):
        clean = audit["attacks"]["clean"]["classes"][i]
        row = classes[entry["name"]]
        assert row[0] == str(entry["n"])
        assert row[1] == printed(clean)
        assert row[-1] == printed(entry)
    assert "class “8” has 24 images" in reader.text
    assert "Warnings" in reader.text
    for text in ("ab12" * 16, "8/255", "digits (test)", "upper bound", "method: faal-at", "2.13.0"):
        assert text in reader.text
    settings = reader.rows("Model, data, threat model")
    assert settings["environment packages"] == ["faal 0.1.0, torch 2.13.0"]
    assert settings["training device"] == ["cpu"]
    assert "training python" not in settings, "training and audit had the same environment: once is enough"


@pytest.mark.medium
def test_confusion_is_in_percent_of_the_true_class(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base")
    rows = read(write_report([tmp_path / "base"])).rows("base")
    matrix = np.array(audit["attacks"]["all"]["confusion"])
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    for i, name in enumerate(audit["data"]["classes"]):
        assert rows[name] == [f"{100 * share:.0f}" if share else "" for share in shares[i]]


@pytest.mark.medium
def test_many_classes_list_their_largest_confusions(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base", classes=[f"c{i}" for i in range(40)])
    reader = read(write_report([tmp_path / "base"]))
    (rows,) = [rows for caption, rows in reader.tables if caption == "base"]
    matrix = np.array(audit["attacks"]["all"]["confusion"])
    np.fill_diagonal(matrix, 0)
    assert int(rows[1][3]) == matrix.max()
    assert "the 10 worst of 40 classes" in reader.text
    assert len(reader.rows("Accuracy of all 40 classes")) == 41
    values = {entry["name"]: entry["value"] for entry in audit["attacks"]["all"]["classes"]}
    shown = list(reader.rows("Accuracy per class"))[1:]
    assert shown == sorted(values, key=lambda name: values[name])[:10]
    tenth = audit["attacks"]["all"]["worst_tenth"]
    assert reader.rows("Accuracy in percent")["All attacks together"][1] == printed(tenth)
    assert "Worst tenth, 4 classes" in reader.text


@pytest.mark.medium
def test_training_is_shown(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "base", epochs=3)
    reader = read(write_report([tmp_path / "base"]))
    epochs = reader.rows("Loss and accuracy per epoch")
    assert epochs["1"][-2:] == ["52.0", "23.0"]
    assert "Class weights per batch" in reader.text


def test_equal_weights_are_a_sentence_and_no_chart(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "base", epochs=0)
    records = [{"event": "batch", "epoch": 0, "step": i, "loss": 1.0, "weights": [1.0] * 10} for i in range(5)]
    (tmp_path / "base" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    reader = read(write_report([tmp_path / "base"]))
    assert "Every class had the same weight in all steps." in reader.text
    assert "Class weights per batch" not in reader.text


@pytest.mark.medium
def test_all_vectors_over_the_classes_are_shown(tmp_path: Path, run_folder: Write) -> None:
    """DAFA's clean weights and epsilons; a record without one of them means that it was uniform."""
    run_folder(tmp_path / "base", epochs=0)
    clean = [1.5, 0.5] + [1.0] * 8
    batches = [{"event": "batch", "epoch": i, "step": i, "loss": 1.0, "weights": [1.0] * 10} for i in range(2)]
    epochs = [{"event": "epoch", "epoch": i, "lr": 0.1} for i in range(2)]
    lines = [batches[0], epochs[0], batches[1] | {"clean_weights": clean}, epochs[1] | {"epsilon_factors": clean}]
    (tmp_path / "base" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    reader = read(write_report([tmp_path / "base"]))
    assert "Every class had the same weight" not in reader.text
    for title in ("Class weights of the clean term over 2 batches, in multiples of an equal weight",
                  "Epsilon in training over 2 epochs, in multiples of the recipe's epsilon"):  # fmt: skip
        rows = reader.rows(title)
        assert rows["0"][-3:] == ["1.25", "1.00", "1.50"]
        assert rows["1"][-3:] == ["0.75", "0.50", "1.00"]
    assert "robust term" not in reader.text


@pytest.mark.medium
def test_notes_of_the_training_are_shown(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "base", epochs=3)
    with (tmp_path / "base" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"event": "end", "notes": ["These images <were> trained on"]}) + "\n")
    assert "These images <were> trained on." in read(write_report([tmp_path / "base"])).text


def test_the_audit_alone_makes_a_page(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "base")
    for path in (tmp_path / "base").iterdir():
        if path.name != "audit.json":
            path.unlink()
    reader = read(write_report([tmp_path / "base"]))
    assert "Training of base" not in reader.text
    assert "Adversarial examples" not in reader.text


def test_without_attack_a_warning_says_so(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "base", attacks=("clean",))
    reader = read(write_report([tmp_path / "base"]))
    assert "no robust accuracy" in reader.text


def test_an_audit_of_an_earlier_version_has_no_dispersion(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base")
    for entry in audit["attacks"].values():
        for key in ("gap", "deviation", "worst_tenth"):
            del entry[key]
    (tmp_path / "base" / "audit.json").write_text(json.dumps(audit))
    reader = read(write_report([tmp_path / "base"]))
    assert "Dispersion over the classes" not in reader.text
    assert "All attacks together" in reader.rows("Accuracy in percent")


def test_a_class_without_images_is_a_dash(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "base", per_class=[40, 40, 0] + [40] * 7)
    assert read(write_report([tmp_path / "base"])).rows("Accuracy per class and attack")["2"][-1].startswith("–")


# --- several ---------------------------------------------------------------------------------------------------------


@pytest.mark.medium
def test_before_and_after(tmp_path: Path, run_folder: Write) -> None:
    before = run_folder(tmp_path / "base", lowest=0.3)
    after = run_folder(tmp_path / "repaired", lowest=0.5, highest=0.9)
    path = write_report([tmp_path / "base", tmp_path / "repaired"], out=tmp_path / "pages" / "both.html")
    assert path == tmp_path / "pages" / "both.html"
    reader = read(path)
    old, new = (audit["attacks"]["all"] for audit in (before, after))
    assert old["worst"]["value"] < new["worst"]["value"]
    heading_text = heading(reader, path)
    assert f"is {100 * old['worst']['value']:.0f} % (" in heading_text
    assert "increased" not in heading_text  # the audits were not compared
    with (
        np.load(tmp_path / "base" / "verdicts.npz") as first,
        np.load(tmp_path / "repaired" / "verdicts.npz") as second,
    ):
        gained = ~first["all_correct"] & second["all_correct"]
        lost = first["all_correct"] & ~second["all_correct"]
    assert (
        f"of 400 test images, {gained.sum()} newly predicted correctly and {lost.sum()} newly misclassified"
        in reader.text
    )
    rows = reader.rows("Accuracy per class")
    for c, (a, b) in enumerate(zip(old["classes"], new["classes"], strict=True)):
        change = 100 * (b["value"] - a["value"])
        row = rows[a["name"]]
        assert row[1:3] == [printed(a), printed(b)]
        assert float(row[3].replace("−", "-")) == pytest.approx(change, abs=0.051)
        assert [int(cell) for cell in row[4:]] == [gained[c * 40 : c * 40 + 40].sum(), lost[c * 40 : c * 40 + 40].sum()]
    assert "single models, not methods" in reader.text


@pytest.mark.medium
def test_equal_folder_names_are_made_distinct(tmp_path: Path, run_folder: Write) -> None:
    for seed in "12":
        run_folder(tmp_path / seed / "base")
    reader = read(write_report([tmp_path / "1" / "base", tmp_path / "2" / "base"]))
    assert "Audit of 1/base and 2/base" in reader.text


# --- the demo --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, demo_folder: Write) -> tuple[dict[str, Any], Path]:
    """A demo's result and its page."""
    folder = tmp_path_factory.mktemp("demo")
    content = demo_folder(folder)
    return content, write_report([folder])


@pytest.mark.medium
def test_demo_has_the_means_and_every_seed(demo: tuple[dict[str, Any], Path]) -> None:
    content, path = demo
    reader = read(path)
    mean = {
        role: {key: np.mean([entry[role][key] for entry in content["seeds"]]) for key in ("average", "worst")}
        for role in ("base", "control", "repaired")
    }
    headline = heading(reader, path)
    assert headline.startswith(
        f"With the repair, robust accuracy on the worst class increased from {100 * mean['base']['worst']:.0f} % to "
        f"{100 * mean['repaired']['worst']:.0f} % ("
    )
    assert (
        f"; on average it is {100 * mean['base']['average']:.0f} % before and "
        f"{100 * mean['repaired']['average']:.0f} % after ("
    ) in headline
    assert headline.endswith("a change is not established) (means over 3 training seeds).")
    rows = reader.rows("Robust accuracy under PGD-20 and CW-20 with five random starts each, per training seed")
    order = [(role, key) for key in ("worst", "average") for role in ("base", "control", "repaired")]
    for entry in content["seeds"]:
        assert rows[str(entry["seed"])] == [f"{100 * entry[role][key]:.1f}" for role, key in order]
    assert [cell.split()[0] for cell in rows["Mean"]] == [f"{100 * mean[role][key]:.1f}" for role, key in order]
    ensemble = [f"{100 * content['autoattack'][role][key]:.1f}" for role, key in order]
    assert rows["AutoAttack, seed 0"] == ensemble
    for text in (
        "All results of seed 0",
        "Compared with the control",
        "95 % t intervals",
        "All seeds together took 200 s",
    ):
        assert text in reader.text


@pytest.mark.medium
def test_demo_of_one_seed_has_no_interval_over_seeds(tmp_path: Path, demo_folder: Write) -> None:
    demo_folder(tmp_path, seeds=(5,))
    reader = read(write_report([tmp_path]))
    assert "one training seed" in reader.text
    assert "t interval" not in reader.text


# --- the file --------------------------------------------------------------------------------------------------------


def test_nothing_is_fetched(demo: tuple[dict[str, Any], Path]) -> None:
    path = demo[1]
    text = path.read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    for tag, attributes in read(path).tags:
        for key in ("src", "href", "xlink:href", "data", "srcset"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert not any(key.startswith("on") for key in attributes)
    assert "default-src 'none'" in text


def test_ids_are_unique_and_every_chart_has_a_description(demo: tuple[dict[str, Any], Path]) -> None:
    tags = read(demo[1]).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = [attributes for tag, attributes in tags if tag == "svg"]
    assert drawings
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")


@pytest.mark.medium
def test_hostile_names_stay_text(tmp_path: Path, run_folder: Write) -> None:
    hostile = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(2)>',
        "{{ 7 * 7 }}",
        "</svg></style>\x07",
        "a\udc80",
    ]
    for name in ("a", "b"):
        folder = tmp_path / name
        run_folder(folder, classes=hostile, warnings=["<b>bold</b>"])
        (folder / "config.yaml").write_text("</pre><script>alert(3)</script>")
    path = write_report([tmp_path / "a", tmp_path / "b"], names=["<em>x</em>", "y"], title="<u>z</u>")
    reader = read(path)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("script") == 1
    assert not {"em", "u"} & set(tags)
    assert not any("onerror" in attributes for _, attributes in reader.tags)
    for text in ("<script>alert(1)</script>", "{{ 7 * 7 }}", "<b>bold</b>", "<em>x</em>", "<u>z</u>"):
        assert text in reader.text
    assert "49" not in reader.rows("Accuracy per class")


@pytest.mark.medium
def test_same_files_same_bytes(demo: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    path = demo[1]
    assert write_report([path.parent], out=tmp_path / "again.html").read_bytes() == path.read_bytes()


def test_the_report_imports_no_torch() -> None:
    # An empty parent package replaces faal's own, which exports the solver and so imports torch.
    root = Path(page.__file__).parents[1]
    program = (
        "import sys, types\n"
        f"package = types.ModuleType('faal'); package.__path__ = [{str(root)!r}]; sys.modules['faal'] = package\n"
        "import faal.report.page\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
