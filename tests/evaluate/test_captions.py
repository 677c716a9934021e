"""Retrieval of data with several captions a sample: every number against a loop over captions, ties and uneven counts
included.
"""

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.evaluate.preparation import PROBED
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.captions import ByCaption, captions_of, has_several_captions
from ironbind.evaluate.tasks.zero_shot import Retrieval, retrieval
from ironbind.goals.misclassify import LOSSES, Misclassify
from ironbind.types import ClassCenters, Linf
from toys import CLASSES, LATENT, Conv, Linear, ToyData, audit, white_box

N = 12


class Told(ToyData):
    """One to three captions a sample; some samples share a caption word for word, so that ranks are tied."""

    def __init__(self, n: int = N, most: int = 3) -> None:
        super().__init__(n)
        own = [
            [f"{CLASSES[label]} #{one}{'' if not k else f'-{k}'}" for k in range(1 + i % most)]
            for i, (label, one) in enumerate(self.pairs)
        ]
        if most > 1:
            own[3].append(own[5][0])
            own[7].insert(0, own[1][0])
        self.all_captions = [tuple(one) for one in own]
        self.captions = [one[0] for one in own]
        self.fingerprint = f"told-{n}-{most}"

    @property
    def pairs(self):
        return list(zip(self.labels, self.ids, strict=True))


def clean_ranks_to_text(images: torch.Tensor, encoder, data) -> list[int]:
    """Rank of the best of each image's own captions in the list of all captions, foreign ones of the same score before
    it.
    """
    ranks = []
    for i in range(N):
        scored = [
            (float(images[i] @ encoder.embed_text([caption])[0]), owner)
            for owner, told in enumerate(data.all_captions)
            for caption in told
        ]
        order = sorted(scored, key=lambda pair: (-pair[0], pair[1] == i))
        ranks.append(1 + next(place for place, (_, owner) in enumerate(order) if owner == i))
    return ranks


def ranks_of_text(images: torch.Tensor, clean: torch.Tensor, encoder, data) -> list[int]:
    """One query a caption: image j stands for its item (perturbed for this caption), all other items are clean."""
    ranks = []
    queries = [(owner, caption) for owner, told in enumerate(data.all_captions) for caption in told]
    for j, (owner, caption) in enumerate(queries):
        query = encoder.embed_text([caption])[0]
        own = float(query @ images[j])
        ranks.append(1 + sum(float(query @ clean[other]) >= own for other in range(N) if other != owner))
    return ranks


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.mark.parametrize("way", ["to", "of"])
def test_clean_and_attacked_ranks_are_the_naive_twins(way, told):
    encoder = Conv()
    task = retrieval(encoder, told, "image", **{way: "text"})
    result = audit(task, PGD(steps=2), Linf("6/255"), checks=False)
    examined = white_box(task, (PGD(steps=2),), (Linf("6/255"),), VerdictStore(), "whitebox", keep_examples=True)
    clean = task.clean("image")
    assert len(clean) == N
    n = N if way == "to" else sum(map(len, told.all_captions))
    assert len(task) == n
    before = task.embed(task.load(range(n)))
    verdicts, after = examined.verdicts_at(0), task.embed(examined.examples(0, range(n)))
    if way == "to":
        naive, attacked = clean_ranks_to_text(before, encoder, told), clean_ranks_to_text(after, encoder, told)
    else:
        naive, attacked = ranks_of_text(before, clean, encoder, told), ranks_of_text(after, clean, encoder, told)
    assert [one.rank for one in examined.clean().values()] == naive
    assert max(naive) > 1  # the tied ones, at least
    for metric, k in (("R@1", 1), ("R@5", 5), ("R@10", 10)):
        assert result.value(metric=metric, threat_model="clean") == pytest.approx(
            100 * sum(rank <= k for rank in naive) / n
        )
    assert {row.n for row in result.rows} == {n}
    assert sum(attacked) > sum(naive)
    assert all(verdict.rank >= rank for verdict, rank in zip(verdicts.values(), attacked, strict=True))


class Coarse(Linear):
    """Embeddings are the nearest of a few axes: cosines are exact, and most of them are ties."""

    def read(self, modality, x, space):
        return torch.nn.functional.one_hot(super().read(modality, x, space)[:, :5].argmax(dim=1), LATENT).float()

    def embed_text(self, texts):
        return torch.nn.functional.one_hot(super().embed_text(texts)[:, :5].argmax(dim=1), LATENT).float()


@pytest.mark.parametrize("way", ["to", "of"])
def test_ties_count_against_the_truth(way, told):
    task = retrieval(Coarse(), told, "image", **{way: "text"})
    z = task.embed(task.load(range(len(task))))
    twin = (
        clean_ranks_to_text(z, task.encoder, told)
        if way == "to"
        else ranks_of_text(z, task.clean("image"), task.encoder, told)
    )
    assert task.goal(range(len(task))).rank(z).tolist() == twin
    assert len(set(twin)) > 3


def test_a_caption_of_two_samples_is_a_tie_between_them(told):
    task = retrieval(Conv(), told, "image", to="text")
    goal = task.goal([1, 7])
    shared = task.encoder.embed_text(told.all_captions[1][:1])
    assert goal.rank(shared.expand(2, -1)).tolist() == [2, 2]


def test_one_caption_each_is_the_old_question_bit_for_bit():
    encoder, plain, told = Conv(), ToyData(N), Told(most=1)
    told.captions = plain.captions
    told.all_captions = [(one,) for one in plain.captions]
    told.fingerprint = plain.fingerprint
    assert not has_several_captions(told)
    for way in ("to", "of"):
        old, new = (retrieval(encoder, data, "image", **{way: "text"}) for data in (plain, told))
        assert old.question == new.question
        x = old.load(range(N))
        assert old.goal(range(N)).margin(old.embed(x)).equal(new.goal(range(N)).margin(new.embed(new.load(range(N)))))
        assert new.dataset is told
        assert (
            audit(old, PGD(steps=1), Linf("2/255"), checks=False).rows
            == audit(new, PGD(steps=1), Linf("2/255"), checks=False).rows
        )


def test_queries_by_caption(told):
    by = ByCaption(told)
    assert len(by) == sum(map(len, told.all_captions)) == len(set(by.ids))
    assert [by.item.count(item) for item in range(N)] == [len(one) for one in told.all_captions]
    assert by.captions == [caption for one in told.all_captions for caption in one]
    assert by.ids[0] == f"{told.ids[0]} caption 1"
    rows = by.own([3, 0])
    assert sorted(set(rows[0].tolist())) == [row for row, item in enumerate(by.item) if item == 3]
    assert set(rows[1].tolist()) == {0}
    assert by.fingerprint != told.fingerprint
    assert captions_of(ToyData(2, captions=False)) is None
    assert not has_several_captions(ToyData(2, captions=False))


@pytest.mark.bits
def test_items_are_decoded_once_and_tables_do_not_depend_on_batches():
    data = Told()
    task = retrieval(Conv(), data, "image", of="text", limit=9)
    assert len(task) == 9
    results = [
        audit(task, (PGD(steps=2), PGD(steps=2, loss="ce")), Linf("3/255"), batch_size=size, checks=False).rows
        for size in (1, 4, 64)
    ]
    assert results[0] == results[1] == results[2]
    assert data.decoded <= N + PROBED  # nine queries, a gallery of twelve items; a few are probed


def test_the_question_to_other_data_and_encoders(told):
    task = retrieval(Conv(), told, "image", of="text", limit=3)
    other = task.over(Told(most=2))
    assert isinstance(other.dataset, ByCaption)
    assert other.items.fingerprint == "told-12-2"
    assert task.on(Conv()).dataset is task.dataset
    assert task.question != other.question
    assert retrieval(Conv(), told, "image").question != retrieval(Conv(), Told(most=2), "image").question
    assert len(Retrieval(Conv(), told, "image", task.space, None, "audio").centers) == N  # captions play no part there


# ---------------------------------------------------------------------------------------------------- several truths


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("k", [1, 2])
def test_a_goal_with_several_truths(loss, k):
    generator = torch.Generator().manual_seed(0)
    z, rows = (
        torch.nn.functional.normalize(torch.randn(n, 6, generator=generator, dtype=torch.float64), dim=1)
        for n in (5, 9)
    )
    centers = ClassCenters(rows, torch.arange(9), tuple("abcdefghi"))
    label, also = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([[5, 6], [6, 1], [2, 2], [0, 8], [7, 7]])
    goal = Misclassify(centers, label, k, loss, 3.0, also=also)
    assert torch.autograd.gradcheck(goal.loss, z.clone().requires_grad_())
    scores = z @ rows.T
    for i in range(5):
        own = {int(label[i]), *also[i].tolist()}
        best, wrong = (
            max(float(scores[i, c]) for c in own),
            sorted((float(scores[i, c]) for c in range(9) if c not in own), reverse=True),
        )
        assert int(goal.rank(z)[i]) == 1 + sum(one >= best for one in wrong)
        assert float(goal.margin(z)[i]) == pytest.approx(wrong[0] - best)
        value = float(goal.loss(z)[i])
        if loss == "margin":
            assert value == pytest.approx(wrong[k - 1] - best)
        if loss == "cosine":
            assert value == pytest.approx(-sum(float(scores[i, c]) for c in own) / len(own))
        if loss == "ce":
            assert value == pytest.approx(float(torch.logsumexp(3 * torch.tensor([best, *wrong]), 0)) - 3 * best)
        rivals = goal.rivals(z, 3)[i].tolist()
        assert [float(scores[i, c]) for c in rivals] == pytest.approx(wrong[:3])
    assert (goal.loss(z) >= 0).equal(goal.reached(z)) or loss in ("ce", "cosine", "dlr")
    picked = goal[torch.tensor([3, 1])]
    assert picked.also.tolist() == [[0, 8], [6, 1]]
    assert picked.loss(z[[3, 1]]).equal(goal.loss(z)[[3, 1]]) or loss == "cosine"
    against = goal.against(goal.rivals(z, 1)[:, 0])
    assert torch.isfinite(against.loss(z)).all()
