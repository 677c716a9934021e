"""Objectives against their formulas in plain Python, and at the points where their value is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from ironbind.calibration.objectives import (
    CALM,
    HARDENED,
    TRADES,
    agreement,
    center_cross_entropy,
    class_logits,
    clean_cross_entropy,
    clean_distillation,
    describe,
    distillation,
    infonce,
    l2,
    modality_consistency,
    weighted,
)
from ironbind.types import ClassCenters, Views

seeds = st.integers(0, 10_000)
LABELS = ([0, 1, 2, 3], [2, 0, 3, 1], [1, 1, 3, 0, 2, 0, 1])


def views(seed: int, label=LABELS[0], b: int = 5, d: int = 6, paired=("image", "text")) -> Views:
    generator = torch.Generator().manual_seed(seed)

    def rows(n: int) -> torch.Tensor:
        return normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1)

    centers = ClassCenters(rows(len(label)), torch.tensor(label), tuple("abcd"))
    return Views(
        rows(b),
        rows(b),
        rows(b),
        torch.randint(0, 4, (b,), generator=generator),
        centers,
        {one: rows(b) for one in paired},
    )


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(one - top) for one in values]
    return [one / sum(powers) for one in powers]


def naive_logits(z: torch.Tensor, centers: ClassCenters, scale: float) -> list[list[float]]:
    return [
        [
            math.log(
                sum(
                    math.exp(scale * float(row @ center))
                    for center, of in zip(centers.z, centers.label, strict=True)
                    if of == c
                )
            )
            for c in range(4)
        ]
        for row in z
    ]


def naive_kl(wanted: list[float], have: list[float]) -> float:
    return sum(p * (math.log(p) - math.log(q)) for p, q in zip(softmax(wanted), softmax(have), strict=True))


@given(seed=seeds, label=st.sampled_from(LABELS), scale=st.sampled_from([1.0, 20.0]))
def test_center_cross_entropy(seed, label, scale):
    v = views(seed, label)
    rows = naive_logits(v.adv_out, v.centers, scale)
    assert class_logits(v.adv_out, v.centers, scale).tolist() == [pytest.approx(row) for row in rows]
    expected = -sum(math.log(softmax(row)[y]) for row, y in zip(rows, v.label.tolist(), strict=True)) / len(rows)
    assert float(center_cross_entropy(v, scale)) == pytest.approx(expected)


def test_center_cross_entropy_defaults_and_limit():
    v = views(0)
    assert float(center_cross_entropy(v)) == pytest.approx(float(center_cross_entropy(v, 20.0)))
    at_home = Views(v.clean, v.clean, v.centers.z[v.label], v.label, v.centers)
    assert float(center_cross_entropy(at_home, 1000.0)) == pytest.approx(0.0, abs=1e-9)


@given(seed=seeds)
def test_l2(seed):
    v = views(seed)
    expected = (
        sum(
            sum((a - c) ** 2 for a, c in zip(x, y, strict=True))
            for x, y in zip(v.adv_out.tolist(), v.clean.tolist(), strict=True)
        )
        / 5
    )
    assert float(l2(v)) == pytest.approx(expected)
    assert float(l2(Views(v.clean, v.clean_out, v.clean, v.label, v.centers))) == 0.0


@given(seed=seeds)
def test_infonce(seed):
    v = views(seed)
    rows = [[float(a @ c) / 0.07 for c in v.clean] for a in v.adv_out]
    expected = -sum(math.log(softmax(row)[i]) for i, row in enumerate(rows)) / 5
    assert float(infonce(v)) == pytest.approx(expected)
    assert float(infonce(v, 0.5)) != pytest.approx(expected)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    together = Views(v.clean[order], v.clean_out, v.adv_out[order], v.label, v.centers)
    assert float(infonce(together)) == pytest.approx(float(infonce(v)))  # who stands where in the batch does not matter
    matched = Views(v.clean, v.clean_out, v.clean, v.label, v.centers)
    swapped = Views(v.clean, v.clean_out, v.clean.roll(1, 0), v.label, v.centers)
    assert float(infonce(matched)) < float(infonce(swapped))  # but who belongs to whom does


@given(seed=seeds, label=st.sampled_from(LABELS))
def test_modality_consistency(seed, label):
    v = views(seed, label)
    preserve = float((v.clean_out - v.clean).square().sum(dim=1).mean())
    wanted, have = naive_logits(v.clean, v.centers, 20.0), naive_logits(v.adv_out, v.centers, 20.0)
    classes = sum(naive_kl(p, q) for p, q in zip(wanted, have, strict=True)) / 5
    across = {
        name: sum(
            naive_kl([20 * float(c @ o) for o in other], [20 * float(a @ o) for o in other])
            for c, a in zip(v.clean, v.adv_out, strict=True)
        )
        / 5
        for name, other in v.paired.items()
    }
    assert float(modality_consistency(v)) == pytest.approx(preserve + 0.1 * classes + 0.1 * sum(across.values()))
    assert float(modality_consistency(v, 2.0, 0.0, 0.0)) == pytest.approx(2 * preserve)
    assert float(modality_consistency(v, 0.0, 3.0, 0.0)) == pytest.approx(3 * classes)
    assert float(modality_consistency(v, 0.0, 0.0, 5.0)) == pytest.approx(5 * sum(across.values()))
    alone = Views(v.clean, v.clean_out, v.adv_out, v.label, v.centers)
    assert float(modality_consistency(alone)) == pytest.approx(preserve + 0.1 * classes)


@given(seed=seeds, label=st.sampled_from(LABELS))
def test_nothing_to_regularise_at_the_identity(seed, label):
    v = views(seed, label)
    still = Views(v.clean, v.clean, v.clean, v.label, v.centers, v.paired)
    assert float(modality_consistency(still)) == pytest.approx(0.0, abs=1e-12)
    assert float(modality_consistency(v)) > 0


@given(seed=seeds, label=st.sampled_from(LABELS))
def test_what_keeps_clean_answers(seed, label):
    v = views(seed, label)
    mirrored = Views(v.clean, v.adv_out, v.clean_out, v.label, v.centers)
    assert float(clean_cross_entropy(v)) == pytest.approx(float(center_cross_entropy(mirrored)))
    cosines = [(float(a @ c), float(o @ c)) for a, o, c in zip(v.adv_out, v.clean_out, v.clean, strict=True)]
    assert float(distillation(v)) == pytest.approx(sum(2 - a - o for a, o in cosines) / 5)
    assert float(clean_distillation(v)) == pytest.approx(sum(1 - o for _, o in cosines) / 5)
    assert float(distillation(v)) == pytest.approx(float(clean_distillation(v)) + float(l2(v)) / 2)
    kept = Views(v.clean, v.clean, v.clean, v.label, v.centers)
    assert float(distillation(kept)) == pytest.approx(0.0, abs=1e-12)


@given(seed=seeds, label=st.sampled_from(LABELS))
def test_agreement(seed, label):
    v = views(seed, label)
    rows = zip(naive_logits(v.clean_out, v.centers, 20.0), naive_logits(v.adv_out, v.centers, 20.0), strict=True)
    assert float(agreement(v)) == pytest.approx(sum(naive_kl(p, q) for p, q in rows) / 5)
    assert float(agreement(Views(v.clean, v.clean_out, v.clean_out, v.label, v.centers))) == pytest.approx(
        0.0, abs=1e-12
    )


@given(seed=seeds)
def test_named_sums(seed):
    v = views(seed)
    hardened = float(center_cross_entropy(v)) + 0.5 * float(clean_cross_entropy(v)) + 8 * float(distillation(v))
    assert float(HARDENED(v)) == pytest.approx(hardened)
    assert float(TRADES(v)) == pytest.approx(float(clean_cross_entropy(v)) + 6 * float(agreement(v)))
    calm = 2 * float(clean_distillation(v)) + 0.5 * float(clean_cross_entropy(v)) + 0.5 * float(l2(v))
    assert float(CALM(v)) == pytest.approx(calm)
    assert describe(HARDENED) == "1 center_cross_entropy() + 0.5 clean_cross_entropy() + 8 distillation()"


@pytest.mark.parametrize(
    "objective", [center_cross_entropy, l2, infonce, modality_consistency, clean_cross_entropy, distillation, agreement]
)
def test_gradients(objective):
    v = views(1, LABELS[2])

    def of(clean_out, adv_out):
        return objective(Views(v.clean, clean_out, adv_out, v.label, v.centers, v.paired))

    assert torch.autograd.gradcheck(of, (v.clean_out.requires_grad_(), v.adv_out.requires_grad_()))


@given(seed=seeds, weights=st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_a_weighted_sum_is_one(seed, weights):
    v = views(seed)
    both = weighted((weights[0], l2), (weights[1], infonce))
    assert float(both(v)) == pytest.approx(weights[0] * float(l2(v)) + weights[1] * float(infonce(v)), abs=1e-9)
    nested = weighted((2.0, both), (1.0, l2))
    assert float(nested(v)) == pytest.approx(2 * float(both(v)) + float(l2(v)), abs=1e-9)


def test_formulas_are_written_out():
    from functools import partial

    assert describe(l2) == "l2()"
    assert describe(partial(infonce, temperature=0.1)) == "infonce(temperature=0.1)"
    assert describe(weighted((1.0, center_cross_entropy), (0.5, l2))) == "1 center_cross_entropy() + 0.5 l2()"
