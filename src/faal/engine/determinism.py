"""The conditions under which a verdict is taken: exact float32, and no trace left in the caller's generators."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def strict_float32(device: torch.device) -> Iterator[None]:
    """Autocast off, TF32 and bfloat16 products off, deterministic convolutions; then every setting as it was.

    PyTorch has an old and a new set of switches for the same thing, and refuses to read the old ones where the two
    disagree. So both are moved, and the old ones set back to what the new ones say.
    """
    backends: Any = torch.backends  # most of these switches are missing from PyTorch's annotations
    gpu, cpu = backends.cudnn, backends.mkldnn
    precisions = (gpu.conv, gpu.rnn, backends.cuda.matmul, cpu.conv, cpu.rnn, cpu.matmul)
    kept = [operation.fp32_precision for operation in precisions]
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
            for kind in {"cpu", device.type}:
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        gpu.deterministic, gpu.benchmark = cudnn
        torch.set_float32_matmul_precision(legacy)
        gpu.allow_tf32 = kept[0] != "ieee"
        for operation, precision in zip(precisions, kept, strict=True):
            operation.fp32_precision = precision


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Whatever is drawn or seeded inside, the global generators of torch, numpy and Python come back as they were."""
    host, array, plain = torch.get_rng_state(), np.random.get_state(), random.getstate()
    # Not asking would start CUDA in a process that has no use for it.
    started = torch.cuda.is_initialized()
    devices = torch.cuda.get_rng_state_all() if started else []
    try:
        yield
    finally:
        torch.set_rng_state(host)
        np.random.set_state(array)
        random.setstate(plain)
        if devices:
            torch.cuda.set_rng_state_all(devices)
