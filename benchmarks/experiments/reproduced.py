"""Store the records of a table that `faal reproduce` filled, for `docs/results.md`.

    faal reproduce table2 --scale small --data cifar10:DIR --seeds 1
    python -m benchmarks.experiments.reproduced reproduce/small-honest table2

writes `benchmarks/results/table2-small-honest.json`.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from faal.study.reproduce.results import records_of
from faal.study.reproduce.tables import TABLES

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the reproduction")
    parser.add_argument("table", choices=TABLES, help="the table")
    given = parser.parse_args()
    records = records_of(given.folder, TABLES[given.table])
    if not records:
        parser.error(f"{given.folder} holds no record of {given.table}")
    first = records[0]
    data = "" if first.scale == "tiny" else f" --data {TABLES[given.table].data}:DIR"
    protocol = "" if first.protocol == "honest" else f" --protocol {first.protocol}"
    seeds = max(record.seed for record in records)
    rows = [
        {k: v for k, v in dataclasses.asdict(record).items() if k not in ("environment", "commit")}
        for record in records
    ]
    result = {
        "command": f"faal reproduce {given.table} --scale {first.scale}{data}{protocol} --seeds {seeds}",
        "environment": {**first.environment, "commit": first.commit},
        "labels": {row.name: row.label for row in TABLES[given.table].rows},
        "records": rows,
    }
    path = RESULTS / f"{given.table}-{first.scale}-{first.protocol}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
