"""The rows of a table, arranged for reading: one panel per attacked input, one headline line per panel. Pure
arithmetic, no layout.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ironbind.core.epsilon import Epsilon, ascending
from ironbind.core.results import INDEX, METRICS, CalibrationRecord, Row, beside_undefended

UNCALIBRATED = "none"
MAIN_EPS = "4/255"
APART = ("corrupted", "certified")
"""Threat models without an attack, which have tables of their own."""
SMALLER_IS_BETTER = frozenset({"mean_rank"})


@dataclass(frozen=True)
class Panel:
    """What one curve is drawn for: an encoder's modality, entered in a space, attacked under a norm ("none" when
    nothing was attacked).
    """

    encoder: str
    modality: str
    space: str
    norm: str


@dataclass(frozen=True)
class After:
    """One calibration at one epsilon: the rows that exist, None where nothing was measured."""

    calibration: str
    clean: Row | None
    replayed: Row | None
    adaptive: Row | None


@dataclass(frozen=True)
class Line:
    """One line of the headline table: a panel at its headline epsilon ("" when nothing was attacked)."""

    panel: Panel
    task: str
    metric: str
    eps: str
    clean: Row | None
    attacked: Row | None
    after: tuple[After, ...]

    @property
    def n(self) -> int:
        """Samples behind the line (the smallest number, should its cells differ)."""
        cells = [
            self.clean,
            self.attacked,
            *(cell for after in self.after for cell in (after.clean, after.replayed, after.adaptive)),
        ]
        return min((cell.n for cell in cells if cell), default=0)


def gain(after: Row | None, before: Row | None) -> float | None:
    """Points won from `before` to `after`; None unless both were measured."""
    return None if after is None or before is None else after.value - before.value


class Facts:
    """Rows of one or several runs, indexed by what a reader asks for. Those that no adversary had a hand in are left to
    `report.corruption_tables`, `report.certificate_tables` and `core.index_results`."""

    def __init__(self, rows: Iterable[Row], calibrations: Iterable[CalibrationRecord] = ()) -> None:
        told = beside_undefended(rows)  # a test-time defence is shown beside the encoder that it is put around
        self.rows = tuple(row for row in told if row.threat_model not in APART and not row.task.startswith(INDEX))
        # one head may be trained in several spaces: "logmel+waveform" at "4/255+0.8/255"
        self._calibrated_at = {
            (record.modality, space): eps
            for record in calibrations
            for space, eps in zip(record.space.split("+"), record.eps.split("+"), strict=False)
        }
        self._cells: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            self._cells.setdefault(_place(row), []).append(row)
        attacked = {(row.encoder, row.modality, row.space) for row in self.rows if row.threat_model != "clean"}
        self.panels = tuple(
            dict.fromkeys(
                Panel(row.encoder, row.modality, row.space, row.norm)
                for row in self.rows
                if row.threat_model != "clean" or (row.encoder, row.modality, row.space) not in attacked
            )
        )
        self.encoders = tuple(dict.fromkeys(row.encoder for row in self.rows))
        self._inputs: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            self._inputs.setdefault((row.encoder, row.modality, row.space), []).append(row)

    def of(self, panel: Panel) -> list[Row]:
        """The panel's rows, the clean ones of its input included."""
        rows = self._inputs.get((panel.encoder, panel.modality, panel.space), ())
        return [row for row in rows if row.norm in (panel.norm, "none")]

    def tasks(self, panel: Panel) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.task for row in self.of(panel)))

    def metrics(self, panel: Panel, task: str) -> tuple[str, ...]:
        """The metrics of a task, in the order of METRICS, unknown ones last."""
        present = dict.fromkeys(row.metric for row in self.of(panel) if row.task == task)
        return (
            *(metric for metric in METRICS if metric in present),
            *(metric for metric in present if metric not in METRICS),
        )

    def calibrations(self, panel: Panel) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.calibration for row in self.of(panel) if row.calibration != UNCALIBRATED))

    def epsilons(self, panel: Panel) -> tuple[str, ...]:
        """The epsilons that the panel was attacked at, ascending."""
        return tuple(ascending({row.eps for row in self.of(panel) if row.threat_model != "clean"}))

    def headline_eps(self, panel: Panel) -> str:
        """4/255 where it was measured, else the epsilon that the panel was calibrated at, else its largest; "" without
        an attack.
        """
        epsilons = self.epsilons(panel)
        if MAIN_EPS in epsilons:
            return MAIN_EPS
        calibrated = self._calibrated_at.get((panel.modality, panel.space), "")
        return calibrated if calibrated in epsilons else epsilons[-1] if epsilons else ""

    def attack(self, panel: Panel) -> str:
        """The threat model of the uncalibrated encoder's attacked number: "whitebox", or "transfer" where nobody looked
        into the encoder.
        """
        models = {row.threat_model for row in self.of(panel)}
        return "transfer" if "transfer" in models and "whitebox" not in models else "whitebox"

    def cell(
        self, panel: Panel, task: str, metric: str, threat_model: str, calibration: str = UNCALIBRATED, eps: str = ""
    ) -> Row | None:
        """One number, or None. Where several attacks were run at this epsilon, the one that hurt most."""
        if threat_model == "clean":
            rows = [
                row
                for row in self._cells.get(
                    (panel.encoder, panel.modality, panel.space, calibration, task, metric, "clean"), ()
                )
                if row.norm in (panel.norm, "none")
            ]
        else:
            place = (
                panel.encoder,
                panel.modality,
                panel.space,
                calibration,
                task,
                metric,
                threat_model,
                panel.norm,
                eps,
            )
            rows = self._cells.get(place, [])
        worst = max if metric in SMALLER_IS_BETTER else min
        return worst(rows, key=lambda row: row.value) if rows else None

    def line(self, panel: Panel, task: str, metric: str) -> Line:
        """Clean, attacked, and every calibration's three numbers at the panel's headline epsilon."""
        eps = self.headline_eps(panel)
        after = tuple(
            After(
                name,
                self.cell(panel, task, metric, "clean", name),
                self.cell(panel, task, metric, "replayed", name, eps),
                self.cell(panel, task, metric, "adaptive", name, eps),
            )
            for name in self.calibrations(panel)
        )
        after = tuple(
            calibrated for calibrated in after if calibrated.clean or calibrated.replayed or calibrated.adaptive
        )
        attacked = self.cell(panel, task, metric, self.attack(panel), eps=eps)
        return Line(panel, task, metric, eps, self.cell(panel, task, metric, "clean"), attacked, after)

    def headline(self) -> list[Line]:
        """One line per panel: zero-shot top-1, or the panel's first task and metric where there is no zero-shot."""
        lines = []
        for panel in self.panels:
            task = "zero_shot" if "zero_shot" in self.tasks(panel) else self.tasks(panel)[0]
            lines.append(self.line(panel, task, self.metrics(panel, task)[0]))
        return lines

    def label(self, panel: Panel) -> str:
        """The shortest name that tells a panel from its siblings: "audio (waveform)", with the encoder and norm where
        those differ.
        """
        norms = {
            other.norm
            for other in self.panels
            if (other.encoder, other.modality, other.space) == (panel.encoder, panel.modality, panel.space)
        }
        inside = panel.space + (f", {panel.norm}" if len(norms) > 1 else "")
        outside = f"{panel.encoder}: " if len(self.encoders) > 1 else ""
        return f"{outside}{panel.modality} ({inside})"


def main_eps(lines: Sequence[Line]) -> str:
    """The epsilon that a sentence about all lines should name: 4/255 if any line has it, else the most common one, else
    "".
    """
    counted = Counter(line.eps for line in lines if line.eps)
    if MAIN_EPS in counted:
        return MAIN_EPS
    return max(counted, key=lambda eps: (counted[eps], Epsilon.from_table(eps).value), default="")


def _place(row: Row) -> tuple[str, ...]:
    common = (row.encoder, row.modality, row.space, row.calibration, row.task, row.metric, row.threat_model)
    return common if row.threat_model == "clean" else (*common, row.norm, row.eps)
