"""The paper's calibrations (arXiv 2505.11895 v1) as recipes: one head per modality, trained on adversarial examples alone. Knobs are ours."""

from functools import partial

from ironbind.attacks import PGD
from ironbind.calibration import OBJECTIVES
from ironbind.calibration.objectives import modality_consistency, weighted
from ironbind.recipes.budgets import comparable
from ironbind.types import CalibrationRecipe, Linf, Objective, Stage

PAPER_OBJECTIVES = ("center_ce", "l2", "infonce")
EPOCHS = 30


def paper_v1(objective: str = "center_ce", *, head: str = "linear", eps: str = "4/255", epochs: int = EPOCHS, seed: int = 0) -> CalibrationRecipe:
    """A calibration as in the paper: `objective` one of "center_ce", "l2", "infonce", on examples of PGD-10 at `eps`.

    In spaces where `eps` would mean something else (a waveform), the comparable budget of `recipes.budgets` is spent. Raises UnknownName.
    """
    return _recipe(objective, OBJECTIVES[objective], head, eps, epochs, seed)


def paper_v1_regularised(
    objective: str = "center_ce", weight: float = 3.0, *, head: str = "linear", eps: str = "4/255", epochs: int = EPOCHS, seed: int = 0
) -> CalibrationRecipe:
    """`paper_v1` plus `weight` times the modality-consistency regulariser (clean preservation, class and cross-modal agreement)."""
    return _recipe(f"{objective}_regularised", weighted((1.0, OBJECTIVES[objective]), (weight, modality_consistency)), head, eps, epochs, seed)


def _recipe(name: str, objective: Objective, head: str, eps: str, epochs: int, seed: int) -> CalibrationRecipe:
    crafted_with = PGD(steps=10, stop_when_reached=False)
    budget = Linf(eps)
    stage = Stage(objective, crafted_with, budget, {"waveform": comparable(budget, "waveform")}, epochs=epochs, learning_rate=2e-3)
    return CalibrationRecipe(name, (stage,), head, seed)


center_ce = partial(paper_v1, "center_ce")
l2 = partial(paper_v1, "l2")
infonce = partial(paper_v1, "infonce")
center_ce_regularised = partial(paper_v1_regularised, "center_ce")
l2_regularised = partial(paper_v1_regularised, "l2")
infonce_regularised = partial(paper_v1_regularised, "infonce")
