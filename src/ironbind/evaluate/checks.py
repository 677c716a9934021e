"""Is the number to be believed? Tests of the audit itself, run on a few samples with every audit and printed beside its numbers.

Sources: Carlini et al. 2019 (arXiv 1902.06705), AutoAttack's flags (Croce and Hein 2020), the indicators of attack failure of Pintor et al. 2022
(arXiv 2106.09947; published definitions only). Codes C1-C22 are the project's list; thresholds are partly ours. A check never changes a number.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.evaluate.tasks import Retrieval, ZeroShot
from ironbind.evaluate.verdicts import Verdict
from ironbind.maths.batches import in_full_batches
from ironbind.maths.modules import frozen, modules_of
from ironbind.maths.norms import project, random_start, stride, unit
from ironbind.maths.random import PerSample
from ironbind.results import Check
from ironbind.types import Attack, Budget, Goal

SAMPLES = 24  # per check; drawn from the samples that are correct when clean
NOISE_DRAWS = 20


@dataclass(frozen=True, eq=False)
class Scene:
    """What a check may look at: the task, how it was attacked, and the verdicts found. `clean` and `attacked` are by sample id."""

    task: ZeroShot | Retrieval
    attacks: Sequence[Attack]
    budget: Budget
    clean: Mapping[str, Verdict]
    attacked: Mapping[str, Verdict]
    seed: int

    @cached_property
    def indices(self) -> list[int]:
        """A few samples that are correct when clean."""
        ids = self.task.dataset.ids
        return [index for index in range(len(self.task)) if self.clean[ids[index]].rank == 1][:SAMPLES]

    @cached_property
    def x(self) -> Float[Tensor, "b ..."]:
        return self.task.load(self.indices)

    @cached_property
    def goal(self) -> Goal:
        return self.task.goal(self.indices)

    def rng(self, purpose: str) -> PerSample:
        return PerSample.of(self.seed, [self.task.dataset.ids[index] for index in self.indices], f"check {purpose}")

    def embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        return in_full_batches(self.task.embed)(x)

    def reached(self, x: Float[Tensor, "b ..."]) -> Bool[Tensor, " b"]:
        with torch.no_grad():
            return self.goal.reached(self.embed(x))

    def gradient(self, x: Float[Tensor, "b ..."], loss: str) -> tuple[Float[Tensor, " b"], Float[Tensor, "b ..."] | None]:
        """The loss of each sample and its input gradient (None where no graph leads back to the input)."""
        at = x.detach().clone().requires_grad_(True)
        value = self.goal.using(loss).loss(self.embed(at))
        if not value.requires_grad:
            return value.detach(), None
        (found,) = torch.autograd.grad(value.sum(), at, allow_unused=True)
        return value.detach(), found


Finding = tuple[str, str]  # status, detail


def zero_budget(scene: Scene) -> Finding:
    """An attack without a budget changes nothing, sample by sample."""
    nothing = Budget(scene.budget.norm, 0.0, "0")
    found = scene.attacks[0](scene.task.embed, scene.x, scene.goal, scene.task.space, nothing, scene.rng("zero"))
    changed = int(scene.reached(found.x).sum())
    return ("fail" if changed else "pass"), f"{changed} of {len(scene.indices)} verdicts change at eps 0"


def determinism(scene: Scene) -> Finding:
    """Five forward passes agree: a randomised encoder needs expectation over transformations and voting instead."""
    with torch.no_grad():
        passes = torch.stack([scene.embed(scene.x) for _ in range(5)])
    spread = float((passes - passes[0]).norm(dim=-1).max())
    return ("fail" if not spread <= 1e-4 else "pass"), f"embeddings differ by {spread:.1e} between passes (limit 1e-4)"


def gradients_reach_the_input(scene: Scene) -> Finding:
    """The gradient exists, is finite and is not zero; the share of samples whose gradient vanishes, per loss."""
    shares = []
    for loss in ("margin", "ce"):
        value, gradient = scene.gradient(scene.x, loss)
        if gradient is None:
            return "fail", "no gradient leads back to the input: gradient attacks say nothing here"
        if not torch.isfinite(gradient).all() or not torch.isfinite(value).all():
            return "fail", f"the gradient of the {loss} loss is not finite"
        shares.append((loss, float((gradient.flatten(1).abs().amax(dim=1) == 0).float().mean())))
    detail = ", ".join(f"{share:.0%} of gradients are zero ({loss})" for loss, share in shares)
    margin_share = shares[0][1]
    status = "fail" if margin_share > 0.1 else "warn" if any(share > 0.1 for _, share in shares) else "pass"
    return status, detail


def gradients_are_true(scene: Scene) -> Finding:
    """The gradient predicts the change of the loss along random directions (central differences); a masked gradient does not."""
    _, gradient = scene.gradient(scene.x, "margin")
    if gradient is None:
        return "fail", "there is no gradient to compare"
    goal, errors = scene.goal.using("margin"), []
    for draw in range(3):
        direction = unit(scene.rng(f"direction {draw}").normal("d", tuple(scene.x.shape[1:])).to(scene.x))
        # along a random direction alone the change drowns in rounding; half of the gradient's own direction keeps it measurable
        direction = unit(direction + unit(gradient))
        step = 1e-2
        with torch.no_grad():
            ahead, behind = (goal.loss(scene.embed(scene.x + sign * step * direction)) for sign in (1.0, -1.0))
        predicted = (gradient * direction).flatten(1).sum(dim=1)
        measured = (ahead - behind) / (2 * step)
        errors.append((measured - predicted).abs() / measured.abs().maximum(predicted.abs()).clamp_min(1e-6))
    error = float(torch.stack(errors).median())
    return ("warn" if not error <= 0.05 else "pass"), f"gradient and finite differences differ by {error:.1%} (median; limit 5 %)"


def noise_is_weaker(scene: Scene) -> Finding:
    """Random points of the budget's ball break no sample that the attack left standing: otherwise the attack is weak."""
    ids = [scene.task.dataset.ids[index] for index in scene.indices]
    stands = torch.tensor([scene.attacked[one].rank == 1 for one in ids], device=scene.x.device)
    broken = torch.zeros_like(stands)
    for draw in range(NOISE_DRAWS):
        broken |= scene.reached(random_start(scene.x, scene.task.space, scene.budget, scene.rng("noise"), f"{draw}"))
    missed = int((broken & stands).sum())
    detail = f"{NOISE_DRAWS} random draws break {int(broken.sum())} of {len(ids)} samples, {missed} of them left standing by the attack"
    return ("fail" if missed else "pass"), detail


def one_step_is_weaker(scene: Scene) -> Finding:
    """A single full step breaks no sample that the iterative attack left standing."""
    _, gradient = scene.gradient(scene.x, "margin")
    if gradient is None:
        return "fail", "there is no gradient to step along"
    stepped = project(scene.x + stride(gradient, scene.x, scene.task.space, scene.budget), scene.x, scene.task.space, scene.budget)
    ids = [scene.task.dataset.ids[index] for index in scene.indices]
    stands = torch.tensor([scene.attacked[one].rank == 1 for one in ids], device=scene.x.device)
    missed = int((scene.reached(stepped) & stands).sum())
    return ("fail" if missed else "pass"), f"one step breaks {missed} samples that the iterative attack left standing"


def everything_falls_without_bounds(scene: Scene) -> Finding:
    """With a budget as wide as the space the attack breaks everything; an attack that cannot is being misled."""
    space = scene.task.space
    width = 1.0 if space.low is None or space.high is None else space.high - space.low
    radius = width if scene.budget.norm == "linf" else width * math.sqrt(scene.x[0].numel())
    wide = Budget(scene.budget.norm, radius, f"{radius:g}")
    found = scene.attacks[0](scene.task.embed, scene.x, scene.goal, space, wide, scene.rng("unbounded"))
    left = 1 - float(found.reached.float().mean())
    return ("fail" if left > 0.05 else "pass"), f"{left:.0%} still stand with an unbounded budget (limit 5 %)"


def verdicts_hold_alone(scene: Scene) -> Finding:
    """Clean verdicts recomputed one sample at a time, in reverse order, in passes of their own: nothing depends on the batch."""
    ids = scene.task.dataset.ids
    differ = 0
    for index in reversed(scene.indices[:8]):
        with torch.no_grad():
            rank = int(scene.task.goal([index]).rank(scene.task.embed(scene.task.load([index])))[0])
        differ += rank != scene.clean[ids[index]].rank
    return ("fail" if differ else "pass"), f"{differ} of {min(8, len(scene.indices))} clean verdicts change when a sample stands alone"


def losses_do_not_saturate(scene: Scene) -> Finding:
    """How often the cross-entropy at its logit scale underflows to zero, which would stop an attack that has no other loss."""
    value, _ = scene.gradient(scene.x, "ce")
    share = float((value < 1e-12).float().mean())
    return ("warn" if share > 0.5 else "pass"), f"{share:.0%} of cross-entropies underflow (the margin is attacked first and does not)"


def loss_is_smooth(scene: Scene) -> Finding:
    """The loss under noise of the budget's size varies little compared with its range: otherwise predictions are unstable (indicator I2)."""
    with torch.no_grad():
        margins = torch.stack(
            [
                scene.goal.using("margin").loss(scene.embed(random_start(scene.x, scene.task.space, scene.budget, scene.rng("smooth"), f"{draw}")))
                for draw in range(5)
            ]
        )
    spread = float((margins - margins.mean(dim=0)).abs().mean())
    return ("warn" if spread > 0.1 else "pass"), f"the margin moves by {spread:.3f} under random noise of the budget's size (limit 0.1)"


CHECKS: dict[str, tuple[str, Callable[[Scene], Finding]]] = {
    "C2": ("eps 0 equals clean", zero_budget),
    "C4": ("the encoder is deterministic", determinism),
    "C6": ("gradients reach the input", gradients_reach_the_input),
    "C6b": ("losses do not saturate", losses_do_not_saturate),
    "C8": ("gradients are true", gradients_are_true),
    "C9": ("predictions are stable", loss_is_smooth),
    "C11": ("verdicts do not depend on the batch", verdicts_hold_alone),
    "C15": ("many steps beat one", one_step_is_weaker),
    "C16": ("an unbounded attack succeeds", everything_falls_without_bounds),
    "C17": ("the attack beats random noise", noise_is_weaker),
}


@contextmanager
def untouched(scene: Scene, found: list[Check], scope: str) -> Iterator[None]:
    """Check C1: parameters and buffers are the same before and after everything that runs in the block."""
    before = _hash(scene)
    yield
    same = before == _hash(scene)
    found.append(Check("C1", "parameters unchanged", "pass" if same else "fail", "weights and buffers hashed before and after the checks", scope))


def _hash(scene: Scene) -> str:
    digest = hashlib.sha256()
    for module in modules_of(scene.task.encoder):
        for name, value in module.state_dict().items():
            # sums rather than bytes: an ImageBind holds five gigabytes, and an optimiser step changes every sum
            digest.update(f"{name} {value.double().sum().item()!r} {value.double().abs().sum().item()!r}".encode())
        digest.update(str(any(part.training for part in module.modules())).encode())
    return digest.hexdigest()


def run_checks(scene: Scene, scope: str) -> list[Check]:
    """All checks of one audit at one radius, in order of their codes; `scope` names the audit ("audio logmel, infonce, adaptive 4/255")."""
    if not scene.indices:
        return [Check("C2-C17", "attack checks", "skipped", "no sample is correct when clean, so there is nothing to attack", scope)]
    found: list[Check] = []
    with frozen(scene.task.encoder), untouched(scene, found, scope):
        for code, (name, check) in CHECKS.items():
            status, detail = check(scene)
            found.append(Check(code, name, status, detail, scope))
    return sorted(found, key=lambda one: int("".join(c for c in one.code if c.isdigit())))
