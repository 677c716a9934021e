"""The zoo of broken encoders, and the encoder whose robustness is known: what they are, that their alarms ring, that no
attack exceeds the bound.
"""

from functools import cache

import pytest
import torch

from ironbind.attacks import APGD, ATTACKS, PGD, Ensemble, Square, bindattack
from ironbind.encoders import load_encoder
from ironbind.evaluate.checks import CHECKS
from ironbind.evaluate.tasks.zero_shot import ZeroShot, zero_shot
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM
from ironbind.numerics.networks import modules_of
from ironbind.numerics.norms import enforce
from ironbind.selftest.broken_encoders import REFUSED, ZOO, Broken, compressed
from ironbind.selftest.certified_encoder import Waves
from ironbind.selftest.selftest import half_proven, selftest, zoo_trial
from ironbind.types import Budget, Encoder, InputError, InputSpec, Linf
from toys import CLASSES, Conv, ToyData, audit, rng, shortened

# -------------------------------------------------------------------------------------------------------------- the zoo


N = 32


@pytest.fixture(scope="module")
def task() -> ZeroShot:
    return zero_shot(Conv(), ToyData(N), "image")


def specimen(name: str, task: ZeroShot) -> Encoder:
    return ZOO[name].make(task.encoder, task.load(range(len(task))))


@pytest.mark.parametrize("name", ZOO)
def test_a_specimen_is_an_encoder_that_looks_sound_when_clean(name, task):
    torch.manual_seed(0)
    encoder = specimen(name, task)
    assert isinstance(encoder, Encoder)
    assert encoder.name == f"conv/{name}"
    assert encoder.weights_sha256 != task.encoder.weights_sha256
    assert set(modules_of(encoder)[0].modules()) >= set(
        task.encoder.modules()
    )  # freezing and hashing reach what is inside
    asked = task.on(encoder)
    right = asked.goal(range(N)).rank(asked.embed(asked.load(range(N)))) == 1
    assert float(right.float().mean()) > 0.5
    assert ZOO[name].why
    assert set(ZOO[name].rings) <= {REFUSED, *CHECKS}


@pytest.mark.parametrize("name", ["sound", *ZOO])
def test_its_alarm_rings_and_none_does_on_the_sound_encoder(name, task):
    encoder, rings = (task.encoder, ()) if name == "sound" else (specimen(name, task), ZOO[name].rings)
    found = zoo_trial(task, name, encoder, rings, seed=0)
    assert found.passed, found


def test_a_defence_that_hides_its_gradient_is_refused_with_a_clear_line(task):
    with pytest.raises(InputError, match="no gradient back to its input"):
        audit(task.on(specimen("detached", task)), PGD(steps=2), Linf("4/255"))
    assert audit(task.on(specimen("detached", task)), Square(queries=10), Linf("4/255")).rows  # a search needs none


@pytest.mark.parametrize(
    ("space", "shape"), [(PIXELS, (3, 16, 12)), (PIXELS, (8, 3, 9, 17)), (WAVEFORM, (1, 50)), (UNIT_SPHERE, (20, 3))]
)
def test_compression_loses_little_and_has_no_gradient(space, shape):
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    smooth = torch.full((2, *shape), 0.25)
    assert compressed(lambda y: y, smooth, space).sub(smooth).abs().max() < 0.02 * (space.high - space.low)
    back = compressed(lambda y: y, x, space)
    assert back.shape == x.shape
    assert 1e-3 < float((back - x).abs().max().detach()) < 1
    assert float(torch.autograd.grad(back.sum(), x)[0].abs().max()) == 0


def test_a_wrapped_wrapper_is_still_one(task):
    twice = Broken(specimen("zero_gradient", task), "again", lambda embed, x, space: embed(x))
    assert twice.name == "conv/zero_gradient/again"
    x = task.load(range(2))
    assert torch.equal(twice.embed("image", x), task.encoder.embed("image", x))


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True], ids=["image", "six modalities"])
def test_the_selftest_passes(full):
    wrong = [one for one in selftest(full=full) if not one.passed]
    assert wrong == []


def test_the_built_in_encoder_is_told_from_a_broken_one():
    """One specimen of the selftest, which is slow as a whole."""
    from ironbind.data import load_dataset

    world = zero_shot(load_encoder("tiny"), load_dataset("world", split="test", n=12), "image")
    assert zoo_trial(world, "sound", world.encoder, (), seed=0).passed
    false = zoo_trial(world, "zero_gradient", specimen("zero_gradient", world), (), seed=0)
    assert not false.passed  # it should have been sound
    assert {"C6", "C8"} <= set(false.rang)  # so small an audit does not pay for a black-box search


# ---------------------------------------------------------------------------------------------------- the certified one

SPACES = {
    "linf": (PIXELS, (3, 6, 6)),
    "l2": (PIXELS, (3, 6, 6)),
    "l1": (PIXELS, (3, 6, 6)),
    "pointwise_l2": (UNIT_SPHERE, (30, 3)),
    "snr": (WAVEFORM, (1, 100)),
    "event_share": (EVENT_FRAMES, (2, 8, 8)),
}


class InMemory:
    """Samples of eight classes around prototypes, as tensors in a space."""

    captions = templates = None
    classes = CLASSES

    def __init__(self, space, shape, n=24):
        self.name, self.modalities, self.fingerprint = "memory", ("image",), f"{space.name}-{n}"
        self.labels = [i % len(CLASSES) for i in range(n)]
        self.ids = [str(i) for i in range(n)]
        generator = torch.Generator().manual_seed(1)
        prototypes = torch.rand((len(CLASSES), *shape), generator=generator)
        samples = 0.5 * prototypes[self.labels] + 0.4 * torch.rand((n, *shape), generator=generator) + 0.05
        if space is EVENT_FRAMES:
            samples = torch.where(torch.rand((n, *shape), generator=generator) < 0.5, samples, 0.0)
        self.samples = samples if space.low == 0 else 2 * samples - 1

    def __len__(self):
        return len(self.ids)

    def decode(self, modality, indices):
        return [self.samples[index] for index in indices]


@cache
def waves(norm: str, at_bound: bool = False):
    """The task, its samples' labels, and those that it gets right."""
    space, shape = SPACES[norm]
    data = InMemory(space, shape)
    if at_bound:
        data.samples = torch.where(
            torch.rand(data.samples.shape, generator=torch.Generator().manual_seed(2)) < 0.5, data.samples, space.low
        )
    label = torch.tensor(data.labels)
    encoder = Waves(InputSpec("image", shape, space, lambda sample: sample), space.name, data.samples)
    task = ZeroShot(encoder, data, "image", space, given_centers=encoder.centers(data.samples, label, data.classes))
    right = task.goal(range(len(data))).rank(encoder.embed("image", data.samples)) == 1
    assert int(right.sum()) > 16
    return task, label, right


def proven(task, label, budget):
    return task.encoder.safe(task.dataset.samples, label, task.centers, task.space, budget)


@cache  # a dozen attacks meet the same task and radius
def half(norm: str, at_bound: bool = False):
    """The task at the radius where half of its samples are proven, which these are, and which are right."""
    task, label, right = waves(norm, at_bound)
    budget = half_proven(norm, lambda one: int((proven(task, label, one) & right).sum()), int(right.sum()))
    return task, budget, proven(task, label, budget) & right, right


def still_right(task, x):
    return task.goal(range(len(task))).rank(task.embed(x)) == 1


def attacked(attack, task, budget):
    x = task.dataset.samples
    found = attack(task.embed, x, task.goal(range(len(x))), task.space, budget, rng(len(x)))
    enforce(found.x, x, task.space, budget)
    return still_right(task, found.x)


BRIEF = {"steps": 5, "queries": 50, "targets": 4, "search": 20}  # at full length every attack is in the slow test


EVERY = [bindattack("thorough"), *(ATTACKS[name]() for name in ATTACKS)]
MADE_FOR = [(attack, norm) for attack in EVERY for norm in SPACES if norm in getattr(attack, "norms", SPACES)]


@pytest.mark.parametrize(
    ("attack", "norm"),
    [one for one in MADE_FOR if not isinstance(one[0], Ensemble)],
    ids=lambda one: getattr(one, "name", one),
)
def test_no_attack_breaks_more_than_is_proven(attack, norm):
    task, budget, safe, _ = half(norm)
    assert int(safe.sum()) >= 8
    assert bool(attacked(shortened(attack, **BRIEF), task, budget)[safe].all())


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "norm"), MADE_FOR, ids=lambda one: getattr(one, "name", one))
def test_not_even_at_full_length(attack, norm):
    task, budget, safe, right = half(norm)
    stands = attacked(attack, task, budget) & right
    assert bool(stands[safe].all())
    if norm == "linf" and attack.name == "bindattack-thorough":
        assert torch.equal(stands, safe)


def test_a_tight_bound_is_reached_but_not_exceeded():
    """The certificate in linf is exact: whatever is not proven falls. Samples as they are, and with half of their
    values at a bound.
    """
    for at_bound in (False, True):
        task, budget, safe, right = half("linf", at_bound)
        assert torch.equal(attacked(APGD(30), task, budget) & right, safe)


@pytest.mark.parametrize("norm", SPACES)
def test_the_bound_holds_for_random_points_and_grows_with_the_budget(norm):
    task, label, right = waves(norm)
    radii = [half(norm)[1].radius * factor for factor in (0.25, 1.0, 4.0)]
    counts = [int((proven(task, label, Budget(norm, one, f"{one}")) & right).sum()) for one in radii]
    assert counts[0] > counts[1] > counts[2]
    nothing = proven(task, label, Budget(norm, 0.0, "0"))
    assert torch.equal(nothing & right, nothing)
    assert bool(nothing[right].all())


def test_the_reach_is_what_the_phases_can_move():
    """Worst cases by hand: the signs of a wave's weights, times the radius."""
    task, _, _ = waves("linf")
    encoder = task.encoder
    for level, sides in ((0.5, 2), (1.0, 1)):  # a sample in the middle of the bounds, and one at their end
        x = torch.full((1, 3, 6, 6), level)
        down, up = (one[0] for one in encoder.reach(x, task.space, Linf(0.1)))
        for wave in range(encoder.dim // 2):
            signs = encoder.w[wave].sign().reshape(1, 3, 6, 6)
            highest, lowest = ((x + way * 0.1 * signs).clamp(0, 1) for way in (1, -1))
            assert float((encoder._phases(highest) - encoder._phases(x))[0, wave]) == pytest.approx(
                float(up[wave]), rel=1e-3
            )
            assert float((encoder._phases(x) - encoder._phases(lowest))[0, wave]) == pytest.approx(
                float(down[wave]), rel=1e-3
            )
            assert float(up[wave] + down[wave]) == pytest.approx(
                0.1 * sides * float(encoder.w[wave].abs().sum()), rel=1e-3
            )


def test_a_sample_beyond_its_bound_can_be_broken():
    """The bound is no mere formality: a closed-form worst case succeeds just above it and fails just below."""
    task, label, right = waves("linf")
    budget = half("linf")[1]
    near = right & ~proven(task, label, Budget("linf", 1.05 * budget.radius, ".")) & proven(task, label, budget)
    stronger = Budget("linf", 1.05 * budget.radius, "1.05")
    assert int(near.sum()) >= 1
    assert not bool(attacked(PGD(steps=40), task, stronger)[near].all())
