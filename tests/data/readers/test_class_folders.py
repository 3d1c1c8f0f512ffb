"""Entries of class folders that are no images: links in a circle, pipes, folders without end."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from faal.data import load_data
from faal.errors import InputError


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for place in ("test/cat", "test/dog"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / place / "0.png")
    return tmp_path


@contextmanager
def nested(folder: Path, levels: int) -> Iterator[None]:
    """A folder in a folder, deeper than Python's stack: `shutil.rmtree` could not remove it."""
    before = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    for _ in range(levels):
        os.mkdir("q")
        os.chdir("q")
    innermost = os.open(".", os.O_RDONLY)
    os.fchdir(before)
    try:
        yield
    finally:
        os.fchdir(innermost)
        for _ in range(levels):
            os.chdir("..")
            os.rmdir("q")
        os.fchdir(before)
        os.close(innermost)
        os.close(before)


def test_very_deep_folders(pets: Path) -> None:
    with nested(pets / "test" / "cat", 1500):
        data = load_data(f"folder:{pets}")
    assert data.test is not None
    assert data.test.n == 2


def three(root: Path) -> Path:
    """Three classes in both parts."""
    for part in ("train", "test"):
        for name in ("cat", "dog", "elk"):
            (root / part / name).mkdir(parents=True)
            Image.new("L", (4, 4)).save(root / part / name / "0.png")
    return root


LACKS: dict[str, Callable[[Path], object]] = {
    "an empty class of the training part": lambda root: (root / "train" / "dog" / "0.png").unlink(),
    "an empty class of the test part": lambda root: (root / "test" / "dog" / "0.png").unlink(),
    "a class that is missing in one part": lambda root: shutil.rmtree(root / "test" / "dog"),
    "two classes that are empty": lambda root: [(root / "test" / n / "0.png").unlink() for n in ("cat", "dog")],
    "classes that each part lacks": lambda root: [
        shutil.rmtree(root / part / name) for part, name in (("test", "dog"), ("train", "cat"))
    ],
    "an empty part": lambda root: [shutil.rmtree(root / "test" / name) for name in ("cat", "dog", "elk")],
    "files of another kind alone": lambda root: (root / "test" / "dog" / "0.png").rename(root / "test/dog/0.txt"),
}


@pytest.mark.parametrize("advice", ["add", "delete"])
@pytest.mark.parametrize("case", LACKS)
def test_whoever_follows_the_advice_is_not_refused_for_it(case: str, advice: str, tmp_path: Path) -> None:
    """Every folder that the messages say to delete is deleted, or images are added, until one way is closed."""
    root = three(tmp_path / "pets")
    LACKS[case](root)
    for _ in range(4):
        try:
            assert load_data(f"folder:{root}").num_classes >= 2
        except InputError as error:
            message = str(error)
            _, _, deletion = message.partition("delete ")
            after_delete = {Path(word.strip(",;:")) for word in deletion.split() if word.startswith(str(root))}
            if advice == "delete" and after_delete:
                for place in after_delete:
                    shutil.rmtree(place)
                continue
            for part, name in ((part, name) for part in ("train", "test") for name in ("cat", "dog", "elk")):
                (root / part / name).mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 4)).save(root / part / name / "0.png")
        else:
            return
    pytest.fail(f"the advice leads to no data: {message}")


def test_an_empty_class_of_two_cannot_be_deleted(pets: Path) -> None:
    (pets / "test" / "cat" / "0.png").unlink()
    with pytest.raises(InputError, match=r"add images to the class$"):
        load_data(f"folder:{pets}")


IGNORED: dict[str, Callable[[Path], object]] = {
    "a link to itself in a class": lambda test: (test / "cat" / "x").symlink_to("x"),
    "two links to each other": lambda test: ((test / "x").symlink_to("y"), (test / "y").symlink_to("x")),
    "a link to itself beside the classes": lambda test: (test / "x").symlink_to("x"),
    "such a link with an image's name": lambda test: (test / "x.png").symlink_to("x.png"),
    "a link that leads nowhere": lambda test: (test / "cat" / "x").symlink_to("gone"),
}


@pytest.mark.parametrize("case", IGNORED)
def test_what_holds_no_images_changes_nothing(case: str, pets: Path) -> None:
    IGNORED[case](pets / "test")
    data = load_data(f"folder:{pets}")
    assert data.classes == ("cat", "dog")
    assert data.test is not None
    assert data.test.n == 2


def test_a_circle_of_folders_ends(pets: Path) -> None:
    """The images behind the link are found once, and refused as those of any folder within a class."""
    (pets / "test" / "cat" / "x").symlink_to("..")
    with pytest.raises(InputError, match="folders within a class are not read"):
        load_data(f"folder:{pets}")


@pytest.mark.parametrize("kind", ["link to itself", "link that leads nowhere", "folder", "pipe", "device"])
def test_an_image_that_is_no_file(kind: str, pets: Path) -> None:
    """None is opened: a pipe would never end."""
    image = pets / "test" / "cat" / "x.png"
    {
        "link to itself": lambda: image.symlink_to(image),
        "link that leads nowhere": lambda: image.symlink_to("gone"),
        "folder": image.mkdir,
        "pipe": lambda: os.mkfifo(image),
        "device": lambda: image.symlink_to("/dev/zero"),
    }[kind]()
    with pytest.raises(InputError, match=r"x.png is not a file") as caught:
        load_data(f"folder:{pets}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["folder", "idx", "cifar10", "npz", "mnist"])
@pytest.mark.parametrize("name", ["a" * 300, "x/" * 3000, "link", "nu\0ll"], ids=["long", "deep", "circle", "null"])
def test_a_path_that_cannot_be(form: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(InputError) as caught:
        load_data(f"{form}:{tmp_path / name}")
    assert "\n" not in str(caught.value)
