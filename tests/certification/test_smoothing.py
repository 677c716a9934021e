"""Randomised smoothing against closed forms."""

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import pytest
import torch
from scipy.stats import binom

from half_space import half_space_task
from ironbind.attacks import EOT, PGD
from ironbind.certification.smoothing import Smoothing
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample
from ironbind.types import L2, Certifier, InputError, Keeping
from toys import Conv, ToyData

SIGMA = 0.02  # about the distance of the toys to the boundary


def certificates(task, by, folder: Path, *, seed=0, batch_size=64, ks=(1,), asked_by="test"):
    return by(task, list(range(len(task))), ks, seed, batch_size, Keeping(folder, "", asked_by))


def test_it_is_a_certifier():
    assert isinstance(Smoothing(), Certifier)
    assert Smoothing(0.25, 500).name == "smoothing0.25-500"


@pytest.mark.parametrize("n", [1, 20, 200])
@pytest.mark.parametrize("confidence", [0.9, 0.999])
def test_certificates_are_wrong_as_seldom_as_they_say(n, confidence):
    """Every outcome of n draws, weighed with its exact probability: the radius exceeds the true one, and a sample whose
    answer is no majority is certified, in at most the share of draws that the confidence leaves.
    """
    by = Smoothing.__new__(Smoothing)  # knobs that prove nothing are refused, and are right too
    for name, value in {"sigma": 1.0, "draws": n, "selection": 1, "confidence": confidence}.items():
        object.__setattr__(by, name, value)
    radii = [by.radius(hits)[0] for hits in range(n + 1)]
    for p in (0.2, 0.5, 0.6, 0.9, 0.99, 0.9999):
        true = NormalDist().inv_cdf(p) if p > 0.5 else 0.0
        wrong = sum(binom.pmf(hits, n, p) for hits, radius in enumerate(radii) if radius > true)
        assert wrong <= (1 - confidence) * (1 + 1e-9), p


def test_the_certified_radius_of_a_linear_encoder_approaches_the_exact_one(tmp_path):
    """Never beyond it. The gap shrinks with the root of the draws, but for samples that no draws could certify to the
    end, as all of them agree.
    """
    task = half_space_task(6)
    exact = task.encoder.radius(task.load(range(6))).double()
    sigma = float(exact.max()) / 1.2
    gaps = []
    for draws in (100, 1000, 6000):
        by = Smoothing(sigma, draws=draws)
        found = certificates(task, by, tmp_path).radius[:, 0]
        assert (found <= exact).all()
        gaps.append(float((exact - found).max()) / sigma)
    assert 0.2 < gaps[0] < 0.7
    assert gaps[1] < 0.6 * gaps[0]
    assert gaps[2] < 0.1


def test_a_wrong_or_undecided_answer_is_not_certified(tmp_path):
    task = half_space_task(12, mislabelled=3)
    found = certificates(task, Smoothing(SIGMA, draws=100), tmp_path)
    wrong = torch.arange(12) % 3 == 0
    assert (found.radius[wrong] == 0).all()
    assert (found.radius[~wrong] > 0).any()
    assert (found.forward_passes[wrong] == 100).all()  # the selection alone
    drowned = certificates(task, Smoothing(50.0, draws=100), tmp_path)
    assert (drowned.radius == 0).all()


def test_the_lower_bound_of_the_probability_is_one(tmp_path):
    task = half_space_task(12)
    found = certificates(task, Smoothing(SIGMA, draws=1000), tmp_path)
    true = torch.tensor(task.encoder.probability(task.load(range(12)), SIGMA), dtype=torch.float64)
    answered = found.forward_passes == 1100
    assert (found.probability[answered, 0] <= true[answered]).all()
    assert (true - found.probability[:, 0])[answered].max() < 0.08


@pytest.mark.bits
def test_certificates_do_not_depend_on_batches_order_or_neighbours(tmp_path):
    task, by = half_space_task(6), Smoothing(SIGMA, draws=100, selection=30)
    whole = certificates(task, by, tmp_path / "a")
    small = certificates(task, by, tmp_path / "b", batch_size=7)
    assert all(one.equal(other) for one, other in zip(whole, small, strict=True))
    some = by(task, [4, 1], (1,), 0, 64, Keeping(tmp_path / "c"))
    assert some.radius.equal(whole.radius[[4, 1]])
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    draws = [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())]
    assert draws == [path.read_bytes() for path in sorted((tmp_path / "b").iterdir())]
    assert not certificates(task, by, tmp_path / "a", seed=1).probability.equal(whole.probability)


def test_kept_draws_cost_no_pass_and_more_of_them_only_the_rest(tmp_path):
    task, by = half_space_task(4), Smoothing(SIGMA / 5, draws=100, selection=20)
    first = certificates(task, by, tmp_path)
    paid = task.encoder.rows
    assert certificates(task, by, tmp_path).radius.equal(first.radius)
    other = certificates(task, by, tmp_path, asked_by="another question", ks=(1, 2))
    assert task.encoder.rows == paid
    assert (other.forward_passes == 0).all()
    assert other.probability[:, 1].min() > 0.9  # two classes: the truth is always among two
    assert (certificates(task, by, tmp_path).forward_passes == first.forward_passes).all()  # who paid stays so
    more = certificates(task, replace(by, draws=300), tmp_path, asked_by="more")
    assert (more.forward_passes[first.radius[:, 0] > 0] == 200).all()
    fresh = certificates(task, replace(by, draws=300), tmp_path / "fresh")
    assert fresh.radius.equal(more.radius)


def test_damaged_draws_are_computed_again(tmp_path):
    task, by = half_space_task(2), Smoothing(SIGMA, draws=50, selection=20)
    before = certificates(task, by, tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert certificates(task, by, tmp_path).radius.equal(before.radius)


def test_no_attack_breaks_a_certified_sample(tmp_path):
    """Within its own radius none does; a sigma beyond the boundary the same attack succeeds."""
    task, by = half_space_task(8), Smoothing(SIGMA, draws=400)
    found, attack = certificates(task, by, tmp_path), EOT(PGD(steps=5, stop_when_reached=False), draws=4)
    exact = task.encoder.radius(task.load(range(8)))
    tried = broken = 0
    for index in range(8):
        for share, radius in (
            ("inside", 0.999 * float(found.radius[index, 0])),
            ("beyond", float(exact[index]) + SIGMA),
        ):
            if not radius:
                continue
            x, within = task.load([index]), L2(radius)
            rng = PerSample.of(0, [str(index)], share)
            embed = by.attacked(task.embed, 0, index)
            y = attack(embed, x, task.goal([index]), task.space, within, rng).x
            enforce(y, x, task.space, within)
            refuted, passes = by.refuted(task, index, y, 1, 0, 64)
            assert passes <= 400
            if share == "inside":
                assert not refuted
                tried += 1
            else:
                broken += refuted
    assert tried >= 5
    assert broken >= 6


@pytest.mark.slow  # two minutes: ten thousand examples, each judged on draws of its own
def test_no_attack_breaks_ten_thousand_certificates(tmp_path):
    """A convolution of toys: EOT-PGD from four random starts within every certified sample's own radius."""
    task = zero_shot(Conv(), ToyData(4500, modalities=("image",)), "image")
    by, attack = Smoothing(0.1, draws=60, selection=10), EOT(PGD(4, stop_when_reached=False), draws=2)
    four, attacked, broken = torch.zeros(4, dtype=torch.long), 0, []
    for index in range(len(task)):
        found = by(task, [index], (1,), 0, 64, Keeping(tmp_path))
        if not found.radius.item():
            continue
        x, within = task.load([index])[four], L2(0.999 * found.radius.item())
        rng = PerSample.of(0, [f"{index} {start}" for start in range(4)], "ten thousand")
        y = attack(by.attacked(task.embed, index), x, task.goal([index])[four], task.space, within, rng).x
        enforce(y, x, task.space, within)
        attacked += 4
        broken += [index for start in range(4) if by.refuted(task, index, y[start : start + 1], 1, start, 60)[0]]
    assert attacked >= 10_000
    # each certificate may be wrong with probability 0.001, and is refuted then only where an example is there
    assert not broken


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"sigma": 0.0}, "sigma 0"),
        ({"sigma": float("nan")}, "sigma nan"),
        ({"draws": 0}, "at least one of each"),
        ({"selection": 0}, "at least one of each"),
        ({"confidence": 1.0}, "confidence 1"),
        ({"draws": 5}, "5 draws prove nothing at confidence 0.999"),
    ],
)
def test_knobs_that_prove_nothing(knobs, words):
    with pytest.raises(InputError, match=words):
        Smoothing(**knobs)


def test_the_largest_radius():
    """All of n draws agree: the lower end is (1 - confidence) ** (1 / n)."""
    assert Smoothing(0.5, draws=1000).largest == pytest.approx(
        0.5 * NormalDist().inv_cdf(0.001 ** (1 / 1000)), abs=1e-6
    )
