"""CPU time of a folded tower, of live adapters and of a purifier, over the plain tower: `export_cost.py` prints the
table of docs/export.md; `--write` puts it there.

The four towers of a row take turns within one process, round by round, on the same batch; a cell is the median over the
rounds of CPU seconds over the plain tower's of the same round, with the middle half of the rounds in brackets. A pass
is `embed` without gradients, a step is `embed` and the gradient with respect to the input. Run it on an idle machine,
one thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ironbind.calibration.adapters import Adapters
from ironbind.calibration.calibrated import Calibrated
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.deployment.folding import fold
from ironbind.deployment.verification import probes
from ironbind.encoders import load_encoder
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.numerics.networks import frozen
from ironbind.types import AdapterShape, Encoder

PAGE = Path(__file__).parent.parent / "docs" / "export.md"
FOLDABLE, PURIFIED = AdapterShape(4, True, 0), AdapterShape(4, True, 16)
COLUMNS = ("folded", "live adapters", "live adapters and purifier")


class Row(NamedTuple):
    """A tower: an encoder, a modality, and how many inputs a batch has."""

    title: str
    make: Callable[[], Encoder]
    modality: str
    batch: int


TINY = partial(load_encoder, "tiny")
ROWS = (
    *(Row(f"built-in {one}", TINY, one, 64) for one in ("image", "video", "audio", "point", "thermal", "event")),
    Row(
        "ImageBind thermal, random weights",
        partial(load_encoder, "imagebind-huge", weights="random", modalities=["thermal"]),
        "thermal",
        2,
    ),
    Row(
        "LanguageBind image, random weights",
        partial(languagebind.load, "languagebind-image", "random", ("image",)),
        "image",
        1,
    ),
)


def calibrated(encoder: Encoder, modality: str, shape: AdapterShape) -> Calibrated:
    """Adapters whose every tensor was moved a little."""
    adapters = Adapters(encoder, modality, shape)
    generator = torch.Generator().manual_seed(0)
    for parameter in adapters.parts.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape, generator=generator)
    return Calibrated(encoder, {}, "toy", None, adapters={modality: adapters})


def measure(row: Row, rounds: int, gradient: bool) -> list[list[float]]:
    """CPU seconds of the plain tower and of those of COLUMNS, one list per round."""
    plain = row.make()
    live = calibrated(plain, row.modality, FOLDABLE)
    towers = (plain, fold(live, row.modality).encoder, live, calibrated(plain, row.modality, PURIFIED))
    spec = plain.inputs[row.modality]
    x = probes(spec, spec.space_named(None).name, row.batch)
    work = partial(_step if gradient else _pass, row.modality, x, spec.space_named(None).name)
    found = []
    for number in range(rounds + 1):
        seconds = [0.0] * len(towers)
        for place in range(len(towers)):
            at = (place + number) % len(towers)  # nobody is always first
            with frozen(towers[at]):
                started = time.process_time()
                work(towers[at])
                seconds[at] = time.process_time() - started
        found.append(seconds)
    return found[1:]  # the first one warms up


def _pass(modality: str, x: torch.Tensor, space: str, encoder: Encoder) -> None:
    with torch.no_grad():
        encoder.embed(modality, x, space=space)


def _step(modality: str, x: torch.Tensor, space: str, encoder: Encoder) -> None:
    leaf = x.clone().requires_grad_()
    torch.autograd.grad(encoder.embed(modality, leaf, space=space).sum(), leaf)


def table(rounds: int, only: str) -> str:
    lines = []
    for row in ROWS:
        if only not in row.title:
            continue
        for what, gradient in (("pass", False), ("step", True)):
            found = measure(row, rounds, gradient)
            cells = []
            for column in range(1, len(COLUMNS) + 1):
                low, middle, high = statistics.quantiles([one[column] / one[0] for one in found], n=4)
                cells.append(f"{middle:.3f} ({low:.3f}–{high:.3f})")
            lines.append((row.title, what, str(row.batch), *cells))
            print(" | ".join(lines[-1]), flush=True)
    said = f"Rank 4 and norms; the purifier has 16 channels. {rounds} rounds, one thread; plain = 1."
    return f"{markdown_table(('tower', 'what', 'batch', *COLUMNS), lines)}\n\n{said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", default="", help="rows whose title holds this")
    parser.add_argument("--write", action="store_true", help="put the table into docs/export.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = table(given.rounds, given.only)
    if given.write:
        put(PAGE, "cost", text)
    else:
        print(f"\n{text}")


if __name__ == "__main__":
    main()
