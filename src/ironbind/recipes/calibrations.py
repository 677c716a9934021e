"""Calibrations by name: the paper's (arXiv 2505.11895 v1; v2 by our reading), those of related work, and ours, for
robustness to adaptive attacks.

A recipe whose name ends in `_head` trains a projection head behind the encoder, the one without trains adapters inside
it. All knobs are ours.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ironbind.attacks import PGD
from ironbind.attacks.noise import Noise
from ironbind.calibration import OBJECTIVES, objectives
from ironbind.calibration.objectives import modality_consistency, weighted
from ironbind.core.default_budgets import comparable, comparable_sigma
from ironbind.types import (
    AdapterShape,
    AdversarialTraining,
    Attack,
    Budget,
    CalibrationRecipe,
    InputError,
    Linf,
    Objective,
    Stage,
)

PAPER_OBJECTIVES = ("center_ce", "l2", "infonce")
EPOCHS = 30
STEPS = 2400  # of the optimiser, of BATCH fresh samples each
BATCH = 25  # small: steps count for more than samples (docs/hardening.md)
VALIDATION_ATTACK = PGD(steps=10)  # stronger than the training attack
SHAPE = AdapterShape(rank=8)
FOLDABLE = AdapterShape(
    rank=32, purifier=0, ranks={"stem": 64}, core=True
)  # what can be added to ordinary weights; < 1 % of the built-in encoder, and of every official tower
WHOLE = AdapterShape(rank=0, norms=False, purifier=0, weights=True)


def training_attack(steps: int = 1) -> PGD:
    """FGSM from a random start, 1.25 radii long (Wong et al. 2020, arXiv 2001.03994); of more steps, which together go
    1.4 radii, PGD.
    """
    return PGD(steps=steps, step_size=1.25 if steps == 1 else 1.4 / steps, loss="ce", stop_when_reached=False)


TRAINING_ATTACK = training_attack()


def paper_v1(
    objective: str = "center_ce",
    *,
    distillation: float = 0.0,
    head: str | None = None,
    eps: str = "4/255",
    epochs: int = EPOCHS,
    seed: int = 0,
) -> CalibrationRecipe:
    """A calibration as in the paper: `objective` one of "center_ce", "l2", "infonce", on examples of PGD-10 at `eps`.

    `distillation`: weight of the frozen clean embeddings beside the objective (ours; 0: none, as in the paper): the
    knob between clean and replayed accuracy (docs/heads.md). In spaces where `eps` would mean something else (a
    waveform), the comparable budget of `core.default_budgets` is used. Raises UnknownName.
    """
    return _recipe(objective, _kept(OBJECTIVES[objective], distillation), head, eps, epochs, seed)


def paper_v1_regularised(
    objective: str = "center_ce",
    weight: float = 3.0,
    *,
    distillation: float = 0.0,
    head: str | None = None,
    eps: str = "4/255",
    epochs: int = EPOCHS,
    seed: int = 0,
) -> CalibrationRecipe:
    """`paper_v1` plus `weight` times the modality-consistency regulariser (clean preservation, class and cross-modal
    agreement).
    """
    regularised = weighted((1.0, OBJECTIVES[objective]), (weight, modality_consistency))
    return _recipe(f"{objective}_regularised", _kept(regularised, distillation), head, eps, epochs, seed)


def _kept(objective: Objective, weight: float) -> Objective:
    return weighted((1.0, objective), (weight, objectives.clean_distillation)) if weight else objective


def _recipe(name: str, objective: Objective, head: str | None, eps: str, epochs: int, seed: int) -> CalibrationRecipe:
    crafted_with = PGD(steps=10, stop_when_reached=False)
    budget = Linf(eps)
    stage = Stage(
        objective, crafted_with, budget, {"waveform": comparable(budget, "waveform")}, epochs=epochs, learning_rate=2e-3
    )
    return CalibrationRecipe(name, (stage,), head or "linear", seed)


center_ce = partial(paper_v1, "center_ce")
l2 = partial(paper_v1, "l2")
infonce = partial(paper_v1, "infonce")
center_ce_regularised = partial(paper_v1_regularised, "center_ce")
l2_regularised = partial(paper_v1_regularised, "l2")
infonce_regularised = partial(paper_v1_regularised, "infonce")


# ----------------------------------------------------------------------------------- recipes of adversarial training


@dataclass(frozen=True)
class Phase:
    """A stage of adversarial training without its scale: objective, attack, radius as a multiple of the budget's, share
    of the steps.
    """

    objective: Objective
    aim: str = "truth"
    attack: Attack = TRAINING_ATTACK
    radius: float = 1.0
    share: float = 1.0
    warm_up: float = 0.3


def live(
    name: str,
    *phases: Phase,
    shape: AdapterShape | None = SHAPE,
    head: str | None = None,
    eps: str = "4/255",
    epochs: int | None = None,
    steps: int = STEPS,
    seed: int = 0,
    noise: float = 0.0,
    also: tuple[Budget, ...] = (),
    averaging: float = 0.0,
) -> CalibrationRecipe:
    """A recipe of these phases: adapters of `shape` train, a `head` ("linear", "mlp") where one is named, both where
    both are.

    The phases share `steps` of the optimiser, BATCH samples each, or each makes `epochs` passes over the training
    samples. `noise`: standard deviation of Gaussian noise on all inputs, two fifths of it in a waveform. `also`:
    further budgets, attacked in turn with `eps` (see `Stage.also`). `averaging`: see `AdversarialTraining`. Raises
    InputError.
    """
    if shape is None and head is None:
        raise InputError(f"calibration {name!r} has nothing to train: expected adapters or a head (linear, mlp)")
    budget = Linf(eps)
    sigmas = {"": noise, "waveform": comparable_sigma("waveform", noise)} if noise else {}
    rate = 2e-3 if shape is None else 1e-3 if shape.weights else 5e-3
    stages = tuple(
        Stage(
            phase.objective,
            phase.attack,
            budget,
            {"waveform": comparable(budget, "waveform")},
            also,
            epochs=epochs or 1,
            steps=None if epochs else max(1, round(steps * phase.share)),
            batch_size=BATCH,
            learning_rate=rate,
            schedule="one_cycle",
            trains=(*(("head",) if head else ()), *(shape.kinds if shape else ())),
            adversarial_training=AdversarialTraining(
                VALIDATION_ATTACK, phase.warm_up, phase.radius, phase.aim, noise=sigmas, averaging=averaging
            ),
        )
        for phase in phases
    )
    return CalibrationRecipe(name, stages, head, seed, shape, steps * BATCH)


def hardened(
    name: str = "hardened",
    *,
    distillation: float = 8.0,
    attack_steps: int = 1,
    radius: float = 1.0,
    warm_up: float = 0.3,
    noise: float = 0.0,
    aim: str = "truth",
    **knobs: Any,
) -> CalibrationRecipe:
    """For robustness to adaptive attacks (ours): cross-entropy of adversarial and clean inputs, and `distillation`
    times that of the frozen clean embeddings.

    `noise`: for certificates (docs/certificates.md), all of it under Gaussian noise of this standard deviation, a
    training attack through one draw of it (after Salman et al. 2019, arXiv 1906.04584); with `radius` 0 noise alone
    (Cohen et al. 2019). Its value is then part of the recipe's name.

    A smaller `distillation` gives robustness more room and the old index less. `attack_steps` of the training attack: 1
    is FGSM; `radius`: that of the attack, as a multiple of the budget's; `aim`: see `AdversarialTraining`. Knobs: see
    `live`.
    """
    attack = training_attack(attack_steps)
    phase = Phase(objectives.hardened(distillation), aim, attack, radius=radius, warm_up=warm_up)
    name = f"{name}_noise{noise:g}" if noise and name == "hardened" else name
    return live(name, phase, noise=noise, **knobs)


def hardened_foldable(name: str = "hardened_foldable", **knobs: Any) -> CalibrationRecipe:
    """`hardened` without a purifier, against two steps of PGD; of each weight's update only the core between its own
    singular vectors trains, the widest in a stem (docs/hardening.md). All of it can be folded into the encoder's own
    weights (`ironbind export`), which then cost what the plain ones do; less than 1 % of the built-in encoder each.
    """
    return hardened(name, **{"shape": FOLDABLE, "attack_steps": 2, **knobs})


def hardened_captions(name: str = "hardened_captions", **knobs: Any) -> CalibrationRecipe:
    """`hardened` without labels: the captions of a batch are its classes, to the objective and to the training attack
    (ours).
    """
    return hardened(name, aim="caption", **knobs)


def full(name: str = "full", **knobs: Any) -> CalibrationRecipe:
    """`hardened` with all weights of the tower to train, in a copy: full adversarial fine-tuning, the yardstick."""
    return live(name, Phase(objectives.HARDENED), **{"shape": WHOLE, **knobs})


def tecoa(name: str = "tecoa", **knobs: Any) -> CalibrationRecipe:
    """Cross-entropy of adversarial inputs alone, after TeCoA (Mao et al. 2023, arXiv 2212.07016)."""
    return live(name, Phase(objectives.center_cross_entropy), **knobs)


def fare(name: str = "fare", **knobs: Any) -> CalibrationRecipe:
    """Adversarial embeddings back to the frozen clean ones, without labels, after FARE (Schlarmann et al. 2024, arXiv
    2402.12336).
    """
    return live(name, Phase(weighted((1.0, objectives.l2), (2.0, objectives.clean_distillation)), "clean"), **knobs)


def trades(name: str = "trades", **knobs: Any) -> CalibrationRecipe:
    """Clean cross-entropy and agreement of both answers, after TRADES (Zhang et al. 2019, arXiv 1901.08573)."""
    return live(name, Phase(objectives.TRADES, "clean"), **knobs)


CALM = Phase(objectives.CALM, attack=Noise(draws=1, stop_when_reached=False), radius=0.5, warm_up=0.0)
MARS = (
    Phase(objectives.l2, "clean", radius=0.5, share=0.3),
    Phase(
        weighted((1.0, objectives.infonce), (2.0, objectives.distillation)),
        "clean",
        radius=0.75,
        share=0.3,
        warm_up=0.0,
    ),
    Phase(weighted((1.0, objectives.center_cross_entropy), (3.0, modality_consistency)), share=0.4, warm_up=0.0),
)


def calm(name: str = "calm", **knobs: Any) -> CalibrationRecipe:
    """v2's clean-oriented alignment, our reading: distil the frozen features and calibrate them, on clean and lightly
    perturbed inputs.
    """
    return live(name, CALM, **knobs)


def mars(name: str = "mars", **knobs: Any) -> CalibrationRecipe:
    """v2's multi-phase stabilisation, our reading: radius and objective change from phase to phase, each starting from
    the last.
    """
    return live(name, *MARS, **knobs)


def calmars(name: str = "calmars", **knobs: Any) -> CalibrationRecipe:
    """v2's CALM followed by its MARS, our reading."""
    return live(name, replace(CALM, share=0.25), *(replace(phase, share=0.75 * phase.share) for phase in MARS), **knobs)


BEHIND: dict[str, Any] = {"shape": None, "head": "linear"}
hardened_head = partial(hardened, "hardened_head", **BEHIND)
tecoa_head = partial(tecoa, "tecoa_head", **BEHIND)
fare_head = partial(fare, "fare_head", **BEHIND)
trades_head = partial(trades, "trades_head", **BEHIND)
calm_head = partial(calm, "calm_head", **BEHIND)
mars_head = partial(mars, "mars_head", **BEHIND)
calmars_head = partial(calmars, "calmars_head", **BEHIND)
