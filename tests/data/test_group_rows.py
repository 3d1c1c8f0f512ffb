"""Which row of a table is about which image, and tables that contradict the data."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from faal.data import DataSet, InMemory, Split, read_groups, weighted_by
from faal.data.groups import read_groups_noted
from faal.errors import InputError

FILES = ("test/cat/a1.png", "test/cat/a2.png", "test/dog/b1.png", "test/dog/b2.png", "test/dog/b3.png")
CAMERAS = "ABBAB"
ORDER = (3, 0, 4, 2, 1)
"""Some order of rows other than the data's."""


def split(files: Sequence[str] | None = FILES, labels: Sequence[int] = (0, 0, 1, 1, 1)) -> Split:
    return Split(
        InMemory(torch.zeros(len(labels), 1, 2, 2)),
        torch.tensor(labels),
        files=None if files is None else tuple(files),
    )


def table(folder: Path, header: str, rows: Sequence[str]) -> str:
    path = folder / "groups.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def named(names: Sequence[str], order: Sequence[int] = ORDER) -> list[str]:
    return [f"{names[place]},{CAMERAS[place]}" for place in order]


def cameras(spec: str, samples: Split) -> str:
    (camera,) = read_groups(spec, samples)
    assert camera.name == "camera"
    return "".join(camera.names[place] for place in camera.index.tolist())


def refusal(spec: str, samples: Split) -> str:
    with pytest.raises(InputError) as caught:
        read_groups(spec, samples)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SPELLINGS = {
    "below the folder": FILES,
    "below the part": [name.removeprefix("test/") for name in FILES],
    "alone": [name.split("/")[-1] for name in FILES],
    "without a suffix": [name.split("/")[-1].removesuffix(".png") for name in FILES],
    "with the suffix of the original": [name.split("/")[-1].replace(".png", ".JPG") for name in FILES],
    "absolute": [f"/mnt/pets/{name}" for name in FILES],
    "of Windows": [f"C:\\pets\\{name}".replace("/", "\\") for name in FILES],
}


class TestNames:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    @pytest.mark.parametrize("header", ["image", "filename", "file", "Unnamed: 0", ""])
    def test_rows_are_matched_by_whatever_column_names_the_images(
        self, tmp_path: Path, spelling: str, header: str
    ) -> None:
        spec = table(tmp_path, f"{header},camera", named(SPELLINGS[spelling]))
        assert cameras(spec, split()) == CAMERAS
        assert cameras(f"{spec}:camera", split()) == CAMERAS
        _, notes = read_groups_noted(spec, split())
        assert len(notes) == (header != "file")
        assert all("matched to images" in note for note in notes)

    def test_numbers_as_names(self, tmp_path: Path) -> None:
        files = [f"test/{'cat' if number < 30 else 'dog'}/{number:05}.png" for number in (10, 20, 30, 40, 50)]
        numbers = [f"{number:05}" for number in (10, 20, 30, 40, 50)]
        assert cameras(table(tmp_path, "id,camera", named(numbers)), split(files)) == CAMERAS

    def test_numbers_that_are_some_names_are_no_names(self, tmp_path: Path) -> None:
        files = [f"test/cat/{number}.png" for number in range(5)]
        spec = table(
            tmp_path, "age,camera", [f"{age},{group}" for age, group in zip([3, 40, 2, 9, 77], CAMERAS, strict=True)]
        )
        assert cameras(f"{spec}:camera", split(files)) == CAMERAS

    def test_numbers_that_may_be_rows_or_names_are_refused(self, tmp_path: Path) -> None:
        """As files come, by their letters, `10` is before `2`."""
        files = sorted(f"test/cat/{number}.png" for number in range(12))
        rows = [f"{place},{'AB'[place % 2]}" for place in range(12)]
        assert "may number the rows" in refusal(table(tmp_path, "id,camera", rows), split(files, [0, 1] * 6))
        assert read_groups(table(tmp_path, ",camera", rows), split(files, [0, 1] * 6))[0].index.tolist() == [0, 1] * 6

    def test_rows_of_other_images_are_ignored_and_counted(self, tmp_path: Path) -> None:
        rows = [*named(FILES), "train/cat/a1.png,C", "train/dog/z.png,C"]
        (camera,), (note,) = read_groups_noted(table(tmp_path, "image,camera", rows), split())
        assert camera.names == ("A", "B")
        assert "2 rows name other images" in note

    def test_a_short_name_of_several_images_is_refused_unless_rows_are_in_order(self, tmp_path: Path) -> None:
        files = ("test/cat/1.png", "test/cat/2.png", "test/dog/1.png", "test/dog/2.png", "test/dog/3.png")
        short = [name.split("/")[-1] for name in files]
        assert cameras(table(tmp_path, "image,camera", named(short, range(5))), split(files)) == CAMERAS
        message = refusal(table(tmp_path, "image,camera", named(short)), split(files))
        assert "'2.png'" in message
        assert "the name of 2 images" in message
        assert "such as test/cat/2.png" in message

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda rows: rows[1:], "has no row for test/dog/b2.png; its column 'image'"),
            (lambda rows: ["test/dog/other.png,A", *rows[1:]], "has no row for test/dog/b2.png"),
            (
                lambda rows: [row.replace("test/", "train/") for row in rows],
                "no row for test/cat/a1.png, nor for 4 other",
            ),
            (lambda rows: [*rows, "a1.png,B"], "two rows for test/cat/a1.png, and they differ"),
        ],
    )
    def test_names_that_partly_match_are_refused(self, tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
        spec = table(tmp_path, "image,camera", change(named(FILES)))
        assert said in refusal(spec, split())
        assert said in refusal(f"{spec}:camera", split())

    def test_a_second_row_that_says_the_same_is_no_contradiction(self, tmp_path: Path) -> None:
        rows = [f"{number},{row}" for number, row in enumerate([*named(FILES), "a1.png,A"])]
        assert cameras(table(tmp_path, ",image,camera", rows), split()) == CAMERAS

    def test_two_columns_of_names_that_differ(self, tmp_path: Path) -> None:
        rows = [f"{FILES[a]},{FILES[b]},{CAMERAS[a]}" for a, b in zip(ORDER, range(5), strict=True)]
        assert "'left' and 'right'" in refusal(table(tmp_path, "left,right,camera", rows), split())
        assert cameras(table(tmp_path, "file,right,camera", rows), split()) == CAMERAS

    def test_names_of_other_data_are_noted(self, tmp_path: Path) -> None:
        rows = [f"IMG_{place}.png,{group}" for place, group in enumerate(CAMERAS)]
        (camera,), (note,) = read_groups_noted(table(tmp_path, "image,camera", rows), split())
        assert camera.index.tolist() == [0, 1, 1, 0, 1]
        assert "'image'" in note
        assert "matched by their order" in note

    def test_groups_that_resemble_no_name(self, tmp_path: Path) -> None:
        """A few values, some of them files' stems, are groups."""
        spec = table(tmp_path, "camera", ["a1", "a1", "b1", "b1", "b1"])
        assert read_groups(spec, split())[0].names == ("a1", "b1")
        assert read_groups_noted(spec, split())[1] == ()


class TestIndex:
    @pytest.mark.parametrize("header", ["", "Unnamed: 0", "Unnamed: 0.1"])
    @pytest.mark.parametrize("files", [FILES, None])
    def test_pandas_row_numbers_are_no_grouping(
        self, tmp_path: Path, header: str, files: tuple[str, ...] | None
    ) -> None:
        rows = [f"{place},{group}" for place, group in enumerate(CAMERAS)]
        spec = table(tmp_path, f"{header},camera", rows)
        assert cameras(spec, split(files)) == CAMERAS
        (note,) = read_groups_noted(spec, split(files))[1]
        assert f"column {header!r}" in note

    @pytest.mark.parametrize("header", [",", ",,", ",Unnamed: 0,", ",,,"])
    def test_an_index_of_several_levels_is_no_grouping(self, tmp_path: Path, header: str) -> None:
        levels = header.count(",")
        rows = [",".join([*map(str, (place // 2, place % 2, place)[:levels]), g]) for place, g in enumerate(CAMERAS)]
        spec = table(tmp_path, f"{header}camera", rows)
        assert cameras(spec, split(None)) == CAMERAS
        assert len(read_groups_noted(spec, split(None))[1]) == levels

    def test_another_column_without_a_name_is_located(self, tmp_path: Path) -> None:
        rows = [f"{place},{group},x" for place, group in enumerate(CAMERAS)]
        assert "column 3" in refusal(table(tmp_path, ",camera,", rows), split(None))

    @pytest.mark.parametrize("mark", [";", "\t", "|"])
    def test_another_separator_is_named(self, tmp_path: Path, mark: str) -> None:
        rows = [f"{place}{mark}{group}" for place, group in enumerate(CAMERAS)]
        assert repr(mark) in refusal(table(tmp_path, f"{mark}camera", rows), split(None))

    def test_rows_that_pandas_shuffled_are_refused(self, tmp_path: Path) -> None:
        rows = [f"{place},{CAMERAS[place]}" for place in ORDER]
        assert "counts its rows in another order" in refusal(table(tmp_path, ",camera", rows), split(None))

    def test_rows_that_pandas_picked_keep_their_order(self, tmp_path: Path) -> None:
        rows = [f"{3 * place + 2},{group}" for place, group in enumerate(CAMERAS)]
        assert cameras(table(tmp_path, ",camera", rows), split(None)) == CAMERAS

    def test_nothing_but_an_index(self, tmp_path: Path) -> None:
        assert "not a table of groups" in refusal(table(tmp_path, "Unnamed: 0", list("01234")), split())
        assert "not a table of groups" in refusal(table(tmp_path, "file", list(FILES)), split())

    def test_training_tells_the_note(self, tmp_path: Path) -> None:
        rows = [f"{place},{group}" for place, group in enumerate(CAMERAS)]
        data = DataSet(name="toy", classes=("x", "y"), train=split(None), test=None)
        weighted = weighted_by(data, table(tmp_path, ",camera", rows))
        assert weighted.groups == ("A", "B")
        assert len(weighted.notes) == 1


class TestClasses:
    @pytest.mark.parametrize(("names", "files"), [("ccddd", FILES), ("00111", FILES), ("00111", None)])
    def test_a_column_of_classes_holds_the_rows_to_the_datas_order(
        self, tmp_path: Path, names: str, files: tuple[str, ...] | None
    ) -> None:
        named_files = [{"c": "cat", "d": "dog"}.get(name, name) for name in names]
        in_order = [f"{name},{group}" for name, group in zip(named_files, CAMERAS, strict=True)]
        label, camera = read_groups(table(tmp_path, "label,camera", in_order), split(files))
        assert label.index.tolist() == [0, 0, 1, 1, 1]
        assert camera.index.tolist() == [0, 1, 1, 0, 1]
        message = refusal(table(tmp_path, "label,camera", [in_order[place] for place in ORDER]), split(files))
        assert "another order than the data" in message

    def test_other_classes_than_the_datas_say_nothing(self, tmp_path: Path) -> None:
        rows = [f"{name},{group}" for name, group in zip("21121", CAMERAS, strict=True)]
        assert len(read_groups(table(tmp_path, "label,camera", rows), split())) == 2
