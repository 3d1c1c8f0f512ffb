"""The numerical conditions of a verdict: strict float32, and the caller's random generators preserved."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def strict_float32(device: torch.device) -> Iterator[None]:
    """Autocast off, TF32 and bfloat16 products off, deterministic convolutions; afterwards all settings are restored.

    PyTorch has an old and a new set of flags for the same purpose, and cannot read the old ones where the two
    disagree. So both are changed, and the old ones restored to the values that follow from the new ones.
    """
    backends: Any = torch.backends  # most of these flags are missing from PyTorch's annotations
    gpu, cpu = backends.cudnn, backends.mkldnn
    precisions = (gpu.conv, gpu.rnn, backends.cuda.matmul, cpu.conv, cpu.rnn, cpu.matmul)
    before = [operation.fp32_precision for operation in precisions]
    products = {"bf16": "medium", "tf32": "high"}
    legacy = products.get(cpu.matmul.fp32_precision, products.get(backends.cuda.matmul.fp32_precision, "highest"))
    cudnn = gpu.deterministic, gpu.benchmark
    try:
        torch.set_float32_matmul_precision("highest")
        gpu.allow_tf32 = False
        for operation in precisions:
            operation.fp32_precision = "ieee"
        gpu.deterministic, gpu.benchmark = True, False
        with ExitStack() as stack:
            for device_type in {"cpu", device.type}:
                stack.enter_context(torch.autocast(device_type, enabled=False))
            yield
    finally:
        gpu.deterministic, gpu.benchmark = cudnn
        torch.set_float32_matmul_precision(legacy)
        gpu.allow_tf32 = before[0] != "ieee"
        for operation, precision in zip(precisions, before, strict=True):
            operation.fp32_precision = precision


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Restore the global generators of torch, numpy and Python afterwards."""
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    # Reading the state would otherwise initialise CUDA in a process that does not use it.
    uses_cuda = torch.cuda.is_initialized()
    devices = torch.cuda.get_rng_state_all() if uses_cuda else []
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if devices:
            torch.cuda.set_rng_state_all(devices)
