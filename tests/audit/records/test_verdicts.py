import numpy as np
import pytest

from faal.audit.records.verdicts import Verdicts, read_arrays, with_all, write_arrays
from faal.errors import InputError

LABEL = np.array([0, 1, 2, 1])


def int16(*values: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, dtype=np.int16)


def test_all_is_correct_under_every_attack_and_answers_as_the_first_that_turned_the_sample() -> None:
    found = with_all(LABEL, {"clean": int16(0, 1, 2, 0), "pgd20": int16(0, 2, 2, 0), "cw20": int16(1, 0, 2, 0)})
    assert list(found) == ["clean", "pgd20", "cw20", "all"]
    assert found["all"].tolist() == [1, 2, 2, 0]
    assert found["all"].dtype == np.int16


def test_verdicts_come_back_from_their_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Groups too, whatever they are called."""
    verdicts = Verdicts(
        label=LABEL,
        index=np.array([3, 5, 6, 9]),
        predicted={"clean": int16(0, 1, 2, 0)},
        groups={"skin/tone_correct": np.array([1, 0, 0, 1])},
    )
    write_arrays(tmp_path / "verdicts.npz", verdicts.arrays())
    with np.load(tmp_path / "verdicts.npz") as file:
        assert sorted(file.files) == ["clean_correct", "clean_predicted", "index", "label", "skin/tone_correct_group"]
        assert file["clean_correct"].dtype == bool
        assert file["clean_correct"].tolist() == [True, True, True, False]
        assert file["clean_predicted"].dtype == np.int16
    back = Verdicts.read(tmp_path / "verdicts.npz")
    assert back.index.tolist() == [3, 5, 6, 9]
    assert back.correct("clean").tolist() == [True, True, True, False]
    assert list(back.predicted) == ["clean"]
    assert {name: places.tolist() for name, places in back.groups.items()} == {"skin/tone_correct": [1, 0, 0, 1]}


def test_damage_and_objects_are_refused_in_words(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "verdicts.npz"
    with pytest.raises(InputError, match="there is no"):
        read_arrays(path)
    np.savez(path, label=np.array([object()], dtype=object), index=LABEL)
    with pytest.raises(InputError, match="truncated or damaged"):
        Verdicts.read(path)
    np.savez(path, other=LABEL)
    with pytest.raises(InputError, match="not a file of verdicts"):
        Verdicts.read(path)
    np.savez(path, label=LABEL, index=LABEL, clean_predicted=LABEL[:2])
    with pytest.raises(InputError, match="differ in length"):
        Verdicts.read(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="truncated or damaged"):
        Verdicts.read(path)
