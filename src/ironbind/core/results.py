"""The result of a run: table rows, the record behind them, gallery items. JSON and CSV in and out, without torch."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from ironbind.core.errors import InputError, writing
from ironbind.core.tables.csv_text import csv_text

COLUMNS = (
    "encoder", "calibration", "modality", "space", "task", "metric", "attack", "norm", "eps", "threat_model",
    "value", "ci_low", "ci_high", "n", "checks",
)  # fmt: skip

UNCHECKED = "unchecked"
"""The value of `Row.checks` where no check was run: it is no pass."""
UNRECORDED = "unrecorded"
"""... and where a result of an older version does not say which checks touch which number."""

THREAT_MODELS = {
    "clean": "no attack",
    "whitebox": "white-box attack on the uncalibrated encoder",
    "replayed": (
        "examples crafted on the uncalibrated encoder, run through the calibrated one (of a test-time defence: on the "
        "undefended one, through the defended one): an attacker who does not know of the calibration"
    ),
    "adaptive": (
        "white-box attack through everything that runs at inference, calibration or defence included: an attacker who "
        "knows"
    ),
    "transfer": "examples crafted on another encoder: an attacker who cannot look into this one",
    "corrupted": (
        "no adversary: common corruptions at a severity, or random noise within a budget, drawn without a look "
        "at the encoder"
    ),
    "certified": (
        "proof rather than attack: what a smoothed encoder answers rightly whatever anybody adds within eps; "
        "each certificate holds with its stated confidence, abstention counts as failure"
    ),
}

METRICS = {
    "top1": "share of samples whose true class has the highest score (%)",
    "top5": "share of samples whose true class is among the five highest (%)",
    "mean_rank": "mean rank of the true class or item, 1 = best",
    "R@1": "share of queries whose own item is ranked first (%)",
    "R@5": "share of queries whose own item is among the first five (%)",
    "R@10": "share of queries whose own item is among the first ten (%)",
    "quartile1_norm": (
        "norm of the nearest example that a quarter of the samples fall to, in the unit that eps is written in"
    ),
    "median_norm": (
        "norm of the nearest example that half of the samples fall to, in the unit that eps is written in (eps "
        "16/255: 1.3 means 1.3/255)"
    ),
    "quartile3_norm": (
        "norm of the nearest example that three quarters of the samples fall to, in the unit that eps is written in"
    ),
    "cosine": "mean cosine of the calibrated to the original embedding of the same unperturbed input, 1 = unchanged",
    "resists": "share of samples that withstand a chosen goal: not taken for their target (illusion), or the first hit "
    "of no more than a tenth of "
    "the queries that the attacker did not know (hub) (%)",
    **{
        f"certified_{metric}": f"share of samples that are proven to keep their {what} under noise within eps (%)"
        for metric, what in (
            ("top1", "true class first"),
            ("top5", "true class among the five highest"),
            ("R@1", "own item first"),
            ("R@5", "own item among the first five"),
            ("R@10", "own item among the first ten"),
        )
    },
    "caught_or_right": (
        "share of samples that a detector flags, at a threshold of 1 % false alarms, or that are answered right (%)"
    ),
    "flagged": "share of samples that a detector flags at that threshold; of clean ones, the false alarms (%)",
    "auroc": "area under the ROC curve of a detector, clean against attacked samples, 50 = chance (%)",
}


INDEX = "index:"
"""Prefix of tasks that search an index of the original encoder's embeddings (see `evaluate.index_compatibility`)."""


@dataclass(frozen=True)
class Row:
    """One number of the table.

    `value`, `ci_low`, `ci_high`: percent (0-100) for shares, a rank for `mean_rank`, a norm for `median_norm`; the
    interval is Wilson's at 95 % (for `mean_rank` and `cosine` a normal one, for norms one of order statistics).
    `encoder`: its name, and those of test-time defences around it ("tiny+ttc"). `calibration`: "none" or the recipe's
    name. `task`: "zero_shot", "retrieval:audio->text" (query -> gallery; the audited modality is the perturbed side),
    "index:audio->text" (a calibrated query in a gallery of the original encoder's), "illusion:audio->image" (a
    perturbed sound is to be taken for a chosen image), "hub:text->image" (a perturbed image is to answer all text
    queries), "caught:zero_shot" (the detector of a test-time defence may refuse an input). `eps` as written ("4/255"),
    "0" for clean rows, whose `attack` and `norm` are "none"; a corruption is the `attack` of its rows, their `norm`
    "severity", their `eps` "1" to "5"; of certified rows the `attack` is the certifier, `eps` "0" what is certified at
    all.
    `threat_model`: a key of THREAT_MODELS. `checks`: those that did not pass and that touch this number ("C4:fail
    C13:warn"), "" when all passed, UNCHECKED where none was run.
    """

    encoder: str
    calibration: str
    modality: str
    space: str
    task: str
    metric: str
    attack: str
    norm: str
    eps: str
    threat_model: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    checks: str = ""


_without_checks = attrgetter(*(field.name for field in fields(Row) if field.name != "checks"))
"""What makes two rows the same number."""


def beside_undefended(rows: Iterable[Row]) -> list[Row]:
    """The rows, a test-time defence told as what was added to the encoder, which is how readers compare: of "tiny+ttc"
    beside "tiny" the encoder is "tiny" and the calibration "+ttc" ("hardened+ttc" of a calibrated encoder). Where the
    undefended encoder has no rows, they stay as they are.
    """
    rows = list(rows)
    names = {row.encoder for row in rows}
    told = []
    for row in rows:
        below, plus, defences = row.encoder, "", ""
        while below not in names - {row.encoder} and "+" in below:
            below, plus, last = below.rpartition("+")
            defences = f"{last}+{defences}" if defences else last
        if not plus or below not in names:
            told.append(row)
        else:
            calibrated = "" if row.calibration == "none" else row.calibration
            told.append(replace(row, encoder=below, calibration=f"{calibrated}+{defences}"))
    return told


_SINGLE = re.compile(r"(fgsm|pgd|mi|apgd|crossmaxim|race|square|noise)[\d-]")
"""How the names of single attacks begin, in `Row.attack`."""


def quick_look(*rows: "Row | None") -> bool:
    """Whether one of these numbers comes from single attacks alone rather than from the ensemble: tables then say
    "quick look", as it overstates what an encoder withstands (docs/attacks.md).
    """
    return any(
        row is not None
        and row.threat_model in ("whitebox", "replayed", "adaptive")
        and all(_SINGLE.match(part) for part in row.attack.split("+"))
        for row in rows
    )


@dataclass(frozen=True)
class Check:
    """The result of one evaluation check (C1-C23): `status` is pass, warn, fail or skipped; `detail` the measured
    fact.
    """

    code: str
    name: str
    status: str
    detail: str
    scope: str = ""


@dataclass(frozen=True)
class ThreatModelRecord:
    """The threat model in full (check C3), which "4/255" alone does not give: one per audited modality x space x task x
    attack.
    """

    modality: str
    space: str
    unit: str
    bounds: tuple[float | None, float | None]
    norm: str
    eps: tuple[str, ...]
    radii: tuple[float, ...]
    meaning: tuple[str, ...]  # one phrase per eps: what that radius is to a person
    goal: str
    attack: str  # full repr of the attack's knobs
    knowledge: str
    input_shape: tuple[int, ...]
    normalisation: str = "inside the encoder"


@dataclass(frozen=True)
class CalibrationRecord:
    """One calibration of one modality (or of the space an adversary attacks it in)."""

    name: str
    modality: str
    space: str
    head: str
    objective: str
    attack: str
    eps: str
    trainable: int  # parameters trained
    encoder_parameters: int  # parameters of the whole frozen encoder
    train_samples: int
    epochs: int
    craft_seconds: float  # process CPU seconds of crafting adversarial examples
    fit_seconds: float  # process CPU seconds of fitting the head
    first_loss: float
    last_loss: float
    parts: str = "head"  # what trained: some of head, low_rank, norms, purifier, joined by "+"
    tower_parameters: int = 0  # of the modules that embed this modality; 0: not counted
    samples_seen: int = 0  # over all epochs and steps
    steps: int = 0  # of the optimiser, where examples were crafted at every step
    best_step: int = 0  # the one whose state was kept
    data_seconds: float = 0.0  # CPU seconds that decoding took, in whichever process
    curve: tuple[
        tuple[int, float, float], ...
    ] = ()  # (step, clean %, adaptive %) on samples that are neither trained on nor reported
    ranks: int = 1  # processes that trained it together (of the last start, where a killed run was continued)
    backend: str = ""  # of torch.distributed, which carried their messages

    def __post_init__(self) -> None:
        object.__setattr__(self, "curve", tuple(tuple(point) for point in self.curve))  # JSON knows lists only

    @property
    def cpu_seconds(self) -> float:
        """All that the calibration cost: crafting, fitting, decoding."""
        return self.craft_seconds + self.fit_seconds + self.data_seconds


@dataclass(frozen=True)
class Prediction:
    """A class and its score (cosine similarity to its nearest center)."""

    label: str
    score: float


@dataclass(frozen=True)
class GalleryItem:
    """One sample shown on the page: clean, adversarial, and the encoder's answers to each.

    The tensors live in `gallery.npz` beside the result under `<key>/clean` and `<key>/adversarial`, in the attacked
    space (image `3 h w`, video `t 3 h w`, thermal `1 h w`, event `2 h w` (off, on), audio waveform `1 n` or log-mel `1
    bins frames`, point `n 3`). Audio also stores `<key>/waveform` (`n`, clean, at `sample_rate`), and in waveform space
    `<key>/waveform_adversarial`.
    """

    key: str
    modality: str
    space: str
    sample: str
    truth: str
    norm: str
    eps: str
    clean: tuple[Prediction, ...]  # best first
    adversarial: tuple[Prediction, ...]
    calibrated: str = "none"  # calibration whose answer to the replayed example is `replayed`
    replayed: tuple[Prediction, ...] = ()
    sample_rate: int = 0


_ADDED_UP = ("wall_seconds", "cpu_seconds", "padding_rows", "check_gradient_passes", "check_forward_passes")


class ExampleSource(Protocol):
    """Where the adversarial examples behind the verdicts of a result come from (see `evaluate.verdict_examples`)."""

    def examples(self, rows: Sequence[Row], samples: Sequence[str] | None, **where: Any) -> list[Any]: ...


@dataclass(repr=False)
class Result:
    """One run. `record` holds free-form facts: command, date, seed, versions, machine, data fingerprint, weights hash,
    seconds, passes. `source` of examples: of a result that was computed here; it is not written to files.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    threat_models: list[ThreatModelRecord] = field(default_factory=list)
    calibrations: list[CalibrationRecord] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    gallery: list[GalleryItem] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    source: ExampleSource | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """The numbers of the first metric, one a line, and the checks that did not pass."""
        lines = [
            f"  {row.modality} {row.space} {row.task} {row.calibration}: {row.metric} {row.value:.1f} "
            f"[{row.ci_low:.1f}, {row.ci_high:.1f}] {row.threat_model} {row.eps} {row.attack} n={row.n}"
            for row in self.rows
            if row.metric in ("top1", "R@1", "resists")
        ]
        shown = lines if len(lines) <= 12 else [*lines[:12], f"  ... {len(lines) - 12} more"]
        alarms = ", ".join(f"{check.code} {check.status}" for check in self.checks if check.status in ("warn", "fail"))
        head = f"Result({self.name!r}, {len(self.rows)} rows, checks that did not pass: {alarms or 'none'})"
        return "\n".join([head, *shown])

    def example(self, sample: str, **where: Any) -> Any:
        """The adversarial example behind one verdict, bit for bit: an `evaluate.verdict_examples.Example` with the
        tensor in the attacked space, its clean twin and the verdict.

        `where`: columns of the table that pick the number, as many as it takes: `result.example("0007", eps="4/255",
        threat_model="adaptive")`. Of a result that was read from files: `ironbind.open_run(folder).example(...)`.
        Raises InputError where it cannot be had.
        """
        return self.examples([sample], **where)[0]

    def examples(self, samples: Sequence[str] | None = None, **where: Any) -> list[Any]:
        """Those of several samples (None: all that have a verdict there), crafted together (see `example`)."""
        if self.source is None:
            raise InputError(
                f"result {self.name!r} was read from files, which hold no examples; expected "
                "ironbind.open_run(folder).example(...)"
            )
        return self.source.examples(self.rows, samples, **where)

    def select(self, **wanted: Any) -> list[Row]:
        """The rows whose columns equal `wanted`; a tuple or list means "one of"."""

        def fits(row: Row, column: str, value: Any) -> bool:
            cell = getattr(row, column)
            return cell in value if isinstance(value, (tuple, list, set)) else cell == value

        return [row for row in self.rows if all(fits(row, column, value) for column, value in wanted.items())]

    def value(self, **wanted: Any) -> float:
        """The value of the single row that fits. Raises LookupError when none or several do."""
        rows = self.select(**wanted)
        if len(rows) != 1:
            raise LookupError(f"{len(rows)} rows fit {wanted}")
        return rows[0].value

    def absorb(self, part: "Result") -> None:
        """Adds the results of another audit.

        Rows that are here already, such as a backbone's own beside each of its calibrations, are not repeated; of two
        that differ only in their checks, the one that was checked stays. Of threat models that differ only in what the
        attacker knows, the longest stays. A check of the data is kept once. Seconds and the passes of
        checks add up; other facts of the record are the part's.
        """
        rows: dict[tuple[Any, ...], Row] = {}
        for row in [*self.rows, *part.rows]:
            bare = _without_checks(row)
            if bare not in rows or rows[bare].checks == UNCHECKED:
                rows[bare] = row
        self.rows = list(rows.values())
        by_threat_model = {replace(record, knowledge=""): record for record in self.threat_models}
        for record in part.threat_models:
            without_knowledge = replace(record, knowledge="")
            by_threat_model[without_knowledge] = max(
                by_threat_model.get(without_knowledge, record), record, key=lambda record: len(record.knowledge)
            )
        self.threat_models = list(by_threat_model.values())
        self.calibrations += part.calibrations
        self.checks += [check for check in part.checks if check.code != "data" or check not in self.checks]
        self.gallery += part.gallery
        for key, value in part.record.items():
            self.record[key] = round(self.record.get(key, 0) + value, 2) if key in _ADDED_UP else value

    def to_json(self) -> str:
        """The whole result; `from_json` reads it back unchanged."""
        content = asdict(replace(self, source=None))
        del content["source"]
        return json.dumps(content, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        raw = json.loads(text)
        return cls(
            name=raw["name"],
            rows=[Row(**{"checks": UNRECORDED, **row}) for row in raw["rows"]],
            threat_models=[_build(ThreatModelRecord, record) for record in raw["threat_models"]],
            calibrations=[CalibrationRecord(**record) for record in raw["calibrations"]],
            checks=[Check(**check) for check in raw["checks"]],
            gallery=[_gallery_item(item) for item in raw["gallery"]],
            record=raw["record"],
        )

    def write(self, folder: Path) -> None:
        """Writes `result.json` and `table.csv` into `folder`, each atomically (a killed run leaves the old file or the
        new one).
        """
        write_atomically(folder / "result.json", self.to_json())
        write_atomically(folder / "table.csv", table_csv(self.rows))

    @classmethod
    def read(cls, folder: Path) -> "Result":
        """Reads `folder/result.json`. Raises InputError naming the file when it is missing or not a result."""
        path = Path(folder) / "result.json"
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} does not exist; expected the folder of a finished run") from None
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{path} is not a result of this version of ironbind ({error})") from error


def lost_rows(before: Result, after: Result) -> list[Row]:
    """Numbers of one result that the other does not hold, whatever their values are."""

    def place(row: Row) -> Row:
        return replace(row, value=0.0, ci_low=0.0, ci_high=0.0, checks="")

    places = {place(row) for row in after.rows}
    return [row for row in before.rows if place(row) not in places]


def _build(kind: type, raw: dict[str, Any]) -> Any:
    return kind(
        **{
            column.name: tuple(raw[column.name]) if isinstance(raw[column.name], list) else raw[column.name]
            for column in fields(kind)
        }
    )


def _gallery_item(raw: dict[str, Any]) -> GalleryItem:
    lists = {
        key: tuple(Prediction(**prediction) for prediction in raw[key]) for key in ("clean", "adversarial", "replayed")
    }
    return GalleryItem(**{**raw, **lists})


def table_csv(rows: Iterable[Row]) -> str:
    """The rows as CSV text with the header COLUMNS; numbers with 4 decimals."""
    return csv_text(COLUMNS, (row_cells(row) for row in rows))


def row_cells(row: Row) -> list[Any]:
    """The cells of a row in the order of COLUMNS, numbers with 4 decimals."""
    cells = (getattr(row, column) for column in COLUMNS)
    return [f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes through a temporary file in the same folder, which is made where it is missing, and renames it. Text is
    UTF-8; what UTF-8 cannot hold (a byte of a file name that is no text) is written as an escape.

    Raises WriteError naming `path` where there is no room, permission or folder; the file of before is then still
    there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
