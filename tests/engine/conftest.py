"""Two processes, started once for all tests of their results."""

from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from tests.helpers.pair import work


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of two processes."""
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(work, args=(folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
