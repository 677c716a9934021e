"""Square Attack: its tiles as geometry, its search on functions whose optimum is known, and that nothing depends on
neighbours.
"""

import pytest
import torch

from ironbind.attacks.square import Boxes, Layout, Neighbourhoods, Square, share_at
from ironbind.core.errors import InputError
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM, log_mel
from ironbind.numerics.norms import distance, enforce, random_start
from ironbind.types import L1, L2, SNR, EventShare, Linf, PointwiseL2, Space
from toys import Conv, NotANumber, Scorer, ToyData, rng

FREE = Space("free", "anything")
CPU = torch.device("cpu")


def flat(x):
    return x.flatten(1)


# ----------------------------------------------------------------------------------------------------------- tiles


def test_the_schedule_is_the_papers():
    marks = {0: 1, 10: 1, 11: 2, 50: 2, 51: 4, 200: 4, 201: 8, 500: 8, 501: 16, 1000: 16, 1001: 32, 2000: 32, 2001: 64,
             4000: 64, 4001: 128, 6000: 128, 6001: 256, 8000: 256, 8001: 512, 9999: 512}  # fmt: skip
    assert {query: 0.8 / share_at(query, 10000, 0.8) for query in marks} == marks
    assert share_at(11, 1000, 0.8) == share_at(110, 10000, 0.8)


@pytest.mark.parametrize(
    ("shape", "space", "channels", "lengths"),
    [
        ((3, 8, 6), PIXELS, 3, (8, 6)),
        ((5, 3, 8, 8), PIXELS, 3, (5, 8, 8)),
        ((1, 8, 8), PIXELS, 1, (8, 8)),
        ((2, 8, 8), EVENT_FRAMES, 2, (8, 8)),
        ((1, 9, 7), log_mel(80.0), 1, (9, 7)),
        ((1, 50), WAVEFORM, 1, (50,)),
        ((20,), FREE, 1, (20,)),
        ((3,), PIXELS, 1, (3,)),
        ((1,), FREE, 1, ()),
    ],
)
def test_a_tile_is_a_box_over_the_axes_outside_of_elements(shape, space, channels, lengths):
    layout = Layout.of(shape, space, CPU)
    assert layout.tiles == Boxes(lengths)
    assert len(layout.coordinates) == channels
    size = torch.Size(shape).numel()
    assert layout.coordinates.flatten().sort().values.equal(torch.arange(size))
    where = torch.rand(200, layout.tiles.draws, generator=torch.Generator().manual_seed(0))
    for share in (0.001, 0.1, 0.5, 1.0):
        at = layout.at(layout.tiles.cells(share, where, torch.empty(200, 0, 0)))
        sides = layout.tiles.sides(share)
        mask = torch.zeros(200, size).scatter(1, at, 1.0).reshape(200, *shape)
        assert (flat(mask).sum(dim=1) == channels * torch.Size(sides).numel()).all()
        spanned = [
            axis for axis, length in enumerate(shape) if length > 1 and axis - len(shape) not in space.element_axes
        ]
        for axis, length, side in zip(spanned, lengths, sides, strict=True):
            hit = mask.movedim(axis + 1, 1).reshape(200, length, -1).amax(dim=2)  # row x place on the axis
            first = hit.argmax(dim=1)
            assert (hit.sum(dim=1) == side).all()
            assert all(row[start : start + side].all() for row, start in zip(hit, first.tolist(), strict=True))
            if length - side < 20:
                assert set(first.tolist()) == set(range(length - side + 1))  # every place, the last one too


def test_on_square_pictures_the_side_is_the_papers():
    for share in (0.8, 0.4, 0.05, 0.8 / 512):
        assert Boxes((32, 32)).sides(share) == (max(1, round((share * 32 * 32) ** 0.5)),) * 2


def test_neighbourhoods_are_the_nearest_points():
    layout = Layout.of((40, 3), UNIT_SPHERE, CPU)
    assert layout.tiles == Neighbourhoods(40)
    x = 2 * torch.rand(6, 40, 3, generator=torch.Generator().manual_seed(0)) - 1
    where = torch.rand(6, 1, generator=torch.Generator().manual_seed(1))
    found = layout.tiles.cells(0.25, where, flat(x)[:, layout.coordinates])
    assert found.shape == (6, 10)
    for row in range(6):
        middle = int(where[row, 0] * 40)
        expected = (x[row] - x[row, middle]).norm(dim=1).topk(10, largest=False).indices
        assert set(found[row].tolist()) == set(expected.tolist())
        assert (
            layout.at(found)[row].sort().values.equal((3 * expected[:, None] + torch.arange(3)).flatten().sort().values)
        )


def test_the_l2_pattern_is_two_pyramids_of_opposite_sign():
    pattern = Boxes((10, 10)).pattern(0.25, torch.tensor([0.0, 0.9]), 2).reshape(2, 5, 5)
    assert torch.allclose(pattern[0], pattern[1].T)
    assert (pattern[0, :2] > 0).all()
    assert (pattern[0, 2:] < 0).all()
    part = pattern[
        0, 2:
    ]  # 3 x 5: a middle, a ring at distance 1, a rim at distance 2, which sum 1 + 1/4 + 1/9, 1/4 + 1/9, 1/9
    steps = part / part[0, 0]
    assert torch.allclose(steps[1], torch.tensor([1.0, 3.25, 12.25, 3.25, 1.0]))
    assert torch.allclose(steps[0], torch.tensor([1.0, 3.25, 3.25, 3.25, 1.0]))


# ---------------------------------------------------------------------------------------------------------- search


def watch(x, goal, space, budget, attack):
    """Every query, in order, as one tensor (queries, b, ...)."""
    seen = []

    def embed(rows):
        seen.append(rows.clone())
        return flat(rows)

    found = attack(embed, x, goal, space, budget, rng(len(x)))
    return found, torch.stack(seen)


def test_a_query_changes_one_square_to_corners_and_keeps_what_helps():
    generator = torch.Generator().manual_seed(0)
    x, w = torch.rand((4, 3, 8, 8), generator=generator), torch.randn((4, 192), generator=generator)
    found, seen = watch(x, Scorer(w), PIXELS, Linf(0.1), Square(queries=300))
    assert len(seen) == 300
    corners = torch.stack([(x - 0.1).clamp(0, 1), (x + 0.1).clamp(0, 1)])
    assert (seen[:, None] - corners).abs().amin(dim=1).max() == 0
    start = (seen[0] - x).sign()
    assert start.equal(start[:, :, :1].expand_as(start))  # vertical stripes
    current, best = seen[0], Scorer(w).loss(flat(seen[0]))
    for query in range(1, 300):
        changed = (seen[query] != current).any(dim=1)  # b h w
        side = Boxes((8, 8)).sides(share_at(query - 1, 300, 0.8))[0]
        for one in changed:
            rows, columns = one.any(dim=1).nonzero(), one.any(dim=0).nonzero()
            assert rows.numel(), "no query is spent on what is known"
            assert rows.max() - rows.min() < side
            assert columns.max() - columns.min() < side
        loss = Scorer(w).loss(flat(seen[query]))
        current = torch.where((loss > best)[:, None, None, None], seen[query], current)
        best = torch.maximum(loss, best)
    assert found.x.equal(current)
    assert found.loss.equal(best)


def test_a_linear_function_reaches_its_optimum_in_linf():
    generator = torch.Generator().manual_seed(0)
    x, w = torch.rand((5, 12), generator=generator), torch.randn((5, 12), generator=generator)
    for space in (FREE, Space("box", "anything", 0.0, 1.0)):
        found = Square(queries=1000)(flat, x, Scorer(w), space, Linf(0.3), rng(5))
        best = x + 0.3 * w.sign()
        assert torch.allclose(found.x, best if space is FREE else best.clamp(0, 1), atol=1e-6)


CASES = [
    (L2(0.5), FREE, (12,), 0.7),
    (L1(0.5), FREE, (12,), 0.8),
    (SNR(20), WAVEFORM, (1, 20), 0.7),
    (PointwiseL2(0.1), UNIT_SPHERE, (12, 3), 0.9),
    (EventShare(0.2), EVENT_FRAMES, (2, 5, 5), 0.9),
]


@pytest.mark.parametrize(("budget", "space", "shape", "share"), CASES, ids=lambda one: getattr(one, "norm", None))
def test_a_linear_function_comes_near_its_optimum_in_every_norm(budget, space, shape, share):
    generator = torch.Generator().manual_seed(0)
    x = 0.6 * torch.rand((5, *shape), generator=generator)
    if budget.norm == "event_share":
        x = x * (x > 0.2)
    w = torch.randn((5, x[0].numel()), generator=generator)
    pull = w.reshape(x.shape)
    optima = {
        "l2": lambda: 0.5 * w.norm(dim=1),
        "l1": lambda: 0.5 * w.abs().amax(dim=1),
        "snr": lambda: 0.1 * flat(x).norm(dim=1) * w.norm(dim=1),
        "pointwise_l2": lambda: 0.1 * flat(pull).reshape(5, -1, 3).norm(dim=2).sum(dim=1),
        "event_share": lambda: torch.stack([
            flat(torch.maximum(pull * (1 - x), -pull * x))[row].sort(descending=True)
            .values[: int(0.2 * (x[row] != 0).sum() + 1e-9)].sum()
            for row in range(5)
        ]),
    }  # fmt: skip
    optimum = optima[budget.norm]()
    queries = {"event_share": 1500, "l1": 500}.get(budget.norm, 700)
    found = Square(queries=queries)(flat, x, Scorer(w), space, budget, rng(5))
    gained = Scorer(w).loss(flat(found.x)) - Scorer(w).loss(flat(x))
    assert (gained <= optimum * (1 + 1e-4)).all()
    assert (gained / optimum).min() > share
    enforce(found.x, x, space, budget)


@pytest.mark.parametrize("budget", [L2(0.5), L1(0.5)], ids=lambda one: one.norm)
def test_every_query_spends_the_whole_length(budget):
    x, w = torch.zeros(4, 6, 6), torch.randn((4, 36), generator=torch.Generator().manual_seed(0))
    _, seen = watch(x, Scorer(w), FREE, budget, Square(queries=150))
    for query in seen:
        assert torch.allclose(distance(query, x, FREE, budget.norm), torch.full((4,), 0.5), atol=1e-5)


def test_it_needs_no_gradient_and_counts_its_queries():
    task = zero_shot(Conv(), ToyData(24), "image")
    x, goal = task.load(range(24)), task.goal(range(24))
    rows = []

    def quantised(some):
        rows.append(len(some))
        assert not torch.is_grad_enabled()
        return task.embed((some * 255).round() / 255).detach()

    found = Square(queries=150)(quantised, x, goal, task.space, Linf("3/255"), rng(24))
    assert found.gradient_passes.eq(0).all()
    assert 0 < found.reached.sum() < 24
    assert (found.forward_passes[~found.reached] == 150).all()
    assert found.forward_passes[found.reached].max() < 150
    assert (
        found.forward_passes.sum() <= sum(rows) <= found.forward_passes.sum() + 3 * len(rows)
    )  # batches are rounded up to 4 rows
    assert found.reached.equal(goal.reached(quantised_again(task, found.x)))
    assert torch.allclose(found.loss, goal.loss(quantised_again(task, found.x)), atol=1e-6)


def quantised_again(task, x):
    return task.embed((x * 255).round() / 255)


def test_it_is_stronger_than_noise_and_longer_searches_are_stronger():
    task = zero_shot(Conv(), ToyData(24), "image")
    x, goal, budget = task.load(range(24)), task.goal(range(24)), Linf("2/255")

    def loss(queries, **knobs):
        return Square(queries=queries, stop_when_reached=False, **knobs)(
            task.embed, x, goal, task.space, budget, rng(24)
        ).loss

    noise = torch.stack(
        [goal.loss(task.embed(random_start(x, task.space, budget, rng(24), str(i)))) for i in range(100)]
    ).amax(dim=0)
    assert (loss(100) > noise).float().mean() > 0.9
    assert (loss(400) > loss(40)).float().mean() > 0.9
    assert (loss(40, restarts=3) >= loss(40)).all()
    assert (loss(40, restarts=3) > loss(40)).any()


@pytest.mark.parametrize(
    ("budget", "space", "shape", "_share"),
    [*CASES, (Linf(0.1), UNIT_SPHERE, (12, 3), 0)],
    ids=lambda one: getattr(one, "norm", None),
)
def test_neighbours_do_not_matter(budget, space, shape, _share):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((7, *shape), generator=generator) * 0.9
    w = torch.randn((7, x[0].numel()), generator=generator)
    goal = Scorer(w, float(Scorer(w).loss(flat(x)).median()) + 0.2)
    rows = torch.tensor([5, 0, 3])
    attack = Square(queries=130, restarts=2)
    every = attack(flat, x, goal, space, budget, rng(7))
    some = attack(flat, x[rows], goal[rows], space, budget, rng(7)[rows])
    for one, other in zip(every, some, strict=True):
        assert one[rows].equal(other)


def test_what_is_not_a_number_never_counts_as_progress():
    task = zero_shot(NotANumber(above=0.5), ToyData(8), "image")
    x, goal = task.load(range(8)), task.goal(range(8))
    found = Square(queries=60)(task.embed, x, goal, task.space, Linf("2/255"), rng(8))
    enforce(found.x, x, task.space, Linf("2/255"))
    assert found.reached.equal(goal.reached(task.embed(found.x)))


def test_bad_knobs_are_named():
    for knobs, said in (
        ({"queries": 0}, "queries=0"),
        ({"restarts": 0}, "restarts=0"),
        ({"p_init": 0.0}, "p_init=0.0"),
        ({"p_init": 1.5}, "p_init=1.5"),
    ):
        with pytest.raises(InputError, match=said):
            Square(**knobs)
    assert Square(queries=100, restarts=2, loss="ce").name == "square100x2-ce"
