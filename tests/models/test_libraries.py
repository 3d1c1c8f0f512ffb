"""Libraries that are missing, or do not import."""

import sys
from pathlib import Path

import pytest

from faal.errors import InputError
from faal.models import Architecture, build_model


@pytest.mark.parametrize(("model", "package"), [("timm:resnet50", "timm"), ("hf:.", "transformers")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, model: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs the package {package}, .*pip install {package}$"):
        build_model(Architecture(model=model, num_classes=3))


def test_a_package_that_fails_to_import_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(InputError, match="operator torchvision::nms"):
        build_model(Architecture(model="timm:resnet50", num_classes=3))
