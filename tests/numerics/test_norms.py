"""Projections, starts and steps as maths; post-conditions against every kind of violation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM, log_mel
from ironbind.numerics.norms import (
    GEOMETRIES,
    BrokenPostCondition,
    distance,
    enforce,
    into_bounds,
    per_row,
    project,
    radius_for,
    random_start,
    steepest_step,
    unit,
)
from ironbind.types import L2, NORMS, SNR, Budget, Linf, Space
from toys import rng

FREE = Space("free", "anything")
ABOVE = Space("above", "anything", low=0.0)
BELOW = Space("below", "anything", high=1.0)
BOX = Space("box", "anything", 0.0, 1.0)
# elements are rows of the last axis here, so that every norm has a meaning in every space
SPACES = tuple(
    replace(one, element_axes=(-1,))
    for one in (PIXELS, WAVEFORM, UNIT_SPHERE, EVENT_FRAMES, log_mel(80.0), FREE, ABOVE, BELOW)
)
ROWS = replace(FREE, element_axes=(-1,))

spaces = st.sampled_from(SPACES)
norms = st.sampled_from(list(NORMS))
radii = st.sampled_from((0.0, 1e-3, 4 / 255, 0.1, 0.5, 2.0))
seeds = st.integers(0, 10_000)


def length(delta: torch.Tensor, norm: str) -> torch.Tensor:
    return distance(delta, torch.zeros_like(delta), ROWS, norm)


def points(space: Space, seed: int, shape=(5, 2, 7), scale=1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """`x` inside the space, `y` anywhere near it; coordinates of both often on a bound."""
    generator = torch.Generator().manual_seed(seed)
    x = into_bounds(scale * torch.randn(shape, generator=generator), space)
    return x, x + torch.randn(shape, generator=generator) * torch.rand((shape[0], 1, 1), generator=generator) * 3


def test_length_is_numpys():
    x, _ = points(FREE, 0)
    flat = x.flatten(1).double().numpy()
    assert np.allclose(length(x, "linf"), np.linalg.norm(flat, np.inf, axis=1), atol=1e-7)
    assert np.allclose(length(x, "l2"), np.linalg.norm(flat, 2, axis=1), atol=1e-6)
    assert length(-x, "linf").equal(length(x, "linf"))


def test_length_of_known_vectors():
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert length(x, "l2").tolist() == [5.0, 0.0]
    assert length(x, "linf").tolist() == [4.0, 0.0]


def test_per_row_broadcasts_over_all_but_the_first_axis():
    assert per_row(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape == (2, 1, 1)


@pytest.mark.bits
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(111, 41), (1027, 3)])
def test_a_row_is_the_same_bits_in_every_batch(norm, shape):
    space, budget = replace(PIXELS, element_axes=(-1,)), Budget(norm, 0.1, "0.1")
    x, y = points(space, 0, (9, *shape))
    gradient = torch.randn(9, *shape, generator=torch.Generator().manual_seed(1))
    gain = torch.full((9,), 0.1)
    functions = {
        "distance": lambda rows: distance(y[rows], x[rows], space, norm),
        "project": lambda rows: project(y[rows], x[rows], space, budget),
        "step": lambda rows: steepest_step(gradient[rows], x[rows], space, budget, y[rows]),
        "radius": lambda rows: radius_for(gain[rows], gradient[rows], y[rows], x[rows], space, norm),
        "unit": lambda rows: unit(gradient[rows]),
    }
    for name, function in functions.items():
        whole = function(slice(0, 9))
        for size in (1, 2, 3, 4, 5):
            parts = [function(slice(first, first + size)) for first in range(0, 9, size)]
            assert torch.cat(parts).equal(whole), (name, size)


@given(space=spaces, norm=norms, radius=radii, seed=seeds)
def test_a_projection_lands_in_ball_and_box_and_stays_there(space, norm, radius, seed):
    x, y = points(space, seed)
    budget = Budget(norm, radius, str(radius))
    once = project(y, x, space, budget)
    enforce(once, x, space, budget)
    assert torch.allclose(project(once, x, space, budget), once, atol=1e-6)


@given(space=spaces, norm=norms, seed=seeds)
def test_points_inside_stay_bit_for_bit(space, norm, seed):
    x, y = points(space, seed)
    y = into_bounds(y, space)
    budget = Budget(norm, float(distance(y, x, space, norm).max()) * 1.01 + 1e-6, "r")
    assert project(y, x, space, budget).equal(y)
    assert project(x, x, space, budget).equal(x)


@given(
    norm=st.sampled_from([one for one in NORMS if one != "event_share"]),
    radius=st.sampled_from((1e-3, 4 / 255, 0.1, 0.5)),
    seed=seeds,
)
def test_points_outside_land_on_the_sphere(norm, radius, seed):
    x, y = points(FREE, seed)
    outside = distance(y, x, ROWS, norm) > radius * 1.01
    landed = distance(project(y, x, ROWS, Budget(norm, radius, "r")), x, ROWS, norm)
    assert torch.allclose(landed[outside], torch.full_like(landed[outside], radius), atol=1e-6)


@given(radius=st.sampled_from((0.1, 0.5)), seed=seeds)
def test_an_l2_projection_keeps_the_direction(radius, seed):
    x, y = points(FREE, seed)
    moved = project(y, x, FREE, L2(radius)) - x
    assert torch.nn.functional.cosine_similarity(moved.flatten(1), (y - x).flatten(1)).min() > 1 - 1e-5


@given(space=spaces, radius=radii, seed=seeds)
def test_an_linf_projection_is_the_nearest_feasible_point(space, radius, seed):
    x, y = points(space, seed)
    low, high = space.low if space.low is not None else -math.inf, space.high if space.high is not None else math.inf
    nearest = np.clip(
        np.clip(y.numpy(), x.numpy() - np.float32(radius), x.numpy() + np.float32(radius)),
        np.float32(low),
        np.float32(high),
    )
    assert np.array_equal(project(y, x, space, Linf(radius)).numpy(), nearest)


@given(space=spaces, norm=norms, radius=radii, seed=seeds)
def test_rows_are_projected_independently(space, norm, radius, seed):
    x, y = points(space, seed)
    budget = Budget(norm, radius, "r")
    whole = project(y, x, space, budget)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert project(y[order], x[order], space, budget).equal(whole[order])
    assert torch.cat([project(y[i : i + 1], x[i : i + 1], space, budget) for i in range(5)]).equal(whole)


@given(space=spaces, norm=norms, seed=seeds)
def test_radius_zero_gives_the_sample_back(space, norm, seed):
    x, y = points(space, seed)
    budget = Budget(norm, 0.0, "0")
    assert project(y, x, space, budget).equal(x)
    assert random_start(x, space, budget, rng(5), "start").equal(x)


@given(space=spaces, norm=norms, radius=radii, seed=seeds)
def test_random_starts_keep_the_budget_and_repeat(space, norm, radius, seed):
    x, _ = points(space, seed)
    budget = Budget(norm, radius, "r")
    start = random_start(x, space, budget, rng(5, seed), "start")
    enforce(start, x, space, budget)
    assert start.equal(random_start(x, space, budget, rng(5, seed), "start"))
    rows = torch.tensor([3, 0])
    assert random_start(x[rows], space, budget, rng(5, seed)[rows], "start").equal(start[rows])
    if radius and norm != "event_share":  # a small share may be less than one event
        assert not start.equal(random_start(x, space, budget, rng(5, seed), "another start"))


def test_random_starts_fill_the_ball_uniformly():
    n = 4000
    x = torch.zeros(n, 3)
    inside = random_start(x, FREE, L2(2.0), rng(n), "start")
    cubed = (length(inside, "l2") / 2) ** 3  # uniform on [0, 1] for a uniform point of a 3-d ball
    assert torch.allclose(
        cubed.quantile(torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])), torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]), atol=0.03
    )
    assert inside.mean(dim=0).abs().max() < 0.06
    box = random_start(x, FREE, Linf(2.0), rng(n), "start")
    assert torch.allclose(box.quantile(torch.tensor([0.25, 0.5, 0.75])), torch.tensor([-1.0, 0.0, 1.0]), atol=0.06)
    assert box.min() < -1.99
    assert box.max() > 1.99


def test_random_starts_of_nobody():
    assert random_start(torch.zeros(0, 3), FREE, L2(1.0), rng(0), "start").shape == (0, 3)
    assert random_start(torch.zeros(0, 3), FREE, Linf(1.0), rng(0), "start").shape == (0, 3)


@given(arrays(np.float32, (3, 6), elements=st.floats(-100, 100, width=32)))
def test_the_stride_grows_a_linear_function_fastest(gradient):
    gradient = torch.from_numpy(gradient)
    x = torch.full((3, 6), 0.5)
    others = torch.randn(200, 3, 6, generator=torch.Generator().manual_seed(0))
    duals = {
        "linf": gradient.abs().sum(dim=1),
        "l2": gradient.norm(dim=1),
        "pointwise_l2": gradient.norm(dim=1),
        "snr": gradient.norm(dim=1) * x.norm(dim=1),
    }
    for norm, dual in duals.items():
        step = steepest_step(gradient, x, ROWS, Budget(norm, 2.0, "2"))
        gain = (step * gradient).sum(dim=1)
        first = x[:1].expand(200, 6)
        used = distance(first + others[:, 0], first, ROWS, norm)
        rivals = 2.0 * others[:, 0] / used[:, None]
        assert (distance(x + step, x, ROWS, norm) <= 2 + 1e-4).all()
        assert gain[0] + 1e-2 >= (rivals * gradient[0]).sum(dim=1).max()
        assert torch.allclose(gain, 2 * dual, rtol=1e-4)


def test_roundings_of_an_l1_projection_do_not_add_up():
    """After many small steps over thousands of coordinates; each rounding away from the sample would count."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (8, 3, 32, 32), generator=generator) / 255
    for radius in (1.0, 5.0, 20.0):
        budget, y = Budget("l1", radius, "r"), x
        for _ in range(20):
            y = project(
                y + 0.125 * steepest_step(torch.randn(x.shape, generator=generator), x, BOX, budget, at=y),
                x,
                BOX,
                budget,
            )
            assert (distance(y.double(), x.double(), BOX, "l1") <= radius + 1e-9).all()


def test_an_l1_stride_moves_the_steepest_coordinates_that_can_still_move():
    x = torch.full((1, 40), 0.5)
    gradient = torch.arange(40.0)[None]
    at = x.clone()
    at[0, 39] = 1.0  # the steepest is at its bound
    step = steepest_step(gradient, x, BOX, Budget("l1", 1.0, "1"), at=at)
    assert step.nonzero()[:, 1].tolist() == [37, 38]
    assert step.sum() == 1.0


@given(radius=st.sampled_from((0.1, 0.5, 2.0, 5.0)), seed=seeds)
def test_an_l1_projection_is_the_nearest_feasible_point(radius, seed):
    """Against random feasible points: none is nearer."""
    x, y = points(BOX, seed, shape=(4, 1, 6))
    budget = Budget("l1", radius, "r")
    nearest = project(y, x, BOX, budget)
    distance = (nearest - y).flatten(1).norm(dim=1)
    for draw in range(20):
        other = random_start(x, BOX, budget, rng(4, seed), f"{draw}")
        between = nearest + 0.1 * (other - nearest)  # feasible too, as the budget is convex
        assert ((between - y).flatten(1).norm(dim=1) >= distance - 1e-5).all()


def test_a_share_of_events_counts_cells_that_hold_one():
    x = torch.zeros(2, 1, 10)
    x[0, 0, :5] = 0.5
    x[1, 0, :2] = 0.5
    y = x + 0.3
    kept = project(y, x, EVENT_FRAMES, Budget("event_share", 0.4, "0.4"))
    assert (kept != x).flatten(1).sum(dim=1).tolist() == [2, 0]  # 40 % of five cells, 40 % of two
    step = steepest_step(
        torch.tensor([[[9.0, 1, 1, 1, 1, 8, 1, 1, 1, 1]]]), x[:1], EVENT_FRAMES, Budget("event_share", 0.4, "0.4")
    )
    assert step.flatten().nonzero().flatten().tolist() == [0, 5]  # one moved in time, one added
    assert (x[:1] + step).flatten()[[0, 5]].tolist() == [1.0, 1.0]


def test_a_signal_to_noise_ratio_follows_the_sound():
    loud, soft = torch.full((1, 1, 100), 0.5), torch.full((1, 1, 100), 0.01)
    x = torch.cat([loud, soft])
    y = random_start(x, WAVEFORM, SNR("20 dB"), rng(2), "start")
    noise = (project(x + 10 * (y - x), x, WAVEFORM, SNR("20 dB")) - x).flatten(1).norm(dim=1)
    assert torch.allclose(20 * torch.log10(x.flatten(1).norm(dim=1) / noise), torch.tensor([20.0, 20.0]), atol=1e-3)


@pytest.mark.parametrize("norm", list(NORMS))
def test_a_zero_gradient_goes_nowhere(norm):
    assert steepest_step(torch.zeros(2, 4), torch.ones(2, 4), ROWS, Budget(norm, 1.0, "1")).equal(torch.zeros(2, 4))


# ------------------------------------------------------------------------------------------------- radii per row


@given(space=spaces, norm=norms, seed=seeds)
def test_a_radius_per_row_is_a_radius_for_each_row(space, norm, seed):
    x, y = points(space, seed)
    geometry, every = GEOMETRIES[norm], torch.tensor([0.0, 0.125, 0.5, 1.0, 2.0])
    gradient = y - x.flip(0)
    landed = geometry.project(y, x, space, every)
    drawn = geometry.draw(x, space, every, rng(5, seed), "start")
    step = geometry.steepest_step(gradient, x, x, space, every)
    for row, radius in enumerate(every.tolist()):
        alone = slice(row, row + 1)
        assert landed[alone].equal(geometry.project(y[alone], x[alone], space, radius))
        assert torch.allclose(
            drawn[alone],
            geometry.draw(x[alone], space, radius, rng(5, seed)[torch.tensor([row])], "start"),
            rtol=1e-6,
            atol=1e-7,
        )
        assert step[alone].equal(geometry.steepest_step(gradient[alone], x[alone], x[alone], space, radius))
        enforce(landed[alone], x[alone], space, Budget(norm, radius, "r"))


@given(space=spaces, norm=norms, seed=seeds, share=st.sampled_from((0.2, 0.7, 1.0001, 1.5)))
def test_rows_are_projected_onto_spheres_of_their_own(space, norm, seed, share):
    """Inside: bit for bit the same. Outside: on the sphere, where no bound is in the way. Twice is once."""
    x, y = points(space, seed)
    geometry, y = GEOMETRIES[norm], into_bounds(y, space)
    away = geometry.distance(y, x, space)
    radius = share * away
    landed = geometry.project(y, x, space, radius)
    if share >= 1:
        assert landed.equal(y)
    else:
        left = geometry.distance(landed, x, space)
        assert (left <= radius + 1e-6 * away.clamp_min(1)).all()
        if norm != "event_share":  # a cell changes or does not
            assert torch.allclose(left, radius, rtol=1e-5, atol=1e-6)
    assert torch.allclose(geometry.project(landed, x, space, radius), landed, atol=1e-6)


@given(held=st.integers(1, 5000), seed=seeds)
def test_a_share_of_events_that_was_measured_allows_the_cells_it_counts(held, seed):
    x = torch.zeros(1, 2, 3000)
    x.flatten()[:held] = 0.5
    y = x.clone()
    changed = 1 + seed % held
    y.flatten()[:changed] = 0.25
    share = GEOMETRIES["event_share"].distance(y, x, EVENT_FRAMES)
    assert GEOMETRIES["event_share"].project(y, x, EVENT_FRAMES, share).equal(y)
    fewer = GEOMETRIES["event_share"].project(y, x, EVENT_FRAMES, share - 0.5 / held)
    assert (fewer != x).sum() == changed - 1


@given(
    norm=st.sampled_from([one for one in NORMS if one not in ("event_share", "l1")]),
    gain=st.sampled_from((-0.5, 0.0, 0.3, 2.0)),
    seed=seeds,
)
def test_the_radius_for_a_gain_is_where_the_best_step_gains_it(norm, gain, seed):
    """From `at` outwards along the stride: the linear function has gained so much when the perturbation has grown by so
    much.
    """
    x, at = points(FREE, seed)
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    radius = radius_for(torch.full((5,), gain), gradient, at, x, ROWS, norm)
    further = radius - distance(at, x, ROWS, norm)
    step = GEOMETRIES[norm].steepest_step(gradient, at, x, ROWS, 1.0) * further.reshape(-1, 1, 1)
    assert torch.allclose((gradient * step).flatten(1).sum(dim=1), torch.full((5,), gain), atol=1e-4)
    assert radius_for(torch.full((5,), 1.0), 0 * gradient, at, x, ROWS, norm).isinf().all()


@given(seed=seeds, missing=st.sampled_from((0.01, 0.5, 3.0, 6.0)))
def test_the_radius_for_a_gain_in_events_is_the_fewest_cells(seed, missing):
    draw = torch.Generator().manual_seed(seed)
    x = torch.where(torch.rand(4, 1, 60, generator=draw) < 0.3, 0.5, 0.0)
    x[:, 0, 0] = 0.5
    gradient = torch.randn(4, 1, 60, generator=draw)
    gains = torch.where(gradient > 0, gradient * (1 - x), -gradient * x).flatten(1)
    for row in range(4):
        ordered, cells = gains[row].sort(descending=True).values.tolist(), 0
        while cells < 60 and sum(ordered[:cells]) < missing:
            cells += 1
        found = radius_for(
            torch.full((1,), missing),
            gradient[row : row + 1],
            x[row : row + 1],
            x[row : row + 1],
            EVENT_FRAMES,
            "event_share",
        )
        assert round(float(found) * int((x[row] != 0).sum())) == (cells if sum(ordered[:cells]) >= missing else 61)
    at = x.clone()
    at[:, 0, 5:25] = 1.0  # whatever a linear function says, more than is gained there needs one cell more
    more = radius_for(torch.full((4,), 1e-6), 1e-6 * gradient, at, x, EVENT_FRAMES, "event_share")
    assert (more > distance(at, x, EVENT_FRAMES, "event_share")).all()


# ------------------------------------------------------------------------------------------------------- enforce


def test_enforce_lets_rounding_pass():
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for radius in (4 / 255, 1 / 3):
        enforce((x + radius).clamp(0, 1), x, PIXELS, Linf(radius))
        enforce((x - radius).clamp(0, 1), x, PIXELS, Linf(radius))
    loud = 300 * torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    enforce(loud + 0.1, loud, FREE, Linf(0.1))
    enforce(torch.zeros(0, 3), torch.zeros(0, 3), PIXELS, Linf(0.1))


@pytest.mark.parametrize(
    ("row", "budget", "message"),
    [
        ([math.nan, 0.5], Linf(0.1), "row 1 is not finite"),
        ([math.inf, 0.5], Linf(0.1), "row 1 is not finite"),
        ([0.60001, 0.5], Linf(0.1), "row 1 spends 0.10000"),
        ([0.5, 0.39999], Linf(0.1), "row 1 spends 0.10001"),
        ([0.58, 0.58], L2(0.1), "row 1 spends 0.11313"),
        ([-0.00001, 0.5], Linf(0.6), "outside the bounds"),
        ([1.00001, 0.5], Linf(0.6), "outside the bounds"),
    ],
)
def test_enforce_names_what_is_broken(row, budget, message):
    x = torch.full((3, 2), 0.5)
    y = x.clone()
    y[1] = torch.tensor(row)
    with pytest.raises(BrokenPostCondition, match=message):
        enforce(y, x, PIXELS, budget)


def test_enforce_checks_each_bound_on_its_own():
    x = torch.full((1, 2), 0.5)
    enforce(x + 9, x, ABOVE, Linf(10))
    enforce(x - 9, x, BELOW, Linf(10))
    with pytest.raises(BrokenPostCondition, match="outside the bounds"):
        enforce(x - 9, x, ABOVE, Linf(10))
    with pytest.raises(BrokenPostCondition, match="outside the bounds"):
        enforce(x + 9, x, BELOW, Linf(10))


def test_enforce_compares_shapes():
    with pytest.raises(BrokenPostCondition, match=r"shape \(1, 2\) came back for inputs of shape \(2, 2\)"):
        enforce(torch.zeros(1, 2), torch.zeros(2, 2), PIXELS, Linf(0.1))


@pytest.mark.parametrize(("size", "radius"), [(1_000_000, 1e-2), (150_528, 1e-3), (150_528, 3.0), (1_000_000, 300.0)])
def test_an_l2_budget_over_many_coordinates_is_kept(size, radius):
    x = torch.rand(1, size, generator=torch.Generator().manual_seed(0))
    step = unit(torch.randn(1, size, generator=torch.Generator().manual_seed(1)))
    for length in (radius, radius * 1.7):
        for space in (PIXELS, FREE):
            enforce(project(x + length * step, x, space, L2(radius)), x, space, L2(radius))


@pytest.mark.parametrize(
    ("at", "budget", "slack"),
    [
        (0.5, Linf(0.1), 1e-6),
        (-0.5, L2(0.1), 1e-6),
        (-100.0, Linf(0.1), 1e-4),
        (100.0, Linf(20.0), 1e-4),
        (0.5, L2(10.0), 1e-5),
        (-100.0, L2(10.0), 1e-3),
    ],
)
def test_the_slack_is_rounding_and_no_more(at, budget, slack):
    x = torch.full((2, 1), at, dtype=torch.float64)
    for sign in (-1, 1):
        enforce(x + sign * (budget.radius + 0.9 * slack), x, FREE, budget)
        with pytest.raises(BrokenPostCondition, match="spends"):
            enforce(x + sign * (budget.radius + 1.1 * slack), x, FREE, budget)
    inside = torch.full((1, 1), 0.5, dtype=torch.float64)
    for edge, sign in ((0.0, -1), (1.0, 1)):
        enforce(inside * 0 + edge + sign * 0.9e-6, inside, BOX, Linf(1))
        with pytest.raises(BrokenPostCondition, match="outside the bounds"):
            enforce(inside * 0 + edge + sign * 1.1e-6, inside, BOX, Linf(1))
