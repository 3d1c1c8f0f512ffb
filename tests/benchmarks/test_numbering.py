"""`benchmarks/simulations/numbering.py` in small, and what its 1,000 draws have to say."""

import json

import numpy as np
import pytest
from tests.helpers.benches import BENCHMARKS, script

BENCH = script("numbering")
MEASURED = json.loads((BENCHMARKS / "results" / "numbering.json").read_text())


def test_an_honest_network_is_hardly_ever_spoken_of() -> None:
    """1 draw in 1,000 is promised: 6 of them where an alarm is at its likeliest, once in 2,000 simulations."""
    said = {name: count for name, count in MEASURED["said"].items() if name.startswith("as they are")}
    assert len(said) == 19
    assert MEASURED["draws"] == 1000
    assert all(count <= 6 for name, count in said.items() if not name.endswith("untrained"))


@pytest.mark.parametrize("how", ["two swapped", "renumbered"])
def test_another_order_is_found_the_sooner_the_more_images_there_are(how: str) -> None:
    said = [MEASURED["said"][f"{how}: 10 classes at 90%, {n}"] for n in BENCH.SIZES]
    assert said == sorted(said)
    assert said[-1] == 1000


def test_in_small(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    confusion = (100 * BENCH.alike(10, 0.7)).tolist()
    (tmp_path / "audit.json").write_text(json.dumps({"attacks": {"clean": {"confusion": confusion}}}))
    out = tmp_path / "out.json"
    given = [str(tmp_path / "audit.json"), "--draws", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["numbering.py", *given])
    BENCH.main()
    found = json.loads(out.read_text())
    assert np.allclose(found["networks"], 0.7)
    assert found["said"].keys() == MEASURED["said"].keys()
    assert found["said"]["two swapped: networks, 1000"] == 1
