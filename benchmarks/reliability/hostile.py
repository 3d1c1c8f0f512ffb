"""Files made to do harm, or damaged: what the user sees of each, the seconds and the memory that it takes."""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.recording.parts import toy
from benchmarks.recording.samples import SAMPLES
from benchmarks.recording.surface import Surface
from PIL import Image

SECONDS, MEGABYTES = 60.0, 1500.0
"""What a rejection may take at the most."""

Words = Sequence[str]
QUICK = ("--attacks", "clean", "--limit", "20", "--device", "cpu")


def yaml_aliases(here: Path) -> Words:
    """A recipe whose aliases expand to 10^12 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    (here / "bomb.yaml").write_text("\n".join(lines))
    return ("train", "bomb.yaml", "--data", "npz:toy.npz")


def yaml_tag(here: Path) -> Words:
    """A recipe with a tag that builds an object of Python."""
    (here / "tag.yaml").write_text("method: !!python/object/apply:os.system [touch harmed]\n")
    return ("train", "tag.yaml", "--data", "npz:toy.npz")


def yaml_integer(here: Path) -> Words:
    """A recipe with `!!int a`."""
    (here / "int.yaml").write_text("method: pgd-at\nepochs: !!int a\n")
    return ("train", "int.yaml", "--data", "npz:toy.npz")


def recipe_names_code(here: Path) -> Words:
    """A recipe whose network is a function of a module beside it."""
    (here / "evil.py").write_text("open('harmed', 'w')\n")
    (here / "evil.yaml").write_text("method: pgd-at\nmodel: evil:build\n")
    return ("train", "evil.yaml", "--data", "npz:toy.npz")


class _Runs:
    def __reduce__(self) -> Any:
        return exec, ("open('harmed', 'w')",)


def pickle_runs_code(here: Path) -> Words:
    """A checkpoint that is a pickle of a call."""
    (here / "model.pth").write_bytes(pickle.dumps({"state_dict": _Runs()}))
    return ("audit", "model.pth", "--model", "small", "--data", "digits", *QUICK)


def batches_of_tuples(here: Path) -> Words:
    """A CIFAR-10 batch whose key is a tuple of tuples of tuples, 2^40 in all."""
    content = b"\x80\x02}" + b")" + b"".join(b"2\x86" for _ in range(40)) + b"K\x01s."
    folder = here / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("batches.meta", "test_batch", *(f"data_batch_{k}" for k in range(1, 6))):
        (folder / name).write_bytes(content)
    return ("audit", "run", "--data", f"cifar10:{here}", *QUICK)


def zip_bomb(here: Path) -> Words:
    """An .npz of 300 KB that unpacks to 300 MB and whose header says 20 GB."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (20000000000,), }"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n"
    with (
        zipfile.ZipFile(here / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x_test.npy", "w", force_zip64=True) as member,
    ):
        member.write(start)
        for _ in range(300):
            member.write(bytes(2**20))
    return ("audit", "run", "--data", "npz:bomb.npz", *QUICK)


def npy_header(here: Path) -> Words:
    """An array of a few bytes whose header says 10^15."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**6)})
    with zipfile.ZipFile(here / "long.npz", "w") as archive:
        archive.writestr("x_test.npy", file.getvalue() + b"abc")
        archive.writestr("y_test.npy", file.getvalue() + b"abc")
    return ("audit", "run", "--data", "npz:long.npz", *QUICK)


def idx_header(here: Path) -> Words:
    """IDX files of 16 bytes whose header says 2^32 images."""
    folder = here / "idx"
    folder.mkdir()
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 2**32 - 1, 28, 28))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2**32 - 1))
    return ("audit", "run", "--data", f"mnist:{folder}", *QUICK)


def _folder(here: Path) -> Path:
    for part in ("train", "test"):
        for name in "ab":
            folder = here / "images" / part / name
            folder.mkdir(parents=True)
            for k in range(3):
                Image.new("L", (8, 8), 10 * k).save(folder / f"{k}.png")
    return here / "images"


def image_of_terabytes(here: Path) -> Words:
    """A PNG of 100 bytes, 100,000 pixels wide and high."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    folder = _folder(here)
    (folder / "test" / "a" / "0.png").write_bytes(png)
    return ("audit", "run", "--data", f"folder:{folder}", *QUICK)


def image_without_width(here: Path) -> Words:
    """A BMP of width 0."""
    folder = _folder(here)
    head = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 0, 8, 1, 24, 0, 0, 0, 0, 0, 0)
    (folder / "test" / "a" / "0.bmp").write_bytes(head)
    return ("audit", "run", "--data", f"folder:{folder}", *QUICK)


def links_in_a_circle(here: Path) -> Words:
    """An image folder with a link to itself."""
    folder = _folder(here)
    (folder / "test" / "a" / "loop").symlink_to(folder / "test")
    (folder / "test" / "c").symlink_to("c")
    return ("audit", "run", "--data", f"folder:{folder}", *QUICK)


def safetensors_header(here: Path) -> Words:
    """A .safetensors file whose header says 2^60 bytes."""
    (here / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    return ("audit", "model.safetensors", "--model", "small", "--data", "digits", *QUICK)


def _changed(here: Path, change: Callable[[dict[str, Any]], object]) -> Words:
    file = here / "run" / "best.pt"
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    return ("audit", "run", *QUICK, "--data", "digits")


def checkpoint_too_wide(here: Path) -> Words:
    """A checkpoint that asks for width 2^20."""
    return _changed(here, lambda content: content["architecture"].update(width=2**20))


def checkpoint_names_code(here: Path) -> Words:
    """A checkpoint whose network is `evil:build`."""
    (here / "evil.py").write_text("open('harmed', 'w')\n")
    return _changed(here, lambda content: content["architecture"].update(model="evil:build"))


def checkpoint_not_finite(here: Path) -> Words:
    """A checkpoint with an infinite weight."""

    def change(content: dict[str, Any]) -> None:
        name = next(key for key, value in content["weights"].items() if value.is_floating_point())
        content["weights"][name].flatten()[0] = float("inf")

    return _changed(here, change)


def truncated_checkpoint(here: Path) -> Words:
    """Half of a checkpoint."""
    file = here / "run" / "best.pt"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return ("audit", "run", *QUICK, "--data", "digits")


def _audit_json(here: Path, change: Callable[[dict[str, Any]], object]) -> Words:
    file = here / "run" / "audit.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return ("report", "run")


def audit_without_attacks(here: Path) -> Words:
    """An audit.json with a number for its attacks."""
    return _audit_json(here, lambda content: content.update(attacks=3))


def audit_not_a_number(here: Path) -> Words:
    """An audit.json with NaN in the confusion."""
    return _audit_json(here, lambda content: content["attacks"]["clean"]["confusion"][0].__setitem__(0, float("nan")))


def audit_too_good(here: Path) -> Words:
    """An audit.json whose average was changed to 1, without its verdicts."""
    (here / "run" / "verdicts.npz").unlink()
    return _audit_json(here, lambda content: content["attacks"]["pgd20"]["average"].update(value=1.0))


def audit_beside_other_verdicts(here: Path) -> Words:
    """An audit.json whose correct counts are not those of the verdicts beside it."""

    def change(content: dict[str, Any]) -> None:
        content["attacks"]["pgd20"]["classes"][0]["correct"] += 1

    return _audit_json(here, change)


def archive_that_climbs(here: Path) -> Words:
    """A CIFAR-10 archive in the place of its folder, whose member is `../../harmed`."""
    with tarfile.open(here / "cifar-10-python.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../../harmed")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    return ("audit", "run", "--data", f"cifar10:{here}", *QUICK)


CASES = (
    yaml_aliases,
    yaml_tag,
    yaml_integer,
    recipe_names_code,
    pickle_runs_code,
    batches_of_tuples,
    zip_bomb,
    npy_header,
    idx_header,
    image_of_terabytes,
    image_without_width,
    links_in_a_circle,
    safetensors_header,
    checkpoint_too_wide,
    checkpoint_names_code,
    checkpoint_not_finite,
    truncated_checkpoint,
    audit_without_attacks,
    audit_not_a_number,
    audit_too_good,
    audit_beside_other_verdicts,
    archive_that_climbs,
)


def measure(surface: Surface, work: Path, n: int, seed: int) -> dict[str, Any]:
    """The first `n` files, each in a process of its own."""
    rows = []
    for case in CASES[:n]:
        here = toy(work / case.__name__)
        shutil.copytree(SAMPLES / "run", here / "run")
        words = case(here)
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "faal", *words], cwd=here, env=surface.environment | {"COLUMNS": "1000"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            _, status, used = os_wait(process)
            text = process.stderr.read() if process.stderr else ""
        seconds, megabytes = time.monotonic() - began, used.ru_maxrss / 1024
        message = text.strip().splitlines()[-1].replace(str(here), "DIR") if text.strip() else ""
        harmed = any((folder / "harmed").exists() for folder in (here, here.parent, here.parent.parent))
        rejected = status == 2 and "Traceback" not in text and not harmed
        bounded = seconds < SECONDS and megabytes < MEGABYTES
        described = (case.__doc__ or "").strip()
        rows.append({"file": described, "exit status": status, "message": message, "rejected": rejected and bounded,
                     "seconds": round(seconds, 1), "megabytes": round(megabytes)})  # fmt: skip
        print(f"{described} {status}: {message}", flush=True)
        shutil.rmtree(here)
    return {"files": len(rows), "rejected": sum(row["rejected"] for row in rows), "rows": rows}


def os_wait(process: subprocess.Popen[str]) -> tuple[int, int, resource.struct_rusage]:
    """Wait for a process; its number, exit status and resources."""
    pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return pid, process.returncode, used
