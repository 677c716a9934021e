"""What a check may look at: a few samples of an audit, the attacks that ran, and their verdicts. What costs passes is
computed once.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.evaluate.attack_variants import with_more_steps
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.networks import modules_of
from ironbind.numerics.norms import SLACK, distance, in_float64, random_start
from ironbind.numerics.sample_random import PerSample, seed_of
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, Task

SAMPLES = 24  # per check; drawn from the samples that are correct when clean
FRAGILE = 12  # of them: the robust ones nearest to the decision boundary, on which attacks are run again
FEW = 8
NOISE_DRAWS = 100

Twin = Callable[[Sequence[int]], Float[Tensor, "b ..."]]
Finding = tuple[str, str]  # status, detail


class AttackTrace(NamedTuple):
    """One run of an attack with every forward pass recorded: what it returned, and which samples it broke.

    Rows of `loss` and `hit` are passes, columns are samples. A sample that a pass did not evaluate, or only outside of
    the budget, has a loss of nan and no hit there.
    """

    attacked: Attacked
    broken: Bool[Tensor, " b"]
    loss: Float[Tensor, "t b"]
    hit: Bool[Tensor, "t b"]


@dataclass(frozen=True, eq=False)
class CheckContext:
    """What a check may look at: the task, how it was attacked, and the verdicts. `clean` and `attacked` are by sample
    id.

    `twin`: the examples of given samples that were crafted on the undefended backbone within the same budget (None:
    there is no backbone). `passes` counts rows embedded with and without a gradient.
    """

    task: Task
    attacks: Sequence[Attack]
    budget: Budget
    clean: Mapping[str, Verdict]
    attacked: Mapping[str, Verdict]
    run_context: RunContext
    twin: Twin | None = None
    passes: Counter[str] = field(default_factory=Counter, init=False)
    _findings: dict[Callable[["CheckContext"], Finding], Finding] = field(default_factory=dict, init=False, repr=False)
    _gradients: dict[tuple[str, bool], tuple[Tensor, Tensor | None]] = field(
        default_factory=dict, init=False, repr=False
    )
    _broken_by_more_steps: dict[int, bool] = field(default_factory=dict, init=False, repr=False)

    def once(self, check: Callable[["CheckContext"], Finding]) -> Finding:
        """The finding of a check, which runs at most once."""
        if check not in self._findings:
            self._findings[check] = check(self)
        return self._findings[check]

    # ------------------------------------------------------------------------------------------------ samples

    @cached_property
    def _fragile_indices(self) -> list[int]:
        """Numbers of the robust samples nearest to the decision boundary, the nearest first."""
        ids = self.task.dataset.ids
        robust = [index for index in self._correct if self.attacked[ids[index]].rank == 1]
        return sorted(robust, key=lambda index: -self.attacked[ids[index]].margin)[:FRAGILE]

    @cached_property
    def _correct(self) -> list[int]:
        return [index for index in range(len(self.task)) if self.clean[self.task.dataset.ids[index]].rank == 1]

    @cached_property
    def indices(self) -> list[int]:
        """A few samples that are correct when clean: the fragile ones, then others drawn by seed (the first samples of
        a folder are all of one class).
        """
        chosen = set(self._fragile_indices)
        drawn = sorted(
            self._correct, key=lambda index: seed_of(self.run_context.seed, "checks", self.task.dataset.ids[index])
        )
        return [*self._fragile_indices, *(index for index in drawn if index not in chosen)][:SAMPLES]

    @cached_property
    def ids(self) -> list[str]:
        return [self.task.dataset.ids[index] for index in self.indices]

    @cached_property
    def x(self) -> Float[Tensor, "b ..."]:
        return self.task.load(self.indices)

    @cached_property
    def goal(self) -> Goal:
        return self.task.goal(self.indices)

    @cached_property
    def all_rows(self) -> Int[Tensor, " b"]:
        return torch.arange(len(self.indices), device=self.x.device)

    @property
    def fragile(self) -> Int[Tensor, " r"]:
        """The rows of the robust samples nearest to the decision boundary, out of the whole audit."""
        return self.all_rows[: len(self._fragile_indices)]

    @cached_property
    def robust(self) -> Bool[Tensor, " b"]:
        """Which samples are robust to all attacks of the audit."""
        return torch.tensor([self.attacked[sample].rank == 1 for sample in self.ids], device=self.x.device)

    def points(self, broken: int) -> float:
        """By how much robust accuracy falls when so many robust samples are broken: percentage points of the whole
        audit, at least.
        """
        return 100 * broken / len(self.attacked)

    def rng(self, purpose: str) -> PerSample:
        return PerSample.of(self.run_context.seed, self.ids, f"check {purpose}")

    # -------------------------------------------------------------------------------------------- the encoder

    @cached_property
    def weights_before(self) -> str:
        """`weights_now` at first access, which is before anything runs."""
        return self.weights_now()

    def weights_now(self) -> str:
        """A fingerprint of all parameters, buffers and training flags."""
        digest = hashlib.sha256()
        for module in modules_of(self.task.encoder):
            for name, value in module.state_dict().items():
                # sums rather than bytes: an ImageBind holds five gigabytes, and an optimiser step changes every sum
                wide = in_float64(value)
                digest.update(f"{name} {wide.sum().item()!r} {wide.abs().sum().item()!r}".encode())
            digest.update(str(any(part.training for part in module.modules())).encode())
        return digest.hexdigest()

    def counted_embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """The task's own embed, counted."""
        self.passes["gradient" if torch.is_grad_enabled() and x.requires_grad else "forward"] += len(x)
        return self.task.embed(x)

    @torch.no_grad()
    def embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Embeddings without gradients, in the audit's batches."""
        return torch.cat([in_full_batches(self.counted_embed)(batch) for batch in x.split(self.run_context.batch_size)])

    def reached(self, x: Float[Tensor, "b ..."], rows: Int[Tensor, " r"] | None = None) -> Bool[Tensor, " b"]:
        """Whether the goal is reached at `x`, which belongs to these rows (None: to all samples)."""
        return (self.goal if rows is None else self.goal[rows]).reached(self.embed(x))

    @cached_property
    def clean_z(self) -> Float[Tensor, "b d"]:
        return self.embed(self.x)

    def noise(self, draw: int = 0) -> Float[Tensor, "b ..."]:
        """A random point of the budget for every sample."""
        return random_start(self.x, self.task.space, self.budget, self.rng("noise"), f"{draw}")

    @cached_property
    def noise_z(self) -> list[Float[Tensor, "b d"]]:
        """Embeddings of NOISE_DRAWS random points."""
        return [self.embed(self.noise(draw)) for draw in range(NOISE_DRAWS)]

    def gradient(self, loss: str, start: bool = False) -> tuple[Float[Tensor, " b"], Float[Tensor, "b ..."] | None]:
        """The loss of each sample and its gradient (None where no graph leads back to the input), at the clean sample
        or at a random `start`.
        """
        if (loss, start) not in self._gradients:
            goal, values, gradients = self.goal.using(loss), [], []
            for rows in self.all_rows.split(self.run_context.batch_size):
                at = (self.noise() if start else self.x)[rows].detach().clone().requires_grad_(True)
                value = goal[rows].loss(in_full_batches(self.counted_embed)(at))
                values.append(value.detach())
                gradients.append(
                    torch.autograd.grad(value.sum(), at, allow_unused=True)[0] if value.requires_grad else None
                )
            available = [gradient for gradient in gradients if gradient is not None]
            self._gradients[loss, start] = (
                torch.cat(values),
                torch.cat(available) if len(available) == len(gradients) else None,
            )
        return self._gradients[loss, start]

    @cached_property
    def broken_by_twin(self) -> Bool[Tensor, " b"]:
        """Which samples the undefended twin's examples break; none where there is no twin."""
        return torch.zeros_like(self.robust) if self.twin is None else self.reached(self.twin(self.indices).to(self.x))

    # --------------------------------------------------------------------------------------------- the attack

    def attack(
        self,
        attack: Attack,
        rows: Int[Tensor, " r"],
        purpose: str,
        embed: Embed | None = None,
        budget: Budget | None = None,
    ) -> Attacked:
        """An attack on some of the samples, in the audit's batches."""
        space, rng = self.task.space, self.rng(purpose)
        parts = [
            attack(
                embed or self.counted_embed, self.x[batch], self.goal[batch], space, budget or self.budget, rng[batch]
            )
            for batch in rows.split(self.run_context.batch_size)
        ]
        return Attacked(*(torch.cat(field) for field in zip(*parts, strict=True)))

    def broken_by_more_steps(self, rows: Int[Tensor, " r"]) -> Bool[Tensor, " r"]:
        """Which of these samples the first attack breaks with twice its steps; none where it counts no steps."""
        twice = with_more_steps(self.attacks[0], 2)
        missing = torch.tensor(
            [int(row) for row in rows if int(row) not in self._broken_by_more_steps],
            dtype=torch.long,
            device=rows.device,
        )
        if twice is not None and len(missing):
            broken = self.reached(self.attack(twice, missing, "run").x, missing)
            self._broken_by_more_steps.update(zip(missing.tolist(), broken.tolist(), strict=True))
        return torch.tensor(
            [self._broken_by_more_steps.get(int(row), False) for row in rows], dtype=torch.bool, device=rows.device
        )

    @cached_property
    def run(self) -> AttackTrace:
        """The first attack once more on all of these samples, every forward pass recorded."""
        parts = [self._trace(rows) for rows in self.all_rows.split(self.run_context.batch_size)]
        passes = max(len(part.loss) for part in parts)

        def padded(tensors: list[Tensor], fill: float) -> Tensor:
            return torch.cat(
                [torch.nn.functional.pad(tensor, (0, 0, 0, passes - len(tensor)), value=fill) for tensor in tensors],
                dim=1,
            )

        attacked = Attacked(*(torch.cat(field) for field in zip(*(part.attacked for part in parts), strict=True)))
        broken = torch.cat([part.broken for part in parts])
        return AttackTrace(
            attacked,
            broken,
            padded([part.loss for part in parts], torch.nan),
            padded([part.hit for part in parts], False),
        )

    def _trace(self, rows: Int[Tensor, " r"]) -> AttackTrace:
        x, goal, space, norm = self.x[rows], self.goal[rows].using("margin"), self.task.space, self.budget.norm
        flat = x.flatten(1)
        squares = flat.square().sum(dim=1)
        losses = [torch.full((len(flat),), torch.nan, device=x.device)]  # an attack may embed nothing
        hits = [torch.zeros(len(flat), dtype=torch.bool, device=x.device)]

        def recording_embed(y: Float[Tensor, "r ..."]) -> Float[Tensor, "r d"]:
            z = self.counted_embed(y)
            with torch.no_grad():
                # attacks thin out and repeat the rows of a batch: a row belongs to the sample that it is nearest to,
                # and counts within its budget
                owner = (squares - 2 * y.detach().flatten(1) @ flat.T).argmin(dim=1)
                inside = distance(y.detach(), x[owner], space, norm) <= self.budget.radius + SLACK
                value, hit = goal[owner].loss(z.detach()), goal[owner].reached(z.detach()) & inside
                loss = torch.full((len(flat),), -torch.inf, device=y.device)
                loss.scatter_reduce_(0, owner[inside], value[inside].to(loss), reduce="amax")
                losses.append(torch.where(loss == -torch.inf, torch.nan, loss))
                hits.append(torch.zeros(len(flat), device=y.device).index_add_(0, owner, hit.float()) > 0)
            return z

        attacked = self.attack(self.attacks[0], rows, "run", embed=recording_embed)
        return AttackTrace(attacked, self.reached(attacked.x, rows), torch.stack(losses), torch.stack(hits))
