"""Randomness that belongs to samples."""

import torch

from ironbind.numerics.sample_random import ContentNoise, PerSample, seed_of, under_noise


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


def test_noise_of_contents_knows_no_neighbours():
    x = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    first = ContentNoise("k")(x)
    assert ContentNoise("k")(x[[2, 0, 0]]).equal(first[[2, 0, 0]])  # rows of one call that hold the same, padding too
    again = ContentNoise("k")
    assert again(x[1:2]).equal(first[1:2])
    assert not (again(x)[1] == first[1]).any()  # the next draw of what was asked for before
    assert not (ContentNoise("other")(x) == first).any()
    assert again(x[:0]).shape == (0, 2, 2)


def test_draws_are_those_of_so_many_calls():
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))[[0, 1, 0, 2]]
    calls = ContentNoise("k")
    expected = torch.stack([calls(x) for _ in range(3)])
    drawn = ContentNoise("k")
    assert drawn.draws(x, 2).equal(expected[:2])
    assert drawn(x).equal(expected[2])
    together = under_noise(lambda at: 2 * at, 0.5, "k").draws(x, 3)
    assert together.equal((2 * (x + 0.5 * expected)).transpose(0, 1))


def test_an_embedding_under_noise_is_differentiated_as_if_it_were_constant():
    x = torch.ones(2, 3, requires_grad=True)
    z = under_noise(lambda at: at**2, 0.5, "k")(x)
    noisy = x.detach() + 0.5 * ContentNoise("k")(x)
    assert z.equal(noisy**2)
    z.sum().backward()
    assert x.grad.equal(2 * noisy)
