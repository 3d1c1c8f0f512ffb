"""What a page of several runs may put side by side, and what it says of the rest."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.report.reader import read

from faal.report import write_report

Write = Callable[..., dict[str, Any]]


def test_what_does_not_compare_is_said(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "a", epsilon=8 / 255)
    run_folder(tmp_path / "b", epsilon=4 / 255, per_class=30)
    reader = read(write_report([tmp_path / "a", tmp_path / "b"]))
    assert "different threat models (a L∞, ε = 8/255 and b L∞, ε = 4/255)" in reader.text
    assert "audited on different images" in reader.text
    assert "Images won" not in reader.text
    assert "These models were not audited alike" in reader.text
    assert "; L∞, ε = 4/255; 300 images of digits (test)." not in reader.text  # as if of both
    assert "the weakest class rose" not in reader.text
    assert "the weakest class fell" not in reader.text


def test_all_attacks_together_are_the_same_attacks(tmp_path: Path, run_folder: Write) -> None:
    """Of audits with other attacks each, those of all are compared, and the page says so."""
    run_folder(tmp_path / "a", attacks=("clean", "pgd20", "all"))
    run_folder(tmp_path / "b", attacks=("clean", "pgd20", "autoattack", "all"))
    reader = read(write_report([tmp_path / "a", tmp_path / "b"]))
    assert "different attacks (a PGD-20 and b PGD-20 and AutoAttack): only those of all are compared" in reader.text
    assert "PGD-20; L∞" in reader.text
    assert "All attacks together" not in reader.text
    run_folder(tmp_path / "c", attacks=("clean", "cw20", "all"))
    reader = read(write_report([tmp_path / "a", tmp_path / "c"]))
    assert "No attack was run on all models: this page says nothing about robustness." in reader.text


def test_a_curve_of_another_network(tmp_path: Path, run_folder: Write, curve_folder: Write) -> None:
    for name, digest in (("same", "one"), ("other", "two")):
        run_folder(tmp_path / name)
        curve_folder(tmp_path / name / "curve-linf")
        for path, known in (
            (tmp_path / name / "audit.json", "one"),
            (tmp_path / name / "curve-linf" / "curve.json", digest),
        ):
            told = json.loads(path.read_text())
            path.write_text(json.dumps(told | {"model": {**told.get("model", {}), "digest": known}}))
        text = read(write_report([tmp_path / name])).text
        assert ("a curve in its folder is of another network than its audit" in text) == (name == "other")


def test_a_curve_and_an_audit_of_one_network_whose_names_differ(
    tmp_path: Path, run_folder: Write, curve_folder: Write
) -> None:
    """A digest of an earlier version is of the name too; that of the weights is not."""
    run_folder(tmp_path)
    curve_folder(tmp_path / "curve-linf")
    for path, digest in (("audit.json", "one"), ("curve-linf/curve.json", "two")):
        told = json.loads((tmp_path / path).read_text())
        model = {**told.get("model", {}), "digest": digest, "weights": "same"}
        (tmp_path / path).write_text(json.dumps(told | {"model": model}))
    assert "a curve in its folder is of another network" not in read(write_report([tmp_path])).text


def test_data_of_another_name_and_the_same_images_compares(tmp_path: Path, run_folder: Write) -> None:
    for name, data in (("a", "plants"), ("b", "moved")):
        run_folder(tmp_path / name)
        path = tmp_path / name / "audit.json"
        audit = json.loads(path.read_text())
        audit["data"] |= {"name": data, "fingerprint": "one"}
        path.write_text(json.dumps(audit))
    assert "audited on different images" not in read(write_report([tmp_path / "a", tmp_path / "b"])).text


def test_an_audit_of_another_network_than_lies_beside_it(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "run")
    path, network = tmp_path / "run" / "audit.json", tmp_path / "run" / "best.pt"
    network.write_bytes(b"weights")
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"model": {"sha256": hashlib.sha256(b"weights").hexdigest()}}))
    sentence = "run: the audit in its folder is of another network than the best.pt that lies there now"
    assert sentence not in read(write_report([tmp_path / "run"])).text
    network.write_bytes(b"weights of a later epoch")
    assert sentence in read(write_report([tmp_path / "run"])).text


def test_images_are_told_apart_by_what_they_are(tmp_path: Path, run_folder: Write) -> None:
    for name, fingerprint in (("a", "one"), ("b", "other"), ("c", "one"), ("old", None)):
        run_folder(tmp_path / name)
        path = tmp_path / name / "audit.json"
        audit = json.loads(path.read_text())
        audit["data"] |= {} if fingerprint is None else {"fingerprint": fingerprint}
        path.write_text(json.dumps(audit))
    for after, apart in (("b", True), ("c", False), ("old", False)):
        text = read(write_report([tmp_path / "a", tmp_path / after])).text
        assert ("on different images, although all are called digits (test)" in text) == apart
        assert ("Image by image" in text) != apart
