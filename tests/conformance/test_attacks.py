"""Every attack of the table keeps every budget in every standard space, repeats itself, and, unless it is a mere
baseline, breaks samples. With few steps and queries; at full length the same tests are slow (`make test-all`).
"""

from dataclasses import is_dataclass, replace

import pytest
import torch

from ironbind.attacks import ATTACKS, BASELINES
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.modalities import MODALITIES
from ironbind.numerics.batching import counted_padding
from ironbind.numerics.norms import enforce, random_start
from ironbind.types import NORMS, Attack, Attacked, Budget, ClassCenters, InputError, Space, budget_of
from toys import Conv, Scorer, ToyData, rng, shortened, state_hash

SPACES = {name: space for modality in MODALITIES.values() for name, space in modality.spaces.items()} | {
    "free": Space("free", "anything")
}


RADII = {"linf": ("3/255", "4/255"), "l2": ("0.15", "0.2")}  # about as far, on the toys' images


FEW = {"steps": 25, "queries": 250, "searches": 3}  # enough to break samples
FEWER = {
    "steps": 6,
    "queries": 40,
    "searches": 2,
    "heats": 2,
    "targets": 3,
    "search": 10,
}  # where only what each step does counts


@pytest.fixture(
    params=[
        *(pytest.param((name, FEW), id=name) for name in ATTACKS),
        *(pytest.param((name, {}), id=f"{name} at full length", marks=pytest.mark.slow) for name in ATTACKS),
    ]
)
def attack(request) -> Attack:
    name, most = request.param
    return shortened(ATTACKS[name](), **most)


@pytest.fixture
def short_attack(attack, request) -> Attack:
    """The attack with still fewer steps, unless it comes at full length."""
    name, most = request.node.callspec.params["attack"]
    return shortened(attack, **FEWER) if most else attack


def norms_of(attack: Attack) -> tuple[str, ...]:
    """All, unless the attack names those it is made for."""
    return getattr(attack, "norms", tuple(NORMS))


def budgets_of(attack: Attack, space: str | None = None) -> list[Budget]:
    """A smaller and a larger one that the attack takes."""
    norm = next(norm for norm in RADII if norm in norms_of(attack))
    return [replace(budget_of(norm, radius), space=space) for radius in RADII[norm]]


def test_it_is_a_value(attack):
    assert isinstance(attack, Attack)
    assert is_dataclass(attack)
    assert attack == replace(attack)
    assert hash(attack) == hash(replace(attack))
    assert attack.name == attack.name.lower()


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
@pytest.mark.parametrize(("norm", "radius"), [("linf", 4 / 255), ("l2", 0.2), ("linf", 0.0)])
def test_it_keeps_the_budget(short_attack, space, norm, radius):
    attack = short_attack
    generator = torch.Generator().manual_seed(0)
    low, high = -1.0 if space.low is None else space.low, 1.0 if space.high is None else space.high
    x = low + (high - low) * torch.rand(6, 3, 5, 4, generator=generator)
    budget = Budget(norm, radius, str(radius))
    kept = x.clone()
    goal = Scorer(torch.randn(6, 60, generator=generator))
    if norm not in norms_of(attack):
        with pytest.raises(InputError, match=f"norm {norm!r} needs another attack"):
            attack(lambda x: x.flatten(1), x, goal, space, budget, rng(6))
        return
    found = attack(lambda x: x.flatten(1), x, goal, space, budget, rng(6))
    assert isinstance(found, Attacked)
    assert [len(one) for one in found] == [6] * 5
    enforce(found.x, x, space, budget)
    assert x.equal(kept)
    if radius:
        start = random_start(x, space, budget, rng(6), "noise")
        w = torch.randn(6, 60, generator=torch.Generator().manual_seed(0))
        assert w.shape == start.flatten(1).shape
        assert not found.x.equal(x)
    else:
        assert found.x.equal(x)


@pytest.mark.bits
def test_it_repeats_itself_and_leaves_the_encoder_alone(short_attack):
    attack = short_attack
    task = zero_shot(Conv(), ToyData(12), "image")
    before = state_hash(task.encoder)

    def run(indices):
        return attack(
            task.embed,
            task.load(indices),
            task.goal(indices),
            task.space,
            budgets_of(attack)[0],
            rng(12)[torch.tensor(indices)],
        )

    whole, again, part = run(list(range(12))), run(list(range(12))), run([7, 2, 9])
    for field in whole._fields:
        assert getattr(whole, field).equal(getattr(again, field))
        assert getattr(whole, field)[[7, 2, 9]].equal(getattr(part, field))
    assert state_hash(task.encoder) == before


def test_what_it_reports_is_so(attack):
    task = zero_shot(Conv(), ToyData(16), "image")
    x, goal = task.load(range(16)), task.goal(range(16))
    found = attack(task.embed, x, goal, task.space, budgets_of(attack)[1], rng(16))
    assert found.reached.equal(goal.reached(task.embed(found.x)))
    least = (
        0 if attack in [ATTACKS[name]() for name in BASELINES] else 4
    )  # CrossMaxim, which names no competitor, is the weakest by this count
    assert found.reached.sum() >= goal.reached(task.embed(x)).sum() + least
    assert (found.gradient_passes + found.forward_passes >= 1).all()


def test_it_refuses_a_budget_of_another_space(attack):
    task = zero_shot(Conv(), ToyData(4), "image")
    with pytest.raises(InputError, match="given for space 'waveform'"):
        attack(
            task.embed, task.load(range(4)), task.goal(range(4)), task.space, budgets_of(attack, "waveform")[1], rng(4)
        )


SMALLER = {"queries": 40, "steps": 3}  # what is counted does not depend on how much


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9])  # batches are rounded up to four
def test_what_it_counts_and_the_padding_is_what_is_computed(attack, rows):
    """Passes are a sample's own; with the rows that fill batches they are all that an encoder computes."""
    knobs = {name: value for name, value in SMALLER.items() if hasattr(attack, name)}
    attack = replace(attack, **knobs)
    draw = torch.Generator().manual_seed(3)
    centers = torch.nn.functional.normalize(torch.randn(12, 16, generator=draw), dim=1)
    x = torch.randn(9, 16, generator=draw)[:rows]
    goal = Misclassify(ClassCenters(centers, torch.arange(12), tuple("abcdefghijkl")), (x @ centers.T).argmax(dim=1))
    computed = 0

    def embed(x):
        nonlocal computed
        computed += len(x)
        return torch.nn.functional.normalize(x + x.square().roll(1, dims=1), dim=1)

    budget = replace(budgets_of(attack)[0], radius=0.2)
    with counted_padding() as padding:
        found = attack(embed, x, goal, Space("free", "anything"), budget, rng(rows))
    assert int(found.gradient_passes.sum() + found.forward_passes.sum()) + padding.rows == computed
    if rows < 4 and computed:
        assert padding.rows > 0
