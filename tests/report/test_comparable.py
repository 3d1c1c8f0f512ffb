"""Which runs a page compares, and its warnings about the others."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.report.reader import read

from faal.report import write_report

pytestmark = pytest.mark.medium  # each writes pages

Write = Callable[..., dict[str, Any]]


def test_incomparable_runs_are_named(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "a", epsilon=8 / 255)
    run_folder(tmp_path / "b", epsilon=4 / 255, per_class=30)
    reader = read(write_report([tmp_path / "a", tmp_path / "b"]))
    assert "different threat models (a: L∞, ε = 8/255; b: L∞, ε = 4/255)" in reader.text
    assert "audited on different images" in reader.text
    assert "Newly correct" not in reader.text
    assert "These models were not audited under the same conditions" in reader.text
    assert "; L∞, ε = 4/255; 300 images of digits (test)." not in reader.text  # as if of both
    assert "on the worst class increased" not in reader.text
    assert "on the worst class decreased" not in reader.text


def test_all_attacks_together_are_the_same_attacks(tmp_path: Path, run_folder: Write) -> None:
    """Of audits with different attacks, the common ones are compared, and the page names the others."""
    run_folder(tmp_path / "a", attacks=("clean", "pgd20", "all"))
    run_folder(tmp_path / "b", attacks=("clean", "pgd20", "autoattack", "all"))
    reader = read(write_report([tmp_path / "a", tmp_path / "b"]))
    assert (
        "different attacks (a: PGD-20; b: PGD-20 and AutoAttack): only attacks that all have in common are compared"
        in reader.text
    )
    assert "PGD-20; L∞" in reader.text
    assert "All attacks together" not in reader.text
    run_folder(tmp_path / "c", attacks=("clean", "cw20", "all"))
    reader = read(write_report([tmp_path / "a", tmp_path / "c"]))
    assert "No attack was run on all models: this report has no robust accuracy." in reader.text


def test_a_curve_of_a_different_network(tmp_path: Path, run_folder: Write, curve_folder: Write) -> None:
    for name, digest in (("same", "one"), ("other", "two")):
        run_folder(tmp_path / name)
        curve_folder(tmp_path / name / "curve-linf")
        for path, known in (
            (tmp_path / name / "audit.json", "one"),
            (tmp_path / name / "curve-linf" / "curve.json", digest),
        ):
            content = json.loads(path.read_text())
            path.write_text(json.dumps(content | {"model": {**content.get("model", {}), "digest": known}}))
        text = read(write_report([tmp_path / name])).text
        assert ("a curve in its folder is of a different network than its audit" in text) == (name == "other")


def test_a_curve_and_an_audit_of_one_network_whose_names_differ(
    tmp_path: Path, run_folder: Write, curve_folder: Write
) -> None:
    """The digest of an earlier version includes the name; that of the weights does not."""
    run_folder(tmp_path)
    curve_folder(tmp_path / "curve-linf")
    for path, digest in (("audit.json", "one"), ("curve-linf/curve.json", "two")):
        content = json.loads((tmp_path / path).read_text())
        model = {**content.get("model", {}), "digest": digest, "weights": "same"}
        (tmp_path / path).write_text(json.dumps(content | {"model": model}))
    assert "a curve in its folder is of a different network" not in read(write_report([tmp_path])).text


def test_data_of_another_name_and_the_same_images_compares(tmp_path: Path, run_folder: Write) -> None:
    for name, data in (("a", "plants"), ("b", "moved")):
        run_folder(tmp_path / name)
        path = tmp_path / name / "audit.json"
        audit = json.loads(path.read_text())
        audit["data"] |= {"name": data, "fingerprint": "one"}
        path.write_text(json.dumps(audit))
    assert "audited on different images" not in read(write_report([tmp_path / "a", tmp_path / "b"])).text


def test_an_audit_of_a_different_network_than_best_pt(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "run")
    path, network = tmp_path / "run" / "audit.json", tmp_path / "run" / "best.pt"
    network.write_bytes(b"weights")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"model": {"sha256": hashlib.sha256(b"weights").hexdigest()}}))
    sentence = "run: the audit in its folder is of a different network than its best.pt"
    assert sentence not in read(write_report([tmp_path / "run"])).text
    network.write_bytes(b"weights of a later epoch")
    assert sentence in read(write_report([tmp_path / "run"])).text


def test_images_are_distinguished_by_their_digest(tmp_path: Path, run_folder: Write) -> None:
    for name, fingerprint in (("a", "one"), ("b", "other"), ("c", "one"), ("old", None)):
        run_folder(tmp_path / name)
        path = tmp_path / name / "audit.json"
        audit = json.loads(path.read_text())
        audit["data"] |= {} if fingerprint is None else {"fingerprint": fingerprint}
        path.write_text(json.dumps(audit))
    for after, apart in (("b", True), ("c", False), ("old", False)):
        text = read(write_report([tmp_path / "a", tmp_path / after])).text
        assert ("on different images, although all data is named digits (test)" in text) == apart
        assert ("newly predicted correctly" in text) != apart
