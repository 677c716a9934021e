"""Square Attack (Andriushchenko et al. 2020, arXiv 1912.00049): random search without gradients, here in every space
and every norm.

Letters: b = batch, r = rows still in the search, c = channels (the coordinates of one element), n = cells (elements), k
= cells of one tile, f = coordinates of a sample, d = axes that a tile spans.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.attacks.engine import with_restarts
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import enforce, euclidean, into_bounds, most_changed, project
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

HALVED_AT = (
    10,
    50,
    200,
    500,
    1000,
    2000,
    4000,
    6000,
    8000,
)  # of 10 000 queries: where the tile's share halves (section 5 of the paper)
BLOCK = 100  # queries whose random numbers are drawn at once


def share_at(query: int, queries: int, first: float) -> float:
    """The share of a sample that one tile covers at this query: the paper's schedule, stretched to the number of
    queries.
    """
    return first / 2 ** bisect_left(HALVED_AT, query * 10000 // queries)


# ------------------------------------------------------------------------------------------------------ where to change


@dataclass(frozen=True)
class Boxes:
    """Tiles of samples whose elements lie on axes: squares, tubes, segments, time-frequency tiles. Every side is the
    same share of its axis.
    """

    lengths: tuple[int, ...]

    @property
    def draws(self) -> int:
        """How many random numbers choose a tile."""
        return len(self.lengths)

    def sides(self, share: float) -> tuple[int, ...]:
        """At least one cell; on a square picture the paper's."""
        return tuple(max(1, min(length, round(share ** (1 / len(self.lengths)) * length))) for length in self.lengths)

    def cells(self, share: float, where: Float[Tensor, "r d"], cloud: Float[Tensor, "r c n"]) -> Int[Tensor, "r k"]:
        """The cells of a random tile per row; `where` in [0, 1). Every place is as likely as every other."""
        first = where.new_zeros(len(where), dtype=torch.long)
        sides = self.sides(share)
        for axis, (length, side) in enumerate(zip(self.lengths, sides, strict=True)):
            room = length - side
            first = first * length + (where[:, axis] * (room + 1)).long().clamp_max(room)
        return first[:, None] + _box(self.lengths, sides).to(where.device)

    def pattern(self, share: float, which: Float[Tensor, " r"], decay: int) -> Float[Tensor, "r k"]:
        """The paper's eta, along a random axis per row."""
        both = torch.stack([_eta(self.sides(share), axis, decay) for axis in range(max(1, self.draws))]).to(which)
        return both[(which * len(both)).long().clamp_max(len(both) - 1)]


@dataclass(frozen=True)
class Neighbourhoods:
    """Tiles of samples whose elements are a set: the nearest elements of a randomly chosen one, in the clean sample."""

    count: int
    draws: int = 1

    def cells(self, share: float, where: Float[Tensor, "r 1"], cloud: Float[Tensor, "r c n"]) -> Int[Tensor, "r k"]:
        middle = (where * self.count).long().clamp_max(self.count - 1)
        middle = middle[:, None, :].expand(-1, cloud.shape[1], -1)
        distance = (cloud - cloud.gather(2, middle)).square().sum(dim=1)
        # stable: which of several equally near points is taken must not depend on the batch
        return distance.argsort(dim=1, stable=True)[:, : max(1, round(share * self.count))]

    def pattern(self, share: float, which: Float[Tensor, " r"], decay: int) -> Float[Tensor, "r k"]:
        """Flat: a neighbourhood moves as one."""
        return which.new_ones(len(which), max(1, round(share * self.count)))


@lru_cache(maxsize=64)
def _box(lengths: tuple[int, ...], sides: tuple[int, ...]) -> Int[Tensor, " k"]:
    """Cell numbers of the box at the origin."""
    numbers = torch.zeros((), dtype=torch.long)
    for length, side in zip(lengths, sides, strict=True):
        numbers = numbers[..., None] * length + torch.arange(side)
    return numbers.flatten()


@lru_cache(maxsize=64)
def _eta(sides: tuple[int, ...], split: int, decay: int) -> Float[Tensor, " k"]:
    """Two pyramids of opposite sign side by side along axis `split` (equation 2 of the paper, `decay` 2, where sides
    are those of a square).
    """
    if not sides:
        return torch.ones(1)
    half = sides[split] // 2
    pyramids = [
        _pyramid((*sides[:split], part, *sides[split + 1 :]), decay) for part in (half, sides[split] - half) if part
    ]
    signed = [sign * pyramid / pyramid.norm() for sign, pyramid in zip((1.0, -1.0), pyramids, strict=False)]
    return torch.cat(signed, dim=split).flatten()


def _pyramid(sides: tuple[int, ...], decay: int) -> Tensor:
    """At distance m from the middle (the largest over axes, in cells) the sum of 1 / i^decay over i = m + 1, ..., half
    the longest side + 1.
    """
    distance = torch.zeros(())
    for side in sides:
        distance = torch.maximum(distance[..., None], (torch.arange(side) - side // 2).abs().float())
    terms = torch.arange(1, max(sides) // 2 + 2).double() ** -decay
    return terms.flip(0).cumsum(0).flip(0)[distance.long()].float()


@dataclass(frozen=True)
class Layout:
    """How a flattened sample falls into channels and cells."""

    shape: tuple[int, ...]
    coordinates: Int[Tensor, "c n"]  # which coordinate of the flattened sample is which channel of which cell
    tiles: Boxes | Neighbourhoods
    last: int  # length of the last axis that tiles span: stripes are constant along all the others

    @classmethod
    def of(cls, shape: tuple[int, ...], space: Space, device: torch.device) -> "Layout":
        """Tiles span every axis that is longer than 1 and does not belong to an element."""
        spanned = [
            axis for axis, length in enumerate(shape) if length > 1 and axis - len(shape) not in space.element_axes
        ]
        rest = [axis for axis in range(len(shape)) if axis not in spanned]
        lengths = tuple(shape[axis] for axis in spanned)
        count = math.prod(lengths)
        coordinates = (
            torch.arange(math.prod(shape), device=device).reshape(shape).permute(*rest, *spanned).reshape(-1, count)
        )
        tiles = Neighbourhoods(count) if space.unordered else Boxes(lengths)
        return cls(shape, coordinates, tiles, count if space.unordered or not lengths else lengths[-1])

    def at(self, cells: Int[Tensor, "r k"]) -> Int[Tensor, "r ck"]:
        """The coordinates of these cells."""
        return self.coordinates[:, cells].transpose(0, 1).flatten(1)


# ----------------------------------------------------------------------------------------------------- how to change it


@dataclass
class Draft:
    """What a rule makes a candidate from: r flattened samples, where they stand, the coordinates of a tile, and a
    direction for it.
    """

    x: Float[Tensor, "r f"]
    current: Float[Tensor, "r f"]
    tile: Int[Tensor, "r ck"]
    direction: Float[Tensor, "r c k"]
    giver: Int[Tensor, "r ck"]  # a second tile, whose share of the budget may be moved
    priority: Float[Tensor, "r f"]  # random numbers, the same for a block of queries

    def with_tile(self, values: Float[Tensor, "r ck"]) -> Float[Tensor, "r f"]:
        return self.current.scatter(1, self.tile, values)


def _signs(draft: Draft, space: Space, radius: float) -> Tensor:
    """linf: every channel of the tile goes one whole radius up or down (the paper). A tile that already stands so goes
    the other way instead, as a query for what is known would be wasted (the authors draw again)."""
    clean = draft.x.gather(1, draft.tile)
    up = (radius * draft.direction.sign()).flatten(1)
    values = into_bounds(clean + up, space)
    same = (values == draft.current.gather(1, draft.tile)).all(dim=1, keepdim=True)
    return draft.with_tile(torch.where(same, into_bounds(clean - up, space), values))


def _directions(draft: Draft, space: Space, radius: float) -> Tensor:
    """pointwise_l2: every element of the tile moves one whole radius in the same random direction (ours)."""
    unit = draft.direction / torch.linalg.vector_norm(draft.direction, dim=1, keepdim=True).clamp_min(1e-30)
    return draft.with_tile(draft.x.gather(1, draft.tile) + radius * unit.flatten(1))


def _moved_mass(power: int, relative: bool) -> Callable[[Draft, Space, float], Tensor]:
    """l2, snr, l1: the tile and another one give up what they spent, and the tile gets it together with whatever was
    unspent, along its old direction plus the new one (algorithm 3 of the paper; it divides by channel, ours over all
    channels together)."""

    def rule(draft: Draft, space: Space, radius: float) -> Tensor:
        delta = draft.current - draft.x
        old = delta.gather(1, draft.tile)
        delta = delta.scatter(1, draft.giver, 0.0).scatter(1, draft.tile, 0.0)
        allowed = radius * (euclidean(draft.x) if relative else torch.ones_like(draft.x[:, 0]))
        left = (allowed**power - _length(delta, power) ** power).clamp_min(0) ** (1 / power)
        new = draft.direction.flatten(1)
        new = new / _length(new, power)[:, None].clamp_min(1e-30)
        both = new + old / _length(old, power)[:, None].clamp_min(1e-30)
        # where one takes the other back, as half of all tiles of a single cell do, the new one counts: the budget would
        # be lost otherwise
        both = torch.where((_length(both, power) > 1e-3)[:, None], both, new)
        return draft.x + delta.scatter(1, draft.tile, both * (left / _length(both, power).clamp_min(1e-30))[:, None])

    return rule


def _length(delta: Float[Tensor, "r f"], power: int) -> Float[Tensor, " r"]:
    return torch.linalg.vector_norm(delta, ord=power, dim=1)


def _events(draft: Draft, space: Space, radius: float) -> Tensor:
    """event_share: the tile's cells become "just now" or "never" by their sign; of all changes as many stay as the
    budget allows, those in the tile first and else at random (ours; kin to Sparse-RS, Croce et al. 2022, arXiv
    2006.12834)."""
    low, high = space.low or 0.0, space.high if space.high is not None else 1.0
    wish = draft.with_tile(torch.where(draft.direction > 0, high, low).flatten(1).to(draft.x))
    rank = draft.priority.scatter_add(1, draft.tile, torch.ones_like(draft.x.gather(1, draft.tile)))
    rank = torch.where(wish == draft.x, -1.0, rank)
    return torch.where(most_changed(rank, draft.x, radius), wish, draft.x)


RULES: dict[str, Callable[[Draft, Space, float], Tensor]] = {
    "linf": _signs,
    "l2": _moved_mass(2, relative=False),
    "snr": _moved_mass(2, relative=True),
    "l1": _moved_mass(1, relative=False),
    "pointwise_l2": _directions,
    "event_share": _events,
}
DECAY = {
    "l2": 2,
    "snr": 2,
    "l1": 4,
}  # norms whose budget is one sum over the sample: the tile's pattern, and how steep it is


# ---------------------------------------------------------------------------------------------------------- the search


@dataclass(frozen=True)
class Square:
    """Random search: change one random tile, keep the change where it brings the goal nearer, `queries` times in all.
    Needs no gradient.

    From the paper: the search; the shrinking share of a sample that a tile covers (`p_init` at first, halved nine
    times); linf tiles that go a whole radius up or down, channel by channel; the start from vertical stripes; in l2 the
    two pyramids and the budget that moves from tile to tile. Ours: tiles in every space (squares in pictures, tubes in
    videos, segments of sound, time-frequency tiles, tiles of event frames, nearest neighbours in point clouds): boxes
    over all axes that do not belong to an element, each side the same share of its axis. A video starts from stripes
    that stand still; sounds and clouds, which have one axis or none, from independent signs per sample or point. The
    other norms; l2 starts from stripes as well.

    `queries`: forward passes per sample and restart, the start included; `restarts` only for samples that still stand.
    `loss`: "margin", "ce", "dlr" or "cosine". With `stop_when_reached` a sample leaves at its first success.
    """

    queries: int = 5000
    restarts: int = 1
    p_init: float = 0.8
    loss: str = "margin"
    stop_when_reached: bool = True

    def __post_init__(self) -> None:
        if self.queries < 1 or self.restarts < 1:
            raise InputError(
                f"Square needs at least one query and one restart, not queries={self.queries}, restarts={self.restarts}"
            )
        if not 0 < self.p_init <= 1:
            raise InputError(
                f"Square's p_init={self.p_init} is no share of a sample; expected more than 0 and at most 1"
            )

    @property
    def name(self) -> str:
        again = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"square{self.queries}{again}-{self.loss}"

    @torch.no_grad()
    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        """Raises BrokenPostCondition when an example leaves its budget or bounds."""
        budget.check(space)
        goal, embed = goal.using(self.loss), in_full_batches(embed)

        def attempt(restart: int, rows: Tensor) -> Attacked:
            return self._search(embed, x[rows], goal[rows], space, budget, rng[rows], f"square {restart}")

        result = with_restarts(attempt, x, self.restarts, self.stop_when_reached)
        enforce(result.x, x, space, budget)
        return result

    def _search(
        self,
        embed: Embed,
        x: Float[Tensor, "b ..."],
        goal: Goal,
        space: Space,
        budget: Budget,
        rng: SampleRandom,
        tag: str,
    ) -> Attacked:
        shape = x.shape[1:]
        result = Attacked(
            x.clone(),
            *(
                torch.zeros(len(x), dtype=kind, device=x.device)
                for kind in (torch.bool, x.dtype, torch.long, torch.long)
            ),
        )
        rows = torch.arange(len(x), device=x.device)  # who is still in the search
        clean = x.flatten(1)
        proposals = _Proposals(Layout.of(tuple(shape), space, x.device), space, budget, self, tag)
        current, best = clean, torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
        reached = torch.zeros_like(rows, dtype=torch.bool)
        for query in range(self.queries):
            candidate = proposals(query, clean, current, rng, rows)
            z = embed(candidate.reshape(-1, *shape))
            loss, hit = goal.loss(z), goal.reached(z)
            better = (hit & ~reached) | ((hit == reached) & (loss > best))
            current = torch.where(better[:, None], candidate, current)
            best, reached = torch.where(better, loss, best), reached | hit
            leave = hit if self.stop_when_reached else torch.zeros_like(hit)
            if query == self.queries - 1:
                leave = torch.ones_like(leave)
            if not leave.any():
                continue
            gone, stay = rows[leave], (~leave).nonzero().squeeze(1)
            result.x[gone], result.reached[gone], result.loss[gone] = (
                current[leave].reshape(-1, *shape),
                reached[leave],
                best[leave],
            )
            result.forward_passes[gone] = query + 1
            if not len(stay):
                break
            rows, goal, clean, current, best, reached = (
                rows[stay],
                goal[stay],
                clean[stay],
                current[stay],
                best[stay],
                reached[stay],
            )
            proposals.keep(stay)
        return result


class _Proposals:
    """Candidates of one search, and the random numbers behind them: drawn per sample for a block of queries at once,
    thinned out with the batch.
    """

    def __init__(self, layout: Layout, space: Space, budget: Budget, attack: Square, tag: str) -> None:
        self.layout, self.space, self.budget, self.attack, self.tag = layout, space, budget, attack, tag
        self.drawn: dict[str, Tensor] = {}

    def keep(self, rows: Int[Tensor, " r"]) -> None:
        self.drawn = {name: value[rows] for name, value in self.drawn.items()}

    def __call__(
        self, query: int, x: Float[Tensor, "r f"], current: Float[Tensor, "r f"], rng: SampleRandom, rows: Tensor
    ) -> Tensor:
        layout, norm = self.layout, self.budget.norm
        tiles, channels = layout.tiles, len(layout.coordinates)
        if query % BLOCK == 0:
            self._draw(f"{self.tag}/{query // BLOCK}", x, rng[rows])
        share = share_at(query - 1, self.attack.queries, self.attack.p_init)
        if query == 0:
            every = torch.arange(layout.coordinates.shape[1], device=x.device).expand(len(x), -1)
            tile = giver = layout.at(every)
            stripes = rng.normal(f"{self.tag}/stripes", (channels, layout.last)).to(x)
            direction = stripes.repeat(1, 1, every.shape[1] // layout.last)
        else:
            where = self.drawn["where"][:, query % BLOCK]
            cloud = x[:, layout.coordinates] if self.space.unordered else x
            tile = layout.at(tiles.cells(share, where[:, : tiles.draws], cloud))
            direction = self.drawn["direction"][:, query % BLOCK, :, None].expand(-1, -1, tile.shape[1] // channels)
            giver = tile
            if norm in DECAY:
                giver = layout.at(tiles.cells(share, where[:, tiles.draws : 2 * tiles.draws], cloud))
                direction = direction.sign() * tiles.pattern(share, where[:, -1], DECAY[norm])[:, None, :]
        draft = Draft(x, current, tile, direction, giver, self.drawn.get("priority", x))
        candidate = RULES[norm](draft, self.space, self.budget.radius)
        if norm == "linf":  # a tile of corners within bounds is inside already
            return candidate
        return project(
            candidate.reshape(-1, *layout.shape), x.reshape(-1, *layout.shape), self.space, self.budget
        ).flatten(1)

    def _draw(self, tag: str, x: Float[Tensor, "r f"], rng: SampleRandom) -> None:
        width = 2 * self.layout.tiles.draws + 1
        self.drawn["where"] = rng.uniform(f"{tag}/where", (BLOCK, width)).to(x)
        self.drawn["direction"] = rng.normal(f"{tag}/direction", (BLOCK, len(self.layout.coordinates))).to(x)
        if self.budget.norm == "event_share":
            self.drawn["priority"] = rng.uniform(f"{tag}/priority", (x.shape[1],)).to(x)
