"""The one sentence on top of a report, computed from the rows and from nothing else."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from ironbind.report.certificate_tables import CertificateTable, proven
from ironbind.report.corruption_tables import SEVERITY, Table
from ironbind.report.number_format import norm_name, plural, rounded, word
from ironbind.report.panels import SMALLER_IS_BETTER, UNCALIBRATED, After, Facts, Line, gain, main_eps


class Piece(NamedTuple):
    """A stretch of the sentence; `role` is the threat model whose number it is, "missing" for a warning, "" for plain
    words.
    """

    text: str
    role: str = ""


def verdict(
    facts: Facts, encoder: str, corrupted: Sequence[Table] = (), certified: Sequence[CertificateTable] = ()
) -> list[Piece]:
    """The sentence about one encoder. Averages run over the inputs whose headline epsilon is the common one.

    `corrupted`, `certified`: what was measured under corruptions, and what was proven, of all encoders.
    """
    every = [line for line in facts.headline() if line.panel.encoder == encoder]
    eps = main_eps(every)
    lines = [line for line in every if line.eps == eps]
    apart = [line for line in every if line.eps and line.eps != eps]
    of_encoder = [table for table in corrupted if table.input.encoder == encoder]
    transferred = any(line.attacked and line.attacked.threat_model == "transfer" for line in lines)
    after = _transferred(facts, lines) if transferred else _calibrations(lines)
    sentence = [*_under_attack(lines, eps), *after, Piece("."), *_under_corruption(of_encoder)]
    sentence += _proven([table for table in certified if table.input.encoder == encoder])
    if apart:
        listed = ", ".join(f"{line.panel.modality} in {line.panel.space} space at {line.eps}" for line in apart)
        where = "this average" if len(lines) > 1 else "this sentence"
        sentence.append(Piece(f" Not in {where}, because the budget differs: {listed}."))
    return sentence


def _transferred(facts: Facts, lines: Sequence[Line]) -> list[Piece]:
    """What calibrated encoders keep against the same surrogate; there is no replay and no adaptive attack to tell
    apart.
    """
    pieces = []
    for name in dict.fromkeys(after.calibration for line in lines for after in line.after):
        cells = [facts.cell(line.panel, line.task, line.metric, "transfer", name, line.eps) for line in lines]
        values = [row.value for row in cells if row]
        if len(values) == len(lines):
            pieces += [Piece(f"; with calibration {name} to "), Piece(f"{rounded(fmean(values))} %", "transfer")]
    return pieces


def _under_corruption(tables: Sequence[Table]) -> list[Piece]:
    """What corruptions leave of the uncalibrated encoder, on average over inputs."""
    severe = {
        table.input: table
        for table in reversed(tables)
        if table.norm == SEVERITY and table.metric not in SMALLER_IS_BETTER
    }
    means = [mean for mean in (table.mean(UNCALIBRATED) for table in severe.values()) if mean is not None]
    if not means:
        return []
    over = "" if len(means) == 1 else f", on average over {plural(len(means), 'input')}"
    return [
        Piece(" Under common corruptions, where nobody attacks, "),
        Piece(f"{rounded(fmean(means))} %", "corrupted"),
        Piece(f" remain{over}."),
    ]


def _proven(certified: Sequence[CertificateTable]) -> list[Piece]:
    """What is certified of each input, the first norm of it."""
    first = {table.input: table for table in reversed(certified)}
    pieces = []
    for table in first.values():
        for row in proven(table):
            where = f"{row.modality} within {norm_name(row.norm)} {row.eps}"
            calibrated = "" if row.calibration == UNCALIBRATED else f" with calibration {row.calibration}"
            pieces += [
                Piece(f" Proven for {where}{calibrated}: "),
                Piece(f"{rounded(row.value)} %", "certified"),
                Piece("."),
            ]
    return pieces


def plain(sentence: Sequence[Piece]) -> str:
    """The sentence as text."""
    return "".join(piece.text for piece in sentence)


def _under_attack(lines: Sequence[Line], eps: str) -> list[Piece]:
    score = _score(lines)
    both = [(line.clean.value, line.attacked.value) for line in lines if line.clean and line.attacked]
    if both:
        used = [line for line in lines if line.clean and line.attacked]
        clean, attacked = fmean(value for value, _ in both), fmean(value for _, value in both)
        norms = sorted({line.panel.norm for line in used})
        norm = f" ({norm_name(norms[0])})" if len(norms) == 1 and norms[0] != "linf" else ""
        moves = "falls" if attacked < clean else "stays" if attacked == clean else "rises"
        course = (
            [Piece(f"{score} {moves} from "), Piece(rounded(clean), "clean"), Piece(" to ")]
            if attacked != clean
            else [Piece(f"{score} stays at ")]
        )
        role = used[0].attacked.threat_model if used[0].attacked else "whitebox"
        return [
            Piece(f"{_under(role)} at {eps}{norm} "),
            *course,
            Piece(f"{rounded(attacked)} %", role),
            Piece(_over(used)),
        ]
    attacked_only = [line for line in lines if line.attacked]
    if attacked_only:
        mean = fmean(line.attacked.value for line in attacked_only if line.attacked)
        role = attacked_only[0].attacked.threat_model if attacked_only[0].attacked else "whitebox"
        return [
            Piece(f"{_under(role)} at {eps} {score} is "),
            Piece(f"{rounded(mean)} %", role),
            Piece(_over(attacked_only) + ", "),
            Piece("clean accuracy: not measured", "missing"),
        ]
    clean_only = [line for line in lines if line.clean]
    if clean_only:
        mean = fmean(line.clean.value for line in clean_only if line.clean)
        what = "no attack on the uncalibrated encoder" if any(line.after for line in lines) else "no attack"
        text = f"Without an attack {score} is "
        return [
            Piece(text),
            Piece(f"{rounded(mean)} %", "clean"),
            Piece(_over(clean_only) + "; "),
            Piece(f"{what} was measured", "missing"),
        ]
    return [Piece("Nothing was measured", "missing")]


def _under(role: str) -> str:
    return "Against examples crafted on another encoder" if role == "transfer" else "Under attack"


def _calibrations(lines: Sequence[Line]) -> list[Piece]:
    names = list(dict.fromkeys(after.calibration for line in lines for after in line.after))
    if not names:
        return [Piece("; no calibration was tried")]
    summaries = {name: _summary(name, lines) for name in names}
    shown = names
    # a sentence holds two: the best under the adaptive attack, and the one of the others that promised most
    if len(names) > 2:
        best = max(names, key=lambda name: (summaries[name].adaptive is not None, summaries[name].adaptive or 0.0))
        shown = [best, max((name for name in names if name != best), key=lambda name: summaries[name].promised)]
    pieces: list[Piece] = []
    for position, name in enumerate(shown):
        pieces += [
            Piece("; "),
            *_sentence_of(
                summaries[name], first=position == 0, best_of=len(names) if len(names) > 2 and position == 0 else 0
            ),
        ]
    return pieces


class _Summary(NamedTuple):
    name: str
    replayed: float | None
    adaptive: float | None
    used: int
    lines: int

    @property
    def promised(self) -> float:
        """Points that only seem to be won."""
        return 0.0 if self.replayed is None or self.adaptive is None else self.replayed - self.adaptive


def _summary(name: str, lines: Sequence[Line]) -> _Summary:
    """Mean gains of one calibration over the lines that have both protocols, or over those that have either."""
    pairs = [(after, line) for line in lines for after in line.after if after.calibration == name and line.attacked]

    def gains(of: list[tuple[After, Line]], protocol: str) -> list[float]:
        gains_of_lines = [gain(getattr(after, protocol), line.attacked) for after, line in of]
        return [points for points in gains_of_lines if points is not None]

    full = [(after, line) for after, line in pairs if after.replayed and after.adaptive]
    chosen = full or pairs
    replayed, adaptive = gains(chosen, "replayed"), gains(chosen, "adaptive")
    used = len(full) or max(len(replayed), len(adaptive))
    return _Summary(
        name, fmean(replayed) if replayed else None, fmean(adaptive) if adaptive else None, used, len(lines)
    )


def _sentence_of(summary: _Summary, first: bool, best_of: int) -> list[Piece]:
    noun = "defence" if summary.name.startswith("+") else "calibration"
    subject = (
        f"the best of {word(best_of)} {noun}s, {summary.name},"
        if best_of
        else f"{noun} {summary.name}"
        if first
        else summary.name
    )
    if summary.replayed is None and summary.adaptive is None:
        return [Piece(f"{subject} "), Piece("was not measured under attack", "missing")]
    where = "" if summary.used == summary.lines else f" on {word(summary.used)} of {word(summary.lines)} inputs"
    if summary.replayed is None:
        return [
            Piece(f"{subject} "),
            Piece(_gives(summary.adaptive), "adaptive"),
            Piece(f" against an attacker who knows it{where} ("),
            Piece("replayed: not measured", "missing"),
            Piece(")"),
        ]
    naive = " against an attacker who does not know it" if first else " against the first attacker"
    if summary.adaptive is None:
        return [
            Piece(f"{subject} "),
            Piece(_gives(summary.replayed), "replayed"),
            Piece(f"{naive}{where}; against one who does: "),
            Piece("not measured (adaptive)", "missing"),
        ]
    knowing = " against one who does" if first else " against the second"
    second = _gives(summary.adaptive, short=summary.replayed > 0 and summary.adaptive > 0)
    return [
        Piece(f"{subject} "),
        Piece(_gives(summary.replayed), "replayed"),
        Piece(f"{naive}{where}, and "),
        Piece(second, "adaptive"),
        Piece(knowing),
    ]


def _gives(points: float | None, short: bool = False) -> str:
    assert points is not None
    if abs(points) < 0.05:
        return "gives back nothing"
    amount = rounded(points)
    unit = "point" if amount == "1" else "points"
    if points < 0:
        return f"loses a further {amount} {unit}"
    return f"{amount} {unit}" if short else f"gives back {amount} {unit}"


def _over(lines: Sequence[Line]) -> str:
    modalities = list(dict.fromkeys(line.panel.modality for line in lines))
    if len(lines) == 1:
        return f" on {lines[0].panel.modality}"
    if len(modalities) == len(lines):
        return f" on average over {plural(len(lines), 'modality', 'modalities')}"
    return f" on average over {plural(len(lines), 'input')} of {plural(len(modalities), 'modality', 'modalities')}"


def _score(lines: Sequence[Line]) -> str:
    names = {(line.task, line.metric) for line in lines}
    if all(task == "zero_shot" for task, _ in names):
        metrics = {metric for _, metric in names}
        return "top-1 accuracy" if metrics == {"top1"} else "zero-shot accuracy"
    return "the score" if len(names) > 1 else " ".join(next(iter(names))[::-1])
