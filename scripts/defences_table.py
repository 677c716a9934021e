"""The table of docs/defences.md: what each test-time defence leaves of the built-in encoder, in six modalities.

    python scripts/defences_table.py                      # 200 samples a modality; resumable; hours of CPU
    python scripts/defences_table.py --samples 8 --out /tmp/try --no-write   # a try that changes no page
    python scripts/defences_table.py --photographs PHOTOGRAPHS --defences quantisation,recompression --samples 100
    python scripts/defences_table.py --read               # from what is measured already, runs that are complete

Each modality is a run folder of its own, made by `ironbind audit defences --modality M --limit N --out DIR/M`.
`--photographs`: a folder of ImageNet's class folders; the encoder is `lite` then, the radius 1/255, the run DIR/lite.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, Row
from ironbind.defences import DEFENCES
from ironbind.recipes.request import SIX, AuditRequest
from ironbind.recipes.test_time_defences import defences
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.run_jobs import run_jobs

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "defences.md"
SAMPLES = 200
LITE = "lite"
LITE_EPS = "1/255"
HEAD = ("input", "defence", "passes per query", "clean", "replayed", "**adaptive**", "decided by")
CAUGHT = (
    "input",
    "detector",
    "clean: flagged",
    "AUROC replayed",
    "adaptive",
    "caught or right: replayed",
    "**adaptive**",
)


def with_interval(row: Row) -> str:
    """A value with its 95 % interval."""
    return f"{row.value:.1f} ({row.ci_low:.1f}–{row.ci_high:.1f})"


def one(rows: Sequence[Row], **wanted: str) -> Row:
    """The single row that fits."""
    (row,) = [row for row in rows if all(getattr(row, column) == value for column, value in wanted.items())]
    return row


def decided_by(folder: Path, title: str) -> str:
    """Which attacks decided most of the broken samples' adaptive verdicts, on the first draw."""
    with (folder / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if line["encoder"] == title and line["threat_model"] == "adaptive" and line["task"] == "zero_shot"
        ]
    won = [line["won_by"] for line in lines if line["correct"] == "0"]
    told = {"clean": "wrong when clean"}
    broken = Counter(
        "the replayed example" if by.endswith("replayed") else told.get(by, by.rpartition(" ")[0]) for by in won
    )
    return ", ".join(f"{name} {count}" for name, count in broken.most_common(2)) or "none"


def lines_of(folder: Path) -> tuple[list[list[str]], list[list[str]]]:
    """The lines of one modality: of both tables."""
    result = Result.read(folder)
    top1 = result.select(task="zero_shot", metric="top1")
    caught = [row for row in result.rows if row.task == "caught:zero_shot"]
    (records,) = [value for key, value in result.record.items() if key.startswith("defences ")]
    plain = [row for row in top1 if "+" not in row.encoder]
    place = f"{plain[0].modality} ({plain[0].space}), n = {plain[0].n}"
    attacked = with_interval(one(plain, threat_model="whitebox"))
    first = [place, "none", "1", with_interval(one(plain, threat_model="clean")), "–", attacked, "–"]
    main, detectors = [first], []
    for record in records:
        title = record["encoder"]
        own = [row for row in top1 if row.encoder == title]
        forward, gradient = record["forward_passes_per_query"], record["gradient_passes_per_query"]
        cells = [with_interval(one(own, threat_model=model)) for model in ("clean", "replayed", "adaptive")]
        name = title.rpartition("+")[2]
        cost = f"{forward}" + (f" + {gradient} with gradient" if gradient else "")
        main.append([place, name, cost, cells[0], cells[1], f"**{cells[2]}**", decided_by(folder, title)])
        scores = [row for row in caught if row.encoder == title]
        if scores:
            detectors.append(
                [
                    place,
                    name,
                    with_interval(one(scores, metric="flagged", threat_model="clean")),
                    *(
                        f"{one(scores, metric='auroc', threat_model=model).value:.1f}"
                        for model in ("replayed", "adaptive")
                    ),
                    *(
                        with_interval(one(scores, metric="caught_or_right", threat_model=model))
                        for model in ("replayed", "adaptive")
                    ),
                ]
            )
    return main, detectors


def page_part(out: Path) -> str:
    """Both tables, of the modalities that are complete, and what they are made of."""
    folders = [out / modality for modality in SIX if (out / modality / "result.json").is_file()]
    eps = {folder.name: one_eps(folder) for folder in folders}
    about = (
        f"Split test of the built-in world, seed 0, linf "
        f"{', '.join(f'{name} {written}' for name, written in eps.items())}; percent of top-1 answers that are right, "
        "Wilson intervals at 95 %. *None*: the undefended encoder under `bindattack` standard. *Decided by*: which "
        "attacks brought about the wrong answers to the adaptive attacker, the two most frequent."
    )
    missing = [modality for modality in SIX if out / modality not in folders]
    unmeasured = f" Not measured yet: {', '.join(missing)}." if missing else ""
    return "\n\n".join([about + unmeasured, *both_tables(folders)])


def both_tables(folders: Sequence[Path]) -> list[str]:
    parts = [lines_of(folder) for folder in folders]
    detectors = [line for _, lines in parts for line in lines]
    tables = [markdown_table(HEAD, [line for main, _ in parts for line in main])]
    if detectors:
        tables.append("As detectors, the threshold set at 1 % false alarms on 200 samples of the training split:")
        tables.append(markdown_table(CAUGHT, detectors))
    return tables


def lite_part(out: Path) -> str:
    """The tables of `lite` on photographs, or that there are none."""
    folder = out / LITE
    if not (folder / "result.json").is_file():
        return "Not measured yet: `python scripts/defences_table.py --photographs PHOTOGRAPHS`."
    about = f"`lite` on photographs, 1000 classes, linf {one_eps(folder)}; columns as above."
    return "\n\n".join([about, *both_tables([folder])])


def one_eps(folder: Path) -> str:
    """The radius of a run."""
    (eps,) = {row.eps for row in Result.read(folder).rows if row.threat_model != "clean"}
    return eps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "defences-table")
    parser.add_argument("--modality", default=",".join(SIX), help="several separated by commas")
    parser.add_argument("--photographs", type=Path, help="measure lite on these instead")
    parser.add_argument("--defences", default=",".join(DEFENCES), help="several separated by commas")
    parser.add_argument("--read", action="store_true", help="measure nothing")
    parser.add_argument("--no-write", action="store_true", help="print instead of writing the page")
    asked = parser.parse_args()
    if asked.photographs:
        spec, where = EncoderSpec(LITE), str(asked.photographs)
        runs = {LITE: AuditRequest(spec, ("image",), where, limit=asked.samples, eps=(LITE_EPS,), batch_size=16)}
    else:
        runs = {one: AuditRequest(modalities=(one,), limit=asked.samples) for one in asked.modality.split(",")}
    for name, request in () if asked.read else runs.items():
        run_jobs(defences(request, names=tuple(asked.defences.split(","))), asked.out / name)
    parts = {"defences": page_part(asked.out), LITE: lite_part(asked.out)}
    for mark, text in parts.items():
        if asked.no_write:
            print(text)
        else:
            put(PAGE, mark, text)


if __name__ == "__main__":
    main()
