"""What share of an audit's CPU time its checks take: the built-in encoder at several `--limit`, and a full-size
ImageBind audio tower with random weights at two samples.

    python benchmarks/check_cost.py                  # both, about ten minutes of two cores
    python benchmarks/check_cost.py --only tiny      # the built-in encoder alone
    python benchmarks/check_cost.py --only imagebind

Every audit is a process of its own; its time is that of the whole process, loading included. Other load on the machine
moves seconds, not shares.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

LIMITS = (8, 64, 300)
IMAGEBIND_SAMPLES = 2


def tiny(limit: int, heads: str | None) -> None:
    """`ironbind audit world --modality image --limit N`, without heads or with those that ship."""
    from ironbind.recipes import AUDITS
    from ironbind.recipes.request import AuditRequest
    from ironbind.runs.encoder_spec import EncoderSpec
    from ironbind.runs.run_jobs import run_jobs

    with tempfile.TemporaryDirectory() as folder:
        request = AuditRequest(EncoderSpec(heads=heads), modalities=("image",), limit=limit)
        run_jobs(AUDITS["world"](request), Path(folder) / "run")


def imagebind() -> None:
    """An audio audit of the full-size tower, whose class centers are the samples' own embeddings, and random ones."""
    import ironbind as ib
    from ironbind.core.default_budgets import HEADLINE, comparable
    from ironbind.runs.defaults import BLACK_BOX, DEFAULT_ATTACKS
    from ironbind.types import ClassCenters, Linf

    encoder = ib.load_encoder("imagebind-huge", weights="random", modalities="audio")
    data = ib.load_dataset("world", split="report", n=IMAGEBIND_SAMPLES)
    space = encoder.inputs["audio"].space
    x = torch.stack([encoder.inputs["audio"].prepare(sample) for sample in data.decode("audio", range(len(data)))])
    with torch.no_grad():
        own = encoder.embed("audio", x)
    others = torch.randn(len(data.classes) - len(own), encoder.dim, generator=torch.Generator().manual_seed(0))
    z = torch.nn.functional.normalize(torch.cat([own, others.to(own)]), dim=1)
    names = tuple(data.classes)
    centers = ClassCenters(z, torch.tensor([*data.labels, *sorted(set(range(len(names))) - set(data.labels))]), names)
    task = ib.zero_shot(encoder, data, "audio", centers=centers)
    budget = comparable(Linf(HEADLINE), space.name)
    result = ib.audit(task, attack=DEFAULT_ATTACKS, budget=budget, black_box=BLACK_BOX)
    for row in result.rows:
        if row.metric == "top1":
            print(f"    {row.threat_model} {row.eps}: {row.value:.0f} %")


def measured(kind: str, limit: int) -> None:
    """One audit in this process, and the share of its checks."""
    import ironbind.evaluate.accuracy_curve as curves
    import ironbind.evaluate.audit as audits

    torch.set_num_threads(1)
    spent, passes = [0.0], [0.0, 0.0]
    checks_of = audits.checks_of

    def timed(context: Any, scope: str, record: Any) -> Any:
        started = time.process_time()
        try:
            return checks_of(context, scope, record)
        finally:
            spent[0] += time.process_time() - started
            passes[0] += context.passes["gradient"]
            passes[1] += context.passes["forward"]
            print(f"    {scope}: {context.extent}", flush=True)

    audits.checks_of = curves.checks_of = timed
    if kind == "imagebind":
        imagebind()
    else:
        tiny(limit, "shipped" if kind == "shipped" else None)
    whole = time.process_time()
    print(
        f"{kind}, {limit} samples: checks {spent[0]:.1f} of {whole:.1f} CPU s = {100 * spent[0] / whole:.1f} %, "
        f"{passes[0]:.0f} gradient and {passes[1]:.0f} forward passes",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["tiny", "shipped", "imagebind"])
    parser.add_argument("--limit", type=int, help="one audit, in this process")
    given = parser.parse_args()
    if given.only and given.limit:
        measured(given.only, given.limit)
        return
    for kind in [given.only] if given.only else ["tiny", "shipped", "imagebind"]:
        for limit in [IMAGEBIND_SAMPLES] if kind == "imagebind" else LIMITS:
            command = [sys.executable, __file__, "--only", kind, "--limit", str(limit)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
