"""Groups other than the classes: how they are read, and what is rejected."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faal.data import DataSet, InMemory, Split, grouping, load_data, read_groups, weighted_by
from faal.errors import InputError


def split(n: int = 6, files: tuple[str, ...] | None = None) -> Split:
    return Split(InMemory(torch.zeros(n, 1, 2, 2)), torch.arange(n) % 2, files=files)


def written(folder: Path, text: str) -> str:
    path = folder / "groups.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


class TestGrouping:
    def test_names_are_in_order_and_numbers_by_size(self) -> None:
        found = grouping("camera", ["b", "a", "b", "a"])
        assert (found.name, found.names, found.index.tolist()) == ("camera", ("a", "b"), [1, 0, 1, 0])
        assert grouping("age", [10, 9, 9, 10, "none", "none", 9]).names == ("9", "10", "none")

    def test_taken_groups_keep_their_places(self) -> None:
        found = grouping("camera", ["b", "a", "c", "a", "b", "c"]).take(torch.tensor([5, 0]))
        assert (found.names, found.index.tolist()) == (("a", "b", "c"), [2, 1])

    def test_a_sample_without_a_group(self) -> None:
        with pytest.raises(InputError, match=r"sample 2 .*'camera'"):
            grouping("camera", ["a", "b", " ", "a"])

    @pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan")])
    def test_a_value_that_is_missing(self, missing: object) -> None:
        with pytest.raises(InputError, match=r"sample 1 .*'camera'"):
            grouping("camera", ["a", missing, "b", "a"])

    def test_the_order_hangs_on_no_hash(self) -> None:
        """Whichever way round they are met: `nan` compares with no number."""
        names = ["10", "nan", "2", "inf", "a", "-inf", "1"]
        orders = {grouping("age", rolled * 2).names for k in range(7) for rolled in [names[k:] + names[:k]]}
        assert orders == {("1", "2", "10", "-inf", "a", "inf", "nan")}

    def test_a_column_that_names_samples(self) -> None:
        with pytest.raises(InputError, match="'id' has 6 values"):
            grouping("id", range(6))

    def test_the_record_tells_two_apart(self) -> None:
        one, other = (grouping("camera", list(each)).record() for each in ("aabb", "abab"))
        assert one["names"] == other["names"] == ["a", "b"]
        assert one["sha256"] != other["sha256"]


class TestFiles:
    def test_a_row_per_sample_in_order(self, tmp_path: Path) -> None:
        spec = written(tmp_path, "camera, site\nA,north\nB,south\nA,north\nA,south\nB,south\nB,north\n")
        camera, site = read_groups(spec, split())
        assert (camera.name, camera.index.tolist()) == ("camera", [0, 1, 0, 0, 1, 1])
        assert (site.name, site.names) == ("site", ("north", "south"))
        (only,) = read_groups(f"{spec}:site", split())
        assert only.index.tolist() == site.index.tolist()

    def test_a_spreadsheets_byte_order_mark_and_a_comma_in_a_name(self, tmp_path: Path) -> None:
        path = tmp_path / "groups.csv"
        path.write_bytes('camera\r\n"Canon, old"\r\nNikon\r\n'.encode("utf-8-sig") * 1)
        (camera,) = read_groups(str(path), split(2))
        assert (camera.name, camera.names) == ("camera", ("Canon, old", "Nikon"))

    def test_a_folders_images_by_name(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                (tmp_path / "images" / part / name).mkdir(parents=True)
                for number in range(3):
                    pixels = np.full((4, 4), 40 * number, dtype=np.uint8)
                    Image.fromarray(pixels).save(tmp_path / "images" / part / name / f"{number}.png")
        rows = [f"{part}/{name}/{number}.png,{'A' if number else 'B'}"
                for number in range(3) for part in ("test", "train") for name in ("dog", "cat")]  # fmt: skip
        spec = written(tmp_path, "\n".join(["file,camera", *rows]))
        data = load_data(f"folder:{tmp_path / 'images'}")
        assert data.test is not None
        (camera,) = read_groups(spec, data.test)
        assert data.test.files == tuple(f"test/{name}/{number}.png" for name in ("cat", "dog") for number in range(3))
        assert camera.index.tolist() == [1, 0, 0, 1, 0, 0]
        weighted = weighted_by(data, spec)
        assert weighted.groups == ("A", "B")
        assert weighted.train is not None
        assert weighted.train.take(torch.tensor([3, 4])).groups.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("camera\nA\nB\n", "has 2 rows for 6 samples"),
            ("", "not a table of groups"),
            ("camera\n", "not a table of groups"),
            ("camera,camera\n" + "A,B\n" * 6, "not a table of groups"),
            ("camera,\n" + "A,B\n" * 6, "column 2 .* has no name"),
            ("camera,site\n" + "A,B\n" * 3 + "A\n" + "A,B\n" * 2, "line 5 .* not have as many fields"),
            ("camera\n" + "A,B\n" * 6, "line 2 .* not have as many fields"),
        ],
    )
    def test_no_such_table(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(InputError, match=said):
            read_groups(written(tmp_path, text), split())

    def test_what_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "groups.csv").write_bytes(b"\xff\xfe\x00\x01" * 9)
        with pytest.raises(InputError, match="not a CSV file"):
            read_groups(str(tmp_path / "groups.csv"), split())
        with pytest.raises(InputError, match=r"gone\.csv \(No such file"):
            read_groups(str(tmp_path / "gone.csv"), split())

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        spec = written(tmp_path, "camera\n" + "A\n" * 6)
        with pytest.raises(InputError, match=r"'camra'.*'camera'"):
            read_groups(f"{spec}:camra", split())

    def test_an_image_without_a_row(self, tmp_path: Path) -> None:
        spec = written(tmp_path, "file,camera\ntest/a.png,A\n")
        with pytest.raises(InputError, match=r"no row for test/b\.png.* 1 other"):
            read_groups(spec, split(3, files=("test/a.png", "test/b.png", "test/c.png")))

    def test_two_rows_for_an_image(self, tmp_path: Path) -> None:
        files = ("test/a.png",)
        (camera,) = read_groups(written(tmp_path, "file,camera\ntest/a.png,A\n./test/a.png,A\n"), split(1, files=files))
        assert camera.names == ("A",)
        with pytest.raises(InputError, match=r"two rows for test/a\.png"):
            read_groups(written(tmp_path, "file,camera\ntest/a.png,A\ntest/a.png,B\n"), split(1, files=files))


class TestTraining:
    def test_one_column_is_weighed(self, tmp_path: Path) -> None:
        spec = written(tmp_path, "camera,site\n" + "A,north\nB,south\n" * 3)
        data = DataSet(name="toy", classes=("x", "y"), train=split(), test=None)
        assert data.groups == ("x", "y")
        with pytest.raises(InputError, match="camera, site"):
            weighted_by(data, spec)
        assert weighted_by(data, f"{spec}:site").groups == ("north", "south")

    def test_no_training_part(self, tmp_path: Path) -> None:
        data = DataSet(name="toy", classes=("x", "y"), train=None, test=split())
        with pytest.raises(InputError, match="no training images"):
            weighted_by(data, written(tmp_path, "camera\nA\n"))
