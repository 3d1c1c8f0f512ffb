"""YAML and JSON from anybody: values that expand, nest or contradict their type end in one sentence, at once."""

import os
from pathlib import Path

import pytest

from faal.bounds import plain
from faal.bounds.plain import MAX_BYTES, MAX_DEPTH, parse_json, read_yaml
from faal.errors import InputError


def doubled(anchor: str, uses: str, times: int) -> str:
    """A chain of anchors, each made of uses of the one before it."""
    lines = [f"b0: &a0 {anchor}"] + [
        f"b{level}: &a{level} {uses.format(*[f'*a{level - 1}'] * 10)}" for level in range(1, times)
    ]
    return "\n".join(lines) + "\n"


BEYOND = {
    "lists of lists": (doubled("[x]", "[{}, {}, {}, {}, {}, {}, {}, {}, {}, {}]", 12), "aliases repeat"),
    "mappings of mappings": (doubled("{x: 1}", "{{p: {}, q: {}}}", 40), "aliases repeat"),
    "mappings merged into mappings": (doubled("{x: 1}", "{{<<: [{}, {}, {}, {}]}}", 20), "aliases repeat"),
    "keys of keys": ("? &a0 [x]\n: 1\n" + "".join(f"? &a{n} [*a{n - 1}, *a{n - 1}]\n: 1\n" for n in range(1, 40)), ""),
    "an alias within its anchor": ("a: &a [*a]\n", "within its own anchor"),
    "a mapping within itself": ("&a\na: *a\n", "within its own anchor"),
    "deep lists": ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
    "deep mappings": ("a: " + "{b: " * 5000 + "}" * 5000, f"deeper than {MAX_DEPTH}"),
    "a large file": ("#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES >> 20} MB"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_exceeds_a_bound(case: str, tmp_path: Path) -> None:
    text, message = BEYOND[case]
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError, match="cannot be read as YAML") as caught:
        read_yaml(tmp_path / "x.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text("a: [" + "1," * 20 + "]\n")
    read_yaml(tmp_path / "x.yaml")
    monkeypatch.setattr(plain, "MAX_NODES", 20)
    with pytest.raises(InputError, match="more than 20 values"):
        read_yaml(tmp_path / "x.yaml")


def test_aliases_within_the_bound_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(doubled("[x]", "[{}, {}]", 10))
    found = read_yaml(tmp_path / "x.yaml")["b9"]
    for _ in range(9):
        assert len(found) == 2
        found = found[0]
    assert found == ["x"]


NO_VALUES = [
    "!!int a", "!!int ''", "!!int 0x_", "!!int [1]", "!!float a", "!!float 1:a", "!!bool x", "!!timestamp x",
    "!!timestamp 2020-99-99", "2020-13-45", "!!binary a", "!!omap x", "!!pairs [a]", "!!map a", "!!str [a]", "!foo a",
    "9" * 5000, "!!python/object:os.system x",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_VALUES, ids=lambda value: value[:20])
@pytest.mark.parametrize("place", ["a: {}\n", "? {}\n: 1\n", "a: {{b: {}}}\n", "- {}\n"])
def test_a_value_that_does_not_fit_its_type(value: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(place.format(value))
    with pytest.raises(InputError, match="cannot be read as YAML") as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself", "device"])
def test_what_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to itself": lambda: path.symlink_to(path),
        "device": lambda: path.symlink_to("/dev/zero"),
    }[kind]()
    with pytest.raises(InputError, match="cannot be read as YAML"):
        read_yaml(path)
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "gone.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "", "{", "\0", b"\xff\xfe{"])
def test_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
