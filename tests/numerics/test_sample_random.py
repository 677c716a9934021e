"""Randomness that belongs to samples."""

import torch

from ironbind.numerics.sample_random import PerSample, seed_of


def test_a_seed_is_the_same_everywhere():
    assert seed_of(0, "attack", "cat-1") == seed_of("0", "attack", "cat-1") == 1167202633395341344
    assert 0 <= seed_of("anything") < 2**63
    assert seed_of("ab", "c") != seed_of("a", "bc")
    assert seed_of("gr\udcfcn.png") != seed_of("gr\udcfdn.png")  # bytes of a file name that are no UTF-8


def test_rows_depend_on_seed_purpose_sample_and_tag_alone():
    all_of = PerSample.of(7, ["a", "b", "c"], "pgd")
    drawn = all_of.normal("start", (2, 3))
    assert drawn.shape == (3, 2, 3)
    assert PerSample.of(7, ["c"], "pgd").normal("start", (2, 3))[0].equal(drawn[2])
    assert all_of[torch.tensor([2, 0])].normal("start", (2, 3)).equal(drawn[[2, 0]])
    assert all_of[torch.tensor([2, 0])].ids == ("c", "a")
    for other in (PerSample.of(8, "abc", "pgd"), PerSample.of(7, "abc", "fgsm"), PerSample.of(7, "bca", "pgd")):
        assert not (other.normal("start", (2, 3)) == drawn).any()
    assert not (all_of.normal("other", (2, 3)) == drawn).any()
    assert not drawn[0].equal(drawn[1])


def test_distributions():
    many = PerSample.of(0, [str(i) for i in range(50)])
    uniform, normal = many.uniform("u", (200,)), many.normal("n", (200,))
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.01
    assert abs(float(normal.mean())) < 0.03
    assert abs(float(normal.std()) - 1) < 0.02


def test_nobody():
    nobody = PerSample.of(0, [])
    assert nobody.uniform("u", (2,)).shape == nobody.normal("n", (2,)).shape == (0, 2)
