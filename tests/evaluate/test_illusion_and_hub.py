"""Illusions and hubs as tasks: audited by rung, replayed and adaptive, like any other question."""

import pytest
import torch
from torch.nn.functional import normalize

from ironbind.attacks import PGD
from ironbind.evaluate.tasks.illusion import Gallery, HubTask, IllusionTask
from ironbind.types import InputError, Linf
from toys import LATENT, Conv, Linear, ToyData, audit

LADDER = [Linf("2/255"), Linf("8/255"), Linf("30/255")]


class Gap(Linear):
    """Sounds sit in a narrow cone, as the modalities of real encoders do: whatever leans towards its axis is near all
    of them.
    """

    def embed(self, modality, x, space=None):
        z = super().embed(modality, x, space)
        return normalize(0.3 * z + torch.eye(LATENT)[0], dim=-1) if modality == "audio" else z


def task(kind, n=24, modality="image", other="text", **knobs):
    encoder = Conv()
    return kind(encoder, ToyData(n), modality, encoder.inputs[modality].space_named(None), other=other, **knobs)


@pytest.mark.parametrize("other", ["text", "thermal"])
def test_illusions_come_true_as_the_budget_grows(other):
    result = audit(task(IllusionTask, other=other), PGD(steps=15), LADDER, checks=False)
    values = [row.value for row in result.select(metric="resists")]
    assert values[0] == 100.0  # nobody is taken for his target by himself: targets are of other classes
    assert values == sorted(values, reverse=True)
    assert values[-1] < 30
    assert {row.task for row in result.rows} == {f"illusion:image->{other}"}


def test_targets_are_of_another_class_and_drawn_by_seed():
    one, again, other = task(IllusionTask), task(IllusionTask), task(IllusionTask, target_seed=1)
    assert one.targets.equal(again.targets)
    assert not one.targets.equal(other.targets)
    assert all(int(target) != label for target, label in zip(one.targets, one.dataset.labels, strict=True))
    items = task(IllusionTask, other="audio")
    assert all(
        items.dataset.labels[int(target)] != label
        for target, label in zip(items.targets, items.dataset.labels, strict=True)
    )
    assert one.question != other.question


def test_one_class_leaves_nothing_to_aim_at():
    alone = task(IllusionTask, other="audio")
    alone.dataset.labels = [0] * len(alone.dataset)
    with pytest.raises(InputError, match="holds one class only"):
        audit(alone, PGD(steps=2), Linf("4/255"), checks=False)


def test_a_perturbed_item_becomes_the_answer_to_strangers():
    encoder = Gap()
    hub = HubTask(encoder, ToyData(40), "image", encoder.inputs["image"].space, other="audio")
    assert hub.name == "hub:audio->image"
    result = audit(hub, PGD(steps=20), LADDER, checks=False)
    captured = [row.value - 1 for row in result.select(metric="mean_rank")]
    assert captured[0] <= 1.5
    assert captured[-1] > 10
    resists = [row.value for row in result.select(metric="resists")]
    assert resists == sorted(resists, reverse=True)
    assert resists[-1] < 20
    known, asked = hub._halves
    assert len(known[0]) == len(asked[0]) == 20
    assert not any((known[0][i] == asked[0][j]).all() for i in range(20) for j in range(20))


def test_hubs_need_queries():
    with pytest.raises(InputError, match="at least 4 queries"):
        audit(task(HubTask, n=3), PGD(steps=2), Linf("4/255"), checks=False)


def in_a_gap(n=40, **knobs):
    encoder = Gap()
    return HubTask(encoder, ToyData(n), "image", encoder.inputs["image"].space, other="audio", **knobs)


def test_fewer_known_queries_make_a_weaker_hub():
    known = [in_a_gap(known=count) for count in (1, 20)]
    assert [len(task._halves[0][0]) for task in known] == [1, 20]
    assert known[0]._halves[1][0].equal(known[1]._halves[1][0])
    assert known[0].name == "hub:audio->image, 1 known"
    assert known[0].question != known[1].question != in_a_gap().question
    captured = [
        audit(task, PGD(steps=20), Linf("30/255"), checks=False).select(metric="mean_rank")[-1].value for task in known
    ]
    assert captured[0] < captured[1]


def test_a_hub_of_one_concept_counts_its_queries_alone():
    task = in_a_gap(concept=ToyData(40).classes[0])
    rows = [row for row, label in enumerate(task.dataset.labels) if label == 0]
    known, asked = task._halves
    assert known[0].equal(task.centers.z[rows[::2]])
    assert asked[0].equal(task.centers.z[rows[1::2]])
    with pytest.raises(InputError, match="concept 'unicorn' is no class of"):
        in_a_gap(concept="unicorn")
    with pytest.raises(InputError, match="0 known queries: expected 1 or more"):
        in_a_gap(known=0)


def test_a_hub_in_a_gallery_of_its_own():
    rows = Gallery("index.npy", normalize(torch.randn(30, LATENT, generator=torch.Generator().manual_seed(1)), dim=1))
    task = in_a_gap(gallery=rows)
    assert task.name == "hub:audio->image, in index.npy"
    queries = task.centers.z
    assert torch.allclose(task._halves[1][1], (queries @ rows.z.T).amax(dim=1)[1::2], atol=1e-6)
    with pytest.raises(InputError, match=r"index.npy: rows of 3 numbers; expected"):
        in_a_gap(gallery=Gallery("index.npy", torch.ones(5, 3)))
