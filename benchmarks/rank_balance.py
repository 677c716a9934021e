"""How evenly the samples of an audit fall to ranks: the busiest rank's passes over the mean.

    python benchmarks/rank_balance.py RUN [RUN ...]

Passes per sample are those that the runs counted (their verdicts.csv); ranks are simulated: each takes the next block
when it is done with its own, as `numerics.ranks` deals them. One line per evaluation with at least `--least` samples.
"""

import argparse
import csv
import heapq
from collections import defaultdict
from pathlib import Path

from ironbind.numerics.ranks import interleaved, shrinking_blocks

SIZES = (2, 4, 8, 16)
PLACE = ("calibration", "modality", "space", "task", "attack", "eps", "threat_model")


def busiest_over_mean(costs: list[int], size: int, batch_size: int) -> float:
    """`costs`: passes of the samples, sorted by their expected difficulty."""
    busy = [0] * size
    heapq.heapify(busy)
    for block in shrinking_blocks(interleaved(costs), size, batch_size):
        heapq.heapreplace(busy, busy[0] + sum(block))
    return max(busy) * size / sum(busy)


def evaluations(run: Path) -> dict[tuple[str, ...], list[int]]:
    """Passes per sample of every attacked number, samples sorted by the margin that they have when clean."""
    margins: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    costs: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    with open(run / "verdicts.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = tuple(row[column] for column in PLACE)
            if row["threat_model"] == "clean":
                margins[place[:4]][row["sample"]] = float(row["margin"])
            elif row["threat_model"] in ("whitebox", "adaptive"):
                costs[place][row["sample"]] = int(row["gradient_passes"]) + int(row["forward_passes"])
    return {
        place: [cost for _, cost in sorted((-margins[place[:4]][sample], cost) for sample, cost in of.items())]
        for place, of in costs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--least", type=int, default=200, help="leave out evaluations of fewer samples")
    arguments = parser.parse_args()
    print(f"| evaluation | samples | passes | {' | '.join(f'{size} ranks' for size in SIZES)} |")
    print("|---|---|---|" + "---|" * len(SIZES))
    for run in arguments.runs:
        for place, costs in evaluations(run).items():
            if len(costs) >= arguments.least and sum(costs):
                ratios = [busiest_over_mean(costs, size, arguments.batch_size) for size in SIZES]
                name = f"{place[1]} {place[0]} {place[6]} {place[5]}"
                print(f"| {name} | {len(costs)} | {sum(costs):,} | {' | '.join(f'{ratio:.3f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()
