import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from faal.engine.determinism import preserve_rng, strict_float32

BACKENDS = torch.backends
CPU = torch.device("cpu")


def precisions() -> list[str]:
    cudnn, mkldnn = BACKENDS.cudnn, BACKENDS.mkldnn
    operations = (cudnn.conv, cudnn.rnn, BACKENDS.cuda.matmul, mkldnn.conv, mkldnn.rnn, mkldnn.matmul)  # type: ignore[attr-defined]
    return [operation.fp32_precision for operation in operations]


def legacy() -> str | None:
    """The old flag; None where PyTorch raises an error, because the new ones differ from it."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def settings() -> tuple[object, ...]:
    return (
        *precisions(),
        BACKENDS.cudnn.deterministic,
        BACKENDS.cudnn.benchmark,
        torch.is_autocast_enabled("cpu"),
    )


@pytest.fixture(params=["default", "highest", "high", "medium", "tf32 flags", "new switches"])
def _callers_choice(request):  # type: ignore[no-untyped-def]
    """The settings with which a caller may have chosen less than float32."""
    before = torch.get_float32_matmul_precision(), precisions(), BACKENDS.cudnn.benchmark
    if request.param in ("highest", "high", "medium"):
        torch.set_float32_matmul_precision(request.param)
    elif request.param == "tf32 flags":
        BACKENDS.cuda.matmul.allow_tf32 = BACKENDS.cudnn.allow_tf32 = BACKENDS.cudnn.benchmark = True
    elif request.param == "new switches":
        BACKENDS.cuda.matmul.fp32_precision = "tf32"
        BACKENDS.mkldnn.conv.fp32_precision = "bf16"  # type: ignore[attr-defined]
    yield
    torch.set_float32_matmul_precision(before[0])
    BACKENDS.cudnn.allow_tf32, BACKENDS.cudnn.benchmark = True, before[2]
    cudnn, mkldnn = BACKENDS.cudnn, BACKENDS.mkldnn
    operations = (cudnn.conv, cudnn.rnn, BACKENDS.cuda.matmul, mkldnn.conv, mkldnn.rnn, mkldnn.matmul)  # type: ignore[attr-defined]
    for operation, precision in zip(operations, before[1], strict=True):
        operation.fp32_precision = precision


@pytest.mark.usefixtures("_callers_choice")
def test_float32_is_exact_inside_and_the_callers_settings_are_restored() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before, old = settings(), legacy()
        assert before[-1]
        with suppress(KeyError), strict_float32(CPU):
            assert set(precisions()) == {"ieee"}
            assert not BACKENDS.cuda.matmul.allow_tf32
            assert not BACKENDS.cudnn.allow_tf32
            assert legacy() == "highest"
            assert settings()[-3:] == (True, False, False)
            x = torch.rand(8, 8)
            assert (x @ x).dtype == torch.float32
            raise KeyError
        assert settings() == before
        assert legacy() is not None
        assert old is None or legacy() == old


def test_generators_are_restored_after_drawing_and_seeding() -> None:
    expected = []
    for disturbed in (False, True):
        torch.manual_seed(1)
        np.random.seed(2)
        random.seed(3)
        if disturbed:
            with suppress(KeyError), preserve_rng():
                torch.manual_seed(4)
                torch.rand(5)
                np.random.rand(5)
                random.random()
                raise KeyError
        expected.append((torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()))
    assert expected[0] == expected[1]
