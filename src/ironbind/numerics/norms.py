"""What attacks and audits ask of a budget: how far an example is, the way back into it, a random point of it, the best
step, and that nothing exceeds it. Each norm is one class; the functions below find it by its name.

Rows are independent. Letters: b = batch; `...` = the axes of one sample. `x` is the clean sample, `y` a perturbed one.
Bounds come from the space; every clean sample lies within them. A radius is one number, or one per row.
`steepest_step` is the step from x of the whole radius that increases a linear function with this gradient most,
regardless of bounds; a row whose gradient is zero stays.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.types import Budget, SampleRandom, Space

Radius = float | Float[Tensor, " b"]
TINY = 1e-30
# share of the coordinates that an l1 step moves (Tramer and Boneh 2019, arXiv 1904.13000, section 4: the best of their
# sweep)
SPARSE = 0.05
# A float32 subtraction of two numbers in [-1, 1] is off by up to 6e-8; anything beyond this slack is a broken budget,
# not rounding.
SLACK = 1e-6
WITHOUT_FLOAT64 = ("mps",)  # types of devices that know no float64


class BrokenPostCondition(AssertionError):
    """An attack returned an example that is not finite, not within its budget or not within the bounds of its space: a
    bug, never a result.
    """


def per_row(values: Float[Tensor, " b"], like: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """One number per row, shaped to broadcast over `like`."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _reach(radius: Radius, like: Float[Tensor, "b ..."]) -> float | Float[Tensor, "b ..."]:
    """A radius, to be used coordinate by coordinate."""
    return per_row(radius, like) if isinstance(radius, Tensor) else radius


def into_bounds(x: Float[Tensor, "b ..."], space: Space) -> Float[Tensor, "b ..."]:
    """`x` clamped to the bounds of the space."""
    return x if space.low is None and space.high is None else x.clamp(space.low, space.high)


def in_float64(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """`values` in float64, where they lie; on the CPU where their device knows no float64."""
    return (values.cpu() if values.device.type in WITHOUT_FLOAT64 else values).double()


def _length(
    delta: Float[Tensor, "b ..."], axes: int | tuple[int, ...], order: int = 2, keepdim: bool = False
) -> Float[Tensor, "b ..."]:
    """The `order`-norm over `axes`, summed in float64 (tiny squares vanish in float32); device and type of `delta`."""
    at = delta.cpu() if delta.device.type in WITHOUT_FLOAT64 else delta
    return torch.linalg.vector_norm(at, order, axes, keepdim, dtype=torch.float64).to(delta.dtype).to(delta.device)


def euclidean(delta: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """Euclidean length of each row, summed in float64: over a million coordinates a float32 sum is off by more than
    rounding allows.
    """
    return _length(delta.flatten(1), 1)


class Geometry(Protocol):
    def distance(self, y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space) -> Float[Tensor, " b"]: ...

    def project(
        self, y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, radius: Radius
    ) -> Float[Tensor, "b ..."]: ...

    def draw(
        self, x: Float[Tensor, "b ..."], space: Space, radius: Radius, rng: SampleRandom, tag: str
    ) -> Float[Tensor, "b ..."]: ...

    def steepest_step(
        self,
        gradient: Float[Tensor, "b ..."],
        at: Float[Tensor, "b ..."],
        x: Float[Tensor, "b ..."],
        space: Space,
        radius: Radius,
    ) -> Float[Tensor, "b ..."]: ...


class LargestChange:
    """linf. `project` is the exact Euclidean projection onto the intersection of cube and bounds."""

    def distance(self, y: Tensor, x: Tensor, space: Space) -> Tensor:
        return (y - x).flatten(1).abs().amax(dim=1)

    def project(self, y: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        reach = _reach(radius, x)
        return into_bounds(torch.minimum(torch.maximum(y, x - reach), x + reach), space)

    def draw(self, x: Tensor, space: Space, radius: Radius, rng: SampleRandom, tag: str) -> Tensor:
        return x + (2 * rng.uniform(tag, tuple(x.shape[1:])).to(x) - 1) * _reach(radius, x)

    def steepest_step(self, gradient: Tensor, at: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        return _reach(radius, gradient) * gradient.sign()


class EuclideanLength:
    """l2, and snr where the radius counts in lengths of the sample itself.

    Ball first, bounds second: as x lies within bounds, clamping shortens every coordinate of the difference, so that
    the result is in both (feasible, though not always the nearest feasible point).
    """

    def __init__(self, relative: bool = False) -> None:
        self.relative = relative

    def _unit(self, x: Tensor) -> Tensor:
        return euclidean(x) if self.relative else x.new_ones(len(x))

    def distance(self, y: Tensor, x: Tensor, space: Space) -> Tensor:
        length = euclidean(y - x)
        return length / self._unit(x).clamp_min(TINY) if self.relative else length

    def project(self, y: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        delta = y - x
        shrink = (radius * self._unit(x) / euclidean(delta).clamp_min(TINY)).clamp_max(1.0)
        return into_bounds(torch.where(per_row(shrink, y) < 1, x + delta * per_row(shrink, y), y), space)

    def draw(self, x: Tensor, space: Space, radius: Radius, rng: SampleRandom, tag: str) -> Tensor:
        direction = rng.normal(tag, tuple(x.shape[1:])).to(x)
        coordinates = direction[0].numel() if len(x) else 1
        share = rng.uniform(tag + "/radius", ()).to(x) ** (1 / coordinates)
        return x + direction * per_row(share * radius * self._unit(x) / euclidean(direction).clamp_min(TINY), x)

    def steepest_step(self, gradient: Tensor, at: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        return gradient * per_row(radius * self._unit(x) / euclidean(gradient).clamp_min(TINY), gradient)


class SumOfChanges:
    """l1. `project` is the exact projection onto the intersection of ball and bounds (Croce and Hein 2021, arXiv
    2103.01208, proposition 2.1): the two one after the other would waste budget on coordinates that the bounds cut off.
    Steps are sparse (SLIDE, arXiv 1904.13000)."""

    def distance(self, y: Tensor, x: Tensor, space: Space) -> Tensor:
        return _length((y - x).flatten(1), 1, order=1)

    def project(self, y: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        if y.device.type in WITHOUT_FLOAT64:
            held = radius.cpu() if isinstance(radius, Tensor) else radius
            return self.project(y.cpu(), x.cpu(), space, held).to(y.device)
        inside = into_bounds(y, space)
        too_far = self.distance(inside.double(), x.double(), space) > radius
        if not too_far.any():
            return inside
        wish = (y - x).abs().flatten(1).double()
        room = (inside - x).abs().flatten(1).double()  # how far the bounds let each coordinate go towards its wish
        # soft threshold t: coordinate i moves min(max(wish_i - t, 0), room_i); the sum falls with t, so bisection finds
        # the t that spends the radius
        low, high = wish.new_zeros(len(y), 1), wish.amax(dim=1, keepdim=True)
        for _ in range(60):
            middle = (low + high) / 2
            spends_more = (torch.minimum((wish - middle).clamp_min(0), room).sum(dim=1) > radius)[:, None]
            low, high = torch.where(spends_more, middle, low), torch.where(spends_more, high, middle)
        moved = torch.minimum((wish - high).clamp_min(0), room).reshape(y.shape)
        reached = into_bounds(x + moved.to(y.dtype) * (y - x).sign(), space)
        # x + moved is rounded: over thousands of coordinates the roundings add up to more than any slack, so none may
        # go away from x
        reached = torch.where((reached.double() - x.double()).abs() > moved, torch.nextafter(reached, x), reached)
        return torch.where(per_row(too_far, y), reached, inside)

    def draw(self, x: Tensor, space: Space, radius: Radius, rng: SampleRandom, tag: str) -> Tensor:
        direction = (
            rng.uniform(tag, tuple(x.shape[1:])).to(x).clamp_min(TINY).log()
            * rng.normal(tag + "/sign", tuple(x.shape[1:])).to(x).sign()
        )
        coordinates = direction[0].numel() if len(x) else 1
        share = rng.uniform(tag + "/radius", ()).to(x) ** (1 / coordinates)
        return x + direction * per_row(share * radius / direction.flatten(1).abs().sum(dim=1).clamp_min(TINY), x)

    def steepest_step(self, gradient: Tensor, at: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        useful = gradient
        if space.high is not None:  # a coordinate at its bound cannot follow its gradient any further
            useful = torch.where((at >= space.high) & (gradient > 0), 0.0, useful)
        if space.low is not None:
            useful = torch.where((at <= space.low) & (gradient < 0), 0.0, useful)
        flat = useful.flatten(1)
        count = max(1, int(SPARSE * flat.shape[1]))
        best = flat.abs().topk(count, dim=1).indices
        chosen = torch.zeros_like(flat).scatter(1, best, flat.gather(1, best).sign())
        return (chosen * (radius / chosen.abs().sum(dim=1).clamp_min(1))[:, None]).reshape(gradient.shape)


class ElementLength:
    """pointwise_l2: the Euclidean length over one element's own coordinates, the largest over elements (l2,inf).
    Clamping shortens, as for l2.
    """

    def _lengths(self, delta: Tensor, space: Space) -> Tensor:
        return _length(delta, space.element_axes, keepdim=True)

    def distance(self, y: Tensor, x: Tensor, space: Space) -> Tensor:
        return self._lengths(y - x, space).flatten(1).amax(dim=1)

    def project(self, y: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        delta = y - x
        shrink = (_reach(radius, y) / self._lengths(delta, space).clamp_min(TINY)).clamp_max(1.0)
        return into_bounds(torch.where(shrink < 1, x + delta * shrink, y), space)

    def draw(self, x: Tensor, space: Space, radius: Radius, rng: SampleRandom, tag: str) -> Tensor:
        direction = rng.normal(tag, tuple(x.shape[1:])).to(x)
        lengths = self._lengths(direction, space)
        size = 1
        for axis in space.element_axes:
            size *= x.shape[axis]
        share = rng.uniform(tag + "/radius", tuple(lengths.shape[1:])).to(x) ** (1 / size)
        return x + direction * (share * _reach(radius, x) / lengths.clamp_min(TINY))

    def steepest_step(self, gradient: Tensor, at: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        return gradient * (_reach(radius, gradient) / self._lengths(gradient, space).clamp_min(TINY))


def events_held(x: Float[Tensor, "b ..."]) -> Int[Tensor, " b"]:
    """How many cells of each row's event frames hold an event; at least 1, so that a share of them has a meaning."""
    return (x != 0).flatten(1).sum(dim=1).clamp_min(1)


def cells_allowed(x: Float[Tensor, "b ..."], radius: Radius) -> Int[Tensor, " b"]:
    """How many cells of each row may change when `radius` is a share of its events."""
    held = in_float64(events_held(x))
    # a share that was measured in float32 is off by up to 6e-8, and must still allow the cells that it counts
    allowed = in_float64(radius) * held + 5e-7 * held if isinstance(radius, Tensor) else radius * held + 1e-9
    return allowed.floor().long().to(x.device)


def most_changed(score: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], radius: Radius) -> Bool[Tensor, "b ..."]:
    """As many cells per row as a share of events allows, those of highest score."""
    flat = score.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    among_first = torch.arange(flat.shape[1], device=x.device)[None, :] < cells_allowed(x, radius)[:, None]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, order, among_first).reshape(x.shape)


class ShareOfEvents:
    """event_share: cells that change over cells that hold an event. A cell of event frames tells when its last event
    was, so that a changed cell is an event added, dropped or moved in time. Budget and steps are those of an l0 ball
    whose size depends on the sample (ours; kin to PGD-l0, Croce and Hein 2019, arXiv 1909.05040)."""

    def distance(self, y: Tensor, x: Tensor, space: Space) -> Tensor:
        share = in_float64((y != x).flatten(1).sum(dim=1)) / in_float64(events_held(x))
        return share.to(y.dtype if y.is_floating_point() else torch.float32).to(y.device)

    def project(self, y: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        inside = into_bounds(y, space)
        return torch.where(most_changed((inside - x).abs(), x, radius), inside, x)

    def draw(self, x: Tensor, space: Space, radius: Radius, rng: SampleRandom, tag: str) -> Tensor:
        chosen = most_changed(rng.uniform(tag + "/cells", tuple(x.shape[1:])).to(x), x, radius)
        return torch.where(chosen, rng.uniform(tag, tuple(x.shape[1:])).to(x), x)

    def steepest_step(self, gradient: Tensor, at: Tensor, x: Tensor, space: Space, radius: Radius) -> Tensor:
        """Towards the corner of the budget that a linear function gains most from: cells that earlier steps chose and
        this one does not go back.
        """
        low, high = space.low or 0.0, space.high if space.high is not None else 1.0
        corner = torch.where(gradient > 0, high, torch.where(gradient < 0, low, x))
        corner = torch.where(most_changed(gradient * (corner - x), x, radius), corner, x)
        return torch.where(per_row((gradient != 0).flatten(1).any(dim=1), x), corner - at, 0.0)

    def needed(self, gain: Tensor, gradient: Tensor, at: Tensor, x: Tensor, space: Space) -> Tensor:
        """See `radius_for`; more than is gained at `at` takes at least one cell more than have changed there."""
        low, high = space.low or 0.0, space.high if space.high is not None else 1.0
        gains = (
            (gradient * (torch.where(gradient > 0, high, low) - x))
            .flatten(1)
            .clamp_min(0)
            .sort(dim=1, descending=True, stable=True)
            .values
        )
        held, changed = events_held(x), (at != x).flatten(1).sum(dim=1)
        missing = gain + (gradient * (at - x)).flatten(1).sum(dim=1)  # from the sample itself
        total = in_float64(gains).cumsum(dim=1)
        cells = (total < missing.to(total.device)[:, None]).sum(dim=1).to(x.device) + (missing > 0)
        return torch.where(gain > 0, torch.maximum(cells, changed + 1), cells).to(x.dtype) / held


GEOMETRIES: dict[str, Geometry] = {
    "linf": LargestChange(),
    "l2": EuclideanLength(),
    "snr": EuclideanLength(relative=True),
    "l1": SumOfChanges(),
    "pointwise_l2": ElementLength(),
    "event_share": ShareOfEvents(),
}


def radius_for(
    gain: Float[Tensor, " b"],
    gradient: Float[Tensor, "b ..."],
    at: Float[Tensor, "b ..."],
    x: Float[Tensor, "b ..."],
    space: Space,
    norm: str,
) -> Float[Tensor, " b"]:
    """The radius around `x` at which a linear function with this gradient reaches so much more (or less) than at `at`,
    along the best step from there and regardless of bounds; infinite where the gradient is zero."""
    geometry = GEOMETRIES[norm]
    if isinstance(geometry, ShareOfEvents):
        return geometry.needed(gain, gradient, at, x, space)
    slope = (gradient * geometry.steepest_step(gradient, at, x, space, 1.0)).flatten(1).sum(dim=1)
    return geometry.distance(at, x, space) + (gain / slope).nan_to_num(
        nan=torch.inf, posinf=torch.inf, neginf=-torch.inf
    )


def distance(y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, norm: str) -> Float[Tensor, " b"]:
    """Norm of each row's perturbation, in the unit of the norm's radius (snr: the ratio of amplitudes)."""
    return GEOMETRIES[norm].distance(y, x, space)


def project(
    y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, budget: Budget
) -> Float[Tensor, "b ..."]:
    """`y` brought into the budget around `x` and into the space's bounds; points already inside stay where they are."""
    return GEOMETRIES[budget.norm].project(y, x, space, budget.radius)


def random_start(
    x: Float[Tensor, "b ..."], space: Space, budget: Budget, rng: SampleRandom, tag: str
) -> Float[Tensor, "b ..."]:
    """A random point of the budget around each row of `x` (uniform in the ball for linf, l2, l1, pointwise_l2), then
    brought into the bounds.
    """
    return project(GEOMETRIES[budget.norm].draw(x, space, budget.radius, rng, tag), x, space, budget)


def steepest_step(
    gradient: Float[Tensor, "b ..."],
    x: Float[Tensor, "b ..."],
    space: Space,
    budget: Budget,
    at: Float[Tensor, "b ..."] | None = None,
) -> Float[Tensor, "b ..."]:
    """The step of the whole radius along which a linear function with this gradient grows fastest; attacks take shares
    of it.

    `at`: where the step begins (None: at `x`); l1 and event_share steps look at it. A row whose gradient is zero does
    not move.
    """
    return GEOMETRIES[budget.norm].steepest_step(gradient, x if at is None else at, x, space, budget.radius)


def unit(direction: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """Each row scaled to Euclidean length 1; a row of zeros stays zero."""
    return direction / per_row(euclidean(direction).clamp_min(1e-30), direction)


def enforce(y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, budget: Budget) -> None:
    """Raises BrokenPostCondition unless every row of `y` is finite, within `budget` of `x` and within the bounds of
    `space`.
    """
    if y.shape != x.shape:
        raise BrokenPostCondition(f"shape {tuple(y.shape)} came back for inputs of shape {tuple(x.shape)}")
    if not len(y):
        return
    finite = torch.isfinite(y).flatten(1).all(dim=1)
    if not finite.all():
        raise BrokenPostCondition(f"row {int((~finite).nonzero()[0])} is not finite")
    y64, x64 = in_float64(y), in_float64(x)
    # Coordinates beyond 1 (an unbounded log-mel) carry proportionally more rounding, and a length adds it up over
    # coordinates.
    slack = SLACK * max(1.0, float(x64.abs().max())) * (max(1.0, budget.radius) if budget.norm in ("l2", "l1") else 1.0)
    used = distance(y64, x64, space, budget.norm)
    if not (used <= budget.radius + slack).all():
        row = int(used.argmax())
        raise BrokenPostCondition(
            f"row {row} spends {float(used[row]):.8g} of a {budget.norm} budget of {budget.radius:.8g} in {space.name}"
        )
    low, high = float(y64.min()), float(y64.max())
    if (space.low is not None and low < space.low - SLACK) or (space.high is not None and high > space.high + SLACK):
        raise BrokenPostCondition(
            f"values reach [{low:.8g}, {high:.8g}], outside the bounds [{space.low}, {space.high}] of {space.name}"
        )
