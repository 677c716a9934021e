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
from ironbind.evaluate.checks.extent import NOISE_DRAWS, WHOLE, Extent
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.batching import ROW_QUANTUM, in_full_batches
from ironbind.numerics.networks import modules_of
from ironbind.numerics.norms import SLACK, distance, in_float64, random_start
from ironbind.numerics.sample_random import PerSample, seed_of
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, Task

FEW = 8
GRADIENTS = (("margin", False), ("margin", True), ("ce", False))  # loss, and whether at a random start
SOME_NOISE = 3  # random points of the budget at which every sample is looked at
TOO_SMALL = "the audit is too small for it: two samples would cost more than a twentieth of its own passes"

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
    there is no backbone). `extent`: how much of the audit is looked at. `passes` counts rows embedded with and without
    a gradient.
    """

    task: Task
    attacks: Sequence[Attack]
    budget: Budget
    clean: Mapping[str, Verdict]
    attacked: Mapping[str, Verdict]
    run_context: RunContext
    twin: Twin | None = None
    extent: Extent = WHOLE
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
        return sorted(robust, key=lambda index: -self.attacked[ids[index]].margin)[: self.extent.fragile]

    @cached_property
    def _correct(self) -> list[int]:
        return [index for index in range(len(self.task)) if self.clean[self.task.dataset.ids[index]].rank == 1]

    @cached_property
    def indices(self) -> list[int]:
        """A few samples that are correct when clean: the fragile ones, then broken ones, then others that stand, both
        drawn by seed (the first samples of a folder are all of one class).
        """
        chosen, ids = set(self._fragile_indices), self.task.dataset.ids
        drawn = sorted(
            self._correct,
            key=lambda index: (
                self.attacked[ids[index]].rank == 1,
                seed_of(self.run_context.seed, "checks", ids[index]),
            ),
        )
        others = [index for index in drawn if index not in chosen]
        return [*self._fragile_indices, *others][: self.extent.samples]

    @cached_property
    def company(self) -> list[int]:
        """Numbers of as many samples of the audit as one full batch holds, drawn by seed: neighbours that none of them
        had in the audit.
        """
        ids = self.task.dataset.ids
        everyone = sorted(
            range(len(self.task)), key=lambda index: seed_of(self.run_context.seed, "company", ids[index])
        )
        return everyone[:ROW_QUANTUM]

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

    @property
    def few(self) -> Int[Tensor, " r"]:
        """A third of the rows, FEW at most: what is looked at one by one."""
        return self.all_rows[: min(FEW, max(1, len(self.indices) // 3))]

    @property
    def cheap_rows(self) -> Int[Tensor, " r"]:
        """The rows on which an attack may run: the fragile ones, and those that it breaks."""
        return self.all_rows[: len(self._fragile_indices) + int((~self.robust).sum())]

    @property
    def runs_again(self) -> bool:
        """Whether there is an attack that is run again."""
        return self.extent.attacks_again and len(self.cheap_rows) > 0

    @property
    def nothing_stands(self) -> bool:
        """Whether no sample of the whole audit is robust."""
        return not any(verdict.rank == 1 for verdict in self.attacked.values())

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
        digest, seen = hashlib.sha256(), set[tuple[int, int]]()
        for module in modules_of(self.task.encoder):
            for name, value in module.state_dict().items():
                place = (value.data_ptr(), value.numel())
                if place in seen:  # the copies that adapters stand in share the backbone's tensors
                    continue
                seen.add(place)
                # a sum rather than bytes: an ImageBind holds five gigabytes, and an optimiser step changes every sum
                digest.update(f"{name} {_checksum(value)}".encode())
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

    def embed_again(self, draw: int) -> Float[Tensor, "b d"]:
        """The clean samples embedded once more; where the encoder can be `redrawn`, on that draw."""
        redrawn = getattr(self.task.encoder, "redrawn", None)
        if redrawn is None:
            return self.embed(self.x)
        task = self.task.on(redrawn(draw))
        self.passes["forward"] += len(self.x)
        with torch.no_grad():
            return torch.cat(
                [in_full_batches(task.embed)(batch) for batch in self.x.split(self.run_context.batch_size)]
            )

    def reached(self, x: Float[Tensor, "b ..."], rows: Int[Tensor, " r"] | None = None) -> Bool[Tensor, " b"]:
        """Whether the goal is reached at `x`, which belongs to these rows (None: to all samples)."""
        return (self.goal if rows is None else self.goal[rows]).reached(self.embed(x))

    def embed_each(self, *inputs: Float[Tensor, "b ..."]) -> tuple[Float[Tensor, "b d"], ...]:
        """Embeddings of several inputs of the same rows, in common batches: a few rows alone would be filled up."""
        return self.embed(torch.cat(inputs)).split([len(x) for x in inputs])

    @cached_property
    def clean_z(self) -> Float[Tensor, "b d"]:
        return self.embed(self.x)

    def noise(self, draw: int = 0) -> Float[Tensor, "b ..."]:
        """A random point of the budget for every sample."""
        return random_start(self.x, self.task.space, self.budget, self.rng("noise"), f"{draw}")

    @cached_property
    def near_z(self) -> Float[Tensor, "b d"]:
        """Embeddings a thousandth of the way to the first random point."""
        return self._noise_and_near[-1]

    @cached_property
    def noise_z(self) -> tuple[Float[Tensor, "b d"], ...]:
        """Embeddings of SOME_NOISE random points."""
        return self._noise_and_near[:-1]

    @cached_property
    def _noise_and_near(self) -> tuple[Float[Tensor, "b d"], ...]:
        points = [self.noise(draw) for draw in range(SOME_NOISE)]
        return self.embed_each(*points, self.x + 1e-3 * (points[0] - self.x))

    def broken_by_noise(self, rows: Int[Tensor, " r"]) -> Bool[Tensor, " r"]:
        """Which of these samples any of NOISE_DRAWS random points of the budget breaks."""
        broken, rng = torch.zeros(len(rows), dtype=torch.bool, device=rows.device), self.rng("noise")[rows]
        at_once = max(1, self.run_context.batch_size // max(1, len(rows)))
        for draws in torch.arange(NOISE_DRAWS).split(at_once):
            points = [
                random_start(self.x[rows], self.task.space, self.budget, rng, f"{draw}") for draw in draws.tolist()
            ]
            for z in self.embed_each(*points):
                broken |= self.goal[rows].reached(z)
        return broken

    def gradient(self, loss: str, start: bool = False) -> tuple[Float[Tensor, " b"], Float[Tensor, "b ..."] | None]:
        """The loss of each sample and its gradient (None where no graph leads back to the input), at the clean sample
        or at a random `start`. All that checks ask for come from common batches, as a few rows alone would be filled
        up.
        """
        if not self._gradients:
            count, size = len(self.indices), self.run_context.batch_size
            points = torch.cat([self.noise() if random else self.x for _, random in GRADIENTS])
            losses, gradients = [], []
            for numbers in torch.arange(len(points), device=points.device).split(size):
                at = points[numbers].detach().clone().requires_grad_(True)
                z = in_full_batches(self.counted_embed)(at)
                values = []
                for place, (name, _) in enumerate(GRADIENTS):
                    here = (numbers // count == place).nonzero().squeeze(1)
                    values.append(self.goal.using(name)[numbers[here] % count].loss(z[here]) if len(here) else z[:0, 0])
                value = torch.cat(values)  # in the order of the points
                losses.append(value.detach())
                gradients.append(
                    torch.autograd.grad(value.sum(), at, allow_unused=True)[0] if value.requires_grad else None
                )
            available = [gradient for gradient in gradients if gradient is not None]
            gradient_of = torch.cat(available).split(count) if len(available) == len(gradients) else [None] * 3
            self._gradients.update(
                zip(GRADIENTS, zip(torch.cat(losses).split(count), gradient_of, strict=True), strict=True)
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
        """The first attack once more on `cheap_rows`, every forward pass recorded."""
        parts = [self._trace(rows) for rows in self.cheap_rows.split(self.run_context.batch_size)]
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


def _checksum(value: Tensor) -> str:
    """Changes with any bit of a tensor but for what cancels: the sum of its numbers as integers."""
    if not value.numel() or value.is_meta:
        return str(tuple(value.shape))
    whole = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}.get(value.element_size())
    if whole is None or value.is_complex():
        return repr(in_float64(torch.view_as_real(value) if value.is_complex() else value).sum().item())
    bits = value.detach().contiguous().view(whole) if value.dtype != torch.bool else value.detach().to(torch.int8)
    return str(int(bits.sum(dtype=torch.int64)))
