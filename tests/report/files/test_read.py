import builtins
import errno
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faal.errors import InputError
from faal.report import write_report
from faal.report.files.read import read_run
from faal.report.files.text import clean_text

Write = Callable[..., dict[str, Any]]


def test_a_full_folder(tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base", epochs=3)
    run = read_run(tmp_path / "base")
    found = run.audit.attacks["all"]
    expected = audit["attacks"]["all"]
    assert run.name == "base"
    assert run.audit.classes == tuple(audit["data"]["classes"])
    assert (found.average.value, found.average.low, found.average.high) == tuple(expected["average"].values())
    assert found.worst_class == expected["worst"]["class"]
    assert [c.correct for c in found.classes] == [c["correct"] for c in expected["classes"]]
    assert found.confusion is not None
    np.testing.assert_array_equal(found.confusion.counts.toarray(), expected["confusion"])
    assert ("model.sha256", "ab12" * 16) in run.audit.settings
    assert run.examples is not None
    assert run.examples.original.shape == (12, 1, 8, 8)
    assert run.verdicts is not None
    assert run.verdicts.correct["all"].mean() == pytest.approx(expected["average"]["value"])
    assert run.config is not None
    assert "method: faal-at" in run.config


def test_metrics(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path, epochs=3)
    training = read_run(tmp_path).training
    assert training is not None
    assert [epoch.number for epoch in training.epochs] == [0, 1, 2]
    assert training.epochs[1].average == pytest.approx(0.52)
    assert training.epochs[1].worst == pytest.approx(0.23)
    assert training.epochs[1].loss == pytest.approx(np.mean([2 / (1 + step) for step in range(10, 20)]))
    assert training.weights.shape == (30, 10)
    np.testing.assert_allclose(training.weights.sum(axis=1), 1)


def test_only_the_audit_is_needed(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path)
    for path in tmp_path.iterdir():
        if path.name != "audit.json":
            path.unlink()
    run = read_run(tmp_path)
    assert (run.verdicts, run.examples, run.training, run.config, run.environment) == (None, None, None, None, ())


def test_a_class_without_images(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path, per_class=[0] + [40] * 9)
    assert math.isnan(read_run(tmp_path).audit.attacks["all"].classes[0].accuracy.value)


def test_an_incomplete_last_line_of_metrics_is_left_out(tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path, epochs=2)
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"event": "epo')
    training = read_run(tmp_path).training
    assert training is not None
    assert len(training.epochs) == 2


def _damage_audit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "audit.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def _cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def _other_examples(folder: Path) -> None:
    with np.load(folder / "examples.npz") as stored:
        arrays = dict(stored)
    np.savez(folder / "examples.npz", **(arrays | {"label": arrays["label"] + 90}))


def _pickled_verdicts(folder: Path) -> None:
    np.savez(folder / "verdicts.npz", label=np.array([{}], dtype=object), index=np.arange(1))


def _damaged_stream(folder: Path) -> None:
    """A compressed array with bytes of its stream overwritten, which zlib notices before any checksum."""
    path = folder / "verdicts.npz"
    np.savez_compressed(path, label=np.arange(5000) % 7, index=np.arange(5000))
    content = bytearray(path.read_bytes())
    start = content.index(b"label.npy") + 60
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)


def _locked(folder: Path) -> None:
    """The flag of encryption set in each header of the archive."""
    path = folder / "verdicts.npz"
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(magic, place + 1)) >= 0:
            content[place + offset] |= 1
    path.write_bytes(content)


def _array_alone(folder: Path) -> None:
    with (folder / "verdicts.npz").open("wb") as file:
        np.save(file, np.arange(3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "audit.json").unlink(), "has no audit.json; run `faal audit`"),
        (_cut("audit.json"), "incomplete or damaged"),
        (lambda folder: (folder / "audit.json").write_text("[1]"), "not a JSON object"),
        (_damage_audit(lambda a: a.update(schema="other/1")), "has the schema 'other/1'"),
        (_damage_audit(lambda a: a.pop("schema")), "has the schema None"),
        (_damage_audit(lambda a: a.pop("threat")), "it has no 'threat'"),
        (_damage_audit(lambda a: a.update(attacks={})), "it has no attacks"),
        (
            _damage_audit(lambda a: a["attacks"]["all"].update(confusion=[[1]])),
            "under all its confusion is not",
        ),
        (_damage_audit(lambda a: a["attacks"]["all"]["classes"].pop()), "follows from the counts"),
        (_cut("verdicts.npz"), "verdicts.npz cannot be read"),
        (_cut("examples.npz"), "examples.npz cannot be read"),
        (_damaged_stream, "verdicts.npz cannot be read"),
        (_locked, "verdicts.npz cannot be read"),
        (_array_alone, "verdicts.npz cannot be read"),
        (_other_examples, "labels without a class"),
        (_pickled_verdicts, "verdicts.npz cannot be read"),
        (lambda folder: (folder / "metrics.jsonl").write_text("{\n{}\n"), "line 1 of .*metrics.jsonl is not JSON"),
        (lambda folder: (folder / "metrics.jsonl").write_text('{"event": "epoch"}\n'), "do not fit a run's log"),
        (_cut("environment.json"), "environment.json cannot be read as JSON"),
    ],
)
def test_bad_files_are_reported_in_one_sentence(
    tmp_path: Path, run_folder: Write, damage: Callable[[Path], None], message: str
) -> None:
    run_folder(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_run(tmp_path / "nowhere")


def test_clean_text_replaces_characters_that_no_file_can_hold() -> None:
    assert clean_text("a\x00b\x1b[31m\udc80c") == "a\ufffdb\ufffd[31m?c"
    assert clean_text("猫 é\u00a0→") == "猫 é\u00a0→"


@pytest.mark.parametrize("name", ["audit.json", "config.yaml", "verdicts.npz", "metrics.jsonl"])
def test_a_file_that_may_not_be_read(
    tmp_path: Path, run_folder: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Root may read all files, so the system's error is simulated."""
    run_folder(tmp_path, epochs=2)
    locked, opened = tmp_path / name, io.open

    def opening(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path) == str(locked):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(io, "open", opening)  # what pathlib calls
    monkeypatch.setattr(builtins, "open", opening)  # what NumPy calls
    with pytest.raises(InputError, match=f"no permission to read {locked}: "):
        read_run(tmp_path)


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stat(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_file", stat)
    with pytest.raises(InputError, match=f"no permission to read {tmp_path / 'audit.json'}: "):
        write_report([tmp_path])
