"""Can the number be trusted? Tests of the audit itself, run on a few samples with every audit and printed beside its
numbers.

Sources: Carlini et al. 2019 (arXiv 1902.06705), AutoAttack's flags (Croce and Hein 2020), the indicators of attack
failure of Pintor et al. 2022 (arXiv 2106.09947; published definitions only), RobustBench's rules of admission. Codes
C1-C22 are the project's list; thresholds are partly ours. A check never changes a number. C19 is the self-test
(`ironbind selftest`), C23 (corruptions) an audit of its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from ironbind.core.results import UNCHECKED, Check, Row
from ironbind.evaluate.checks import attack_checks, encoder_checks, number_checks
from ironbind.evaluate.checks.check_context import CheckContext, Finding
from ironbind.numerics import ranks
from ironbind.numerics.networks import frozen

__all__ = [
    "CHECKS",
    "CheckContext",
    "Definition",
    "Finding",
    "checks_of",
    "skipped_checks",
    "with_check_codes",
    "run_checks",
    "scope_of",
]


class Definition(NamedTuple):
    """A check: its name in tables, the test (whose docstring says what it asks), when it fails or warns, where the idea
    comes from, which numbers it concerns.

    `about`: "answers" (whatever the encoder says: clean numbers too), "gradients" (every attack on this encoder in this
    space), "attack" or "number" (the attacked numbers of the audit that was checked).
    """

    name: str
    find: Callable[[CheckContext], Finding]
    fails: str = ""
    warns: str = ""
    source: str = "ours"
    about: str = "attack"


CARLINI = "Carlini et al. 2019"
FLAGS = "AutoAttack's flags"
PINTOR = "Pintor et al. 2022"
CONVERGED = f"more than {attack_checks.CONVERGED} points"
BEATEN = f"more than {attack_checks.BEATEN} points that twice the steps leave"

CHECKS: dict[str, Definition] = {
    "C2": Definition("eps 0 equals clean", attack_checks.zero_budget, "any verdict changes", source=CARLINI),
    "C3": Definition(
        "the threat model is complete",
        number_checks.threat_model_is_complete,
        "a part is missing, or clean samples out of bounds",
        source=CARLINI,
        about="number",
    ),
    "C4": Definition(
        "the encoder is deterministic",
        encoder_checks.determinism,
        (
            "embeddings of 5 passes differ by more than 1e-4, a verdict turns, or margins move by 1e-2 when a "
            "gradient is asked for"
        ),
        source=FLAGS,
        about="answers",
    ),
    "C5": Definition(
        "embeddings, not probabilities",
        encoder_checks.embeddings_not_probabilities,
        warns="rows look like probabilities, or their length is off 1 by more than 1e-2",
        source=FLAGS,
        about="gradients",
    ),
    "C6": Definition(
        "gradients reach the input",
        encoder_checks.gradients_reach_the_input,
        "no gradient, not finite, or more than 10 % vanish (margin)",
        "more than 10 % vanish (cross-entropy)",
        f"{FLAGS}; {PINTOR}, I1",
        "gradients",
    ),
    "C6b": Definition(
        "losses do not saturate",
        encoder_checks.losses_do_not_saturate,
        warns="more than 50 % of cross-entropies below 1e-12",
        source=FLAGS,
        about="gradients",
    ),
    "C7": Definition(
        "inference is plain",
        encoder_checks.inference_is_plain,
        warns="a backward pass during inference, or small changes answered off proportion by more than 5 times "
        "(too weakly: unless no half of the noise does less than a tenth of what the whole does)",
        source=FLAGS,
        about="gradients",
    ),
    "C8": Definition(
        "gradients are true",
        encoder_checks.gradients_are_true,
        "there is none",
        "median error against finite differences above 5 %",
        CARLINI,
        "gradients",
    ),
    "C9": Definition(
        "predictions are stable",
        encoder_checks.loss_is_smooth,
        warns="the margin moves by more than 0.1 under noise",
        source=f"{PINTOR}, I2",
        about="gradients",
    ),
    "C10": Definition(
        "examples are real",
        number_checks.examples_are_real,
        "an example leaves budget or bounds, or is not finite",
        "fewer than 50 % stay adversarial when re-encoded",
        CARLINI,
        "number",
    ),
    "C11": Definition(
        "verdicts do not depend on the batch",
        number_checks.verdicts_hold_alone,
        "any of 20 verdicts, clean or attacked, changes",
        "an embedding, or a margin since it was stored, changes by more than 1e-3",
        about="answers",
    ),
    "C12": Definition(
        "the best point is returned",
        attack_checks.best_is_returned,
        "any success on the way that is not returned",
        source=f"{PINTOR}, I3",
    ),
    "C13": Definition(
        "optimisation has finished",
        attack_checks.optimisation_has_finished,
        "twice the steps break more than a quarter of the samples tried",
        f"they take {CONVERGED}",
        f"{PINTOR}, I4; {CARLINI}",
    ),
    "C14": Definition(
        "restarts suffice", attack_checks.restarts_suffice, warns=f"one more takes {CONVERGED}", source=CARLINI
    ),
    "C14b": Definition(
        "the step size suits",
        attack_checks.step_size_suits,
        warns="half or twice of it break a quarter more",
        source=CARLINI,
    ),
    "C15": Definition(
        "many steps beat one", attack_checks.one_step_is_weaker, f"one step takes {BEATEN}", source=CARLINI
    ),
    "C16": Definition(
        "an unbounded attack succeeds",
        attack_checks.unbounded_attack_succeeds,
        "more than 5 % stand",
        source=f"{PINTOR}, I6",
    ),
    "C17": Definition(
        "the attack beats random noise", attack_checks.noise_is_weaker, f"100 draws take {BEATEN}", source=CARLINI
    ),
    "C17b": Definition(
        "the attack beats a black-box search", attack_checks.black_box_is_weaker, f"it takes {BEATEN}", source=FLAGS
    ),
    "C17c": Definition(
        "the attack beats transfer",
        attack_checks.transfer_is_weaker,
        "the undefended twin's examples break more of 24 samples",
        "they break more than one that the attack misses",
        f"{PINTOR}, I5",
    ),
    "C18": Definition(
        "several losses are pursued",
        attack_checks.several_losses,
        warns="the schedule has one loss only",
        source=CARLINI,
    ),
    "C20": Definition(
        "the backbone's examples count",
        attack_checks.twin_was_used,
        "one breaks a sample that counts as standing",
        "none was tried",
        "Tramer et al. 2020",
    ),
    "C21": Definition(
        "the number is reproducible",
        number_checks.number_is_reproducible,
        "a sample has no verdict",
        "a margin is not a number, or a version is unknown",
        CARLINI,
        "number",
    ),
    "C22": Definition(
        "a standard attack suffices",
        encoder_checks.admissible,
        warns="C4, C6 or C7 did not pass",
        source="RobustBench",
        about="gradients",
    ),
    "C1": Definition(
        "parameters unchanged",
        encoder_checks.parameters_unchanged,
        "parameters, buffers or clean embeddings change",
        source=CARLINI,
        about="answers",
    ),  # last: it is about all the others
}


def run_checks(context: CheckContext, scope: str) -> list[Check]:
    """All checks of one audit at one radius, in order of their codes; `scope` names the audit ("audio logmel, infonce,
    adaptive 4/255"). Several ranks run some of them each.
    """
    if len(context.task.centers) < 2:
        return [
            skipped_checks(scope, "there is one class only, so that no answer can be wrong and no attack can succeed")
        ]
    if not context.indices:
        return [skipped_checks(scope, "no sample is correct when clean, so there is nothing to attack")]
    group, own = ranks.current(), {}
    with frozen(context.task.encoder):
        _ = context.weights_before
        for _, code in group.deal(list(CHECKS)):
            own[code] = context.once(CHECKS[code].find)
    findings = {code: finding for share in group.gather(own) for code, finding in share.items()}
    checks = [Check(code, check.name, *findings[code], scope) for code, check in CHECKS.items()]
    return sorted(checks, key=lambda check: int("".join(c for c in check.code if c.isdigit())))


def checks_of(context: CheckContext, scope: str, record: dict[str, Any]) -> list[Check]:
    """`run_checks` with progress; the passes that it costs go into a result's `record`."""
    progress = context.run_context.progress
    progress("checks", 0, 1)
    checks = run_checks(context, scope)
    shares = ranks.current().gather(context.passes)
    record.update({f"check_{kind}_passes": sum(share[kind] for share in shares) for kind in ("gradient", "forward")})
    progress("checks", 1, 1)
    return checks


def skipped_checks(scope: str, why: str = "left out by the caller") -> Check:
    """The entry of an audit that ran no checks."""
    return Check("C1-C22", "attack checks", "skipped", why, scope)


def scope_of(modality: str, space: str, task: str, calibration: str, threat_model: str, eps: str) -> str:
    """What a check is about, in words; `with_check_codes` reads it back. `calibration`: of an encoder behind a
    test-time defence what tables call it, "tiny+ttc".
    """
    return f"{modality} {space} {task}, {calibration}, {threat_model} {eps}"


def with_check_codes(rows: Iterable[Row], checks: Iterable[Check]) -> list[Row]:
    """The rows, each with the codes of the checks that did not pass and that touch it ("C4:fail C13:warn"; "" when all
    passed; UNCHECKED where none was run on this encoder in this space).

    A row of another task inherits what is about the encoder; a row without an attack on this encoder only what is about
    its answers.
    """
    all_checks = list(checks)
    return [replace(row, checks=_codes(row, all_checks)) for row in rows]


def _codes(row: Row, checks: list[Check]) -> str:
    place, audited = f"{row.modality} {row.space} ", f", {row.calibration}, "
    if any(f", {row.encoder}, " in check.scope for check in checks):  # a defended encoder has checks of its own
        audited = f", {row.encoder}, "
    if row.threat_model == "certified":  # a proof is tested by nothing but attacks on it
        own = f"{place}{row.task}{audited}certified {row.attack}"
        tests = [check for check in checks if (check.code, check.scope) == ("C19", own) and check.status != "skipped"]
        failed = {check.code for check in tests if check.status == "fail"}
        return " ".join(f"{code}:fail" for code in failed) if tests else UNCHECKED
    # run_checks is about one calibration in one space; whatever else has that scope (files left out, say) has no code
    # of the table
    place_checks = [
        check for check in checks if check.code in CHECKS and check.scope.startswith(place) and audited in check.scope
    ]
    if not place_checks:
        return UNCHECKED
    own_scope = f"{place}{row.task}{audited}{row.threat_model} "
    attacked = row.threat_model not in ("clean", "replayed", "corrupted")
    statuses: dict[str, str] = {}
    for check in place_checks:
        about = CHECKS[check.code].about
        touches = about == "answers" or (attacked and (about == "gradients" or check.scope.startswith(own_scope)))
        if touches and check.status in ("fail", "warn") and statuses.get(check.code) != "fail":
            statuses[check.code] = check.status
    return " ".join(f"{code}:{status}" for code, status in statuses.items())
