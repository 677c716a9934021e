"""Training over ranks: the whole batch's gradient from slices, and real processes that end where one process does."""

import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

import own_process
from calibration.test_adversarial_training import recipe
from ironbind.attacks import PGD
from ironbind.calibration.adversarial_training import AdversarialTrainer
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.data_parallel import own_share, sum_gradients, whole_batch
from ironbind.calibration.objectives import HARDENED, infonce, l2, modality_consistency, weighted
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics import ranks
from ironbind.numerics.ranks import SingleProcess
from ironbind.types import CalibrationRecipe, ClassCenters, InputError, Linf, Stage, Views
from toys import Conv, ToyData


class Scripted:
    """One of `size` ranks, of which the sums with the others are known beforehand."""

    backend, dealing = "scripted", False

    def __init__(self, rank, size, sums):
        self.rank, self.size, self.sums = rank, size, list(sums)

    def sum(self, tensor):
        return tensor.copy_(self.sums.pop(0))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 25])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_shares_cover_a_batch_once_and_are_even(count, size):
    shares = [own_share(count, Scripted(rank, size, ())) for rank in range(size)]
    assert [row for share in shares for row in range(count)[share]] == list(range(count))
    lengths = [share.stop - share.start for share in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("objective", [HARDENED, infonce, weighted((1.0, infonce), (0.5, modality_consistency))])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_the_sum_over_ranks_is_the_gradient_of_the_whole_batch(objective, size):
    """Of objectives that compare the samples of a batch too; 5 samples leave some of 7 ranks without any."""
    draw = torch.Generator().manual_seed(0)
    x, label = torch.randn(5, 6, generator=draw), torch.tensor([0, 1, 2, 0, 1])
    centers = ClassCenters(normalize(torch.randn(3, 4, generator=draw), dim=1), torch.arange(3), tuple("abc"))
    paired = {"text": normalize(torch.randn(5, 4, generator=draw), dim=1)}
    network = nn.Linear(6, 4)
    torch.manual_seed(0)
    nn.init.normal_(network.weight)

    def embeddings(rows):
        z = network(x[rows])
        return normalize(z.detach() + 0.1, dim=1), normalize(z, dim=1), normalize(z + 0.3, dim=1)

    everyone = [z.detach() for z in embeddings(slice(None))]
    gradients, losses = [], []
    for rank in range(size):
        group = Scripted(rank, size, everyone)
        share = own_share(5, group)
        clean, clean_out, adv_out = (whole_batch(z, share, 5, group) for z in embeddings(share))
        loss = objective(Views(clean, clean_out, adv_out, label, centers, paired))
        losses.append(loss.item())
        if share.start < share.stop:
            gradients.append(torch.autograd.grad(loss, network.parameters()))
    clean, clean_out, adv_out = (whole_batch(z, slice(0, 5), 5, SingleProcess()) for z in embeddings(slice(None)))
    loss = objective(Views(clean, clean_out, adv_out, label, centers, paired))
    wanted = torch.autograd.grad(loss, network.parameters())
    assert losses == pytest.approx([loss.item()] * size, rel=1e-6)
    for of_ranks, of_all in zip(zip(*gradients, strict=True), wanted, strict=True):
        assert torch.allclose(torch.stack(of_ranks).sum(dim=0), of_all, atol=1e-6)


def test_a_parameter_without_a_gradient_takes_part_in_the_sum():
    first, second = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    first.grad = torch.ones(2)
    sum_gradients([first, second], Scripted(0, 2, [torch.tensor([5.0, 6.0, 7.0, 8.0])]))
    assert first.grad.tolist() == [5, 6]
    assert second.grad.tolist() == [7, 8]


def test_ranks_that_see_other_data_are_refused_on_every_rank(monkeypatch):
    class Group(SingleProcess):
        def gather(self, value):
            return held

    monkeypatch.setattr(ranks, "current", Group)
    held = [{"weights": "w", "data": one} for one in ("abc", "abc", "abc")]
    ranks.refuse_unlike(weights="w", data="abc")
    held[1]["data"] = "abd"
    with pytest.raises(InputError, match=re.escape("rank 1 sees other data (abd) than rank 0 (abc)")):
        calibrate(zero_shot(Conv(), ToyData(8), "image"), recipe(steps=1))


# ----------------------------------------------------------------------------------------------------- real processes

ONCE = Stage(l2, PGD(2, stop_when_reached=False), Linf("2/255"), epochs=2)
RECIPES = {
    "live": recipe(objective=infonce),
    "small": recipe(batch_size=2, steps=3),
    "once": replace(CalibrationRecipe("once", (ONCE,), "linear"), samples=30),
}


def train(out: Path, stop: int, names: Sequence[str]) -> None:
    """What a rank does. `stop`: the second rank is killed after so many steps."""
    group = ranks.join()
    task = zero_shot(Conv(), ToyData(24), "image")
    save = AdversarialTrainer._save

    def save_and_end(self):
        save(self)
        if self.step >= stop:
            self.group.gather(None)
            if self.group.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    if stop:
        AdversarialTrainer._save = save_and_end  # in this process, which ends with it
    found = {}
    for name in names:
        hard = calibrate(task, RECIPES[name], cache=out / name, batch_size=4)
        (record,) = hard.records
        found[name] = {
            "hash": hard.weights_sha256, "losses": [record.first_loss, record.last_loss], "curve": record.curve,
            "ranks": record.ranks, "backend": record.backend, "seen": record.samples_seen,
            "x": hard.embed("image", task.load(range(8)))[:, :4].tolist(),
        }  # fmt: skip
    (out / f"{group.rank}.json").write_text(json.dumps(found))


def launched(count, out, *names, stop=0):
    """What every one of `count` ranks found. `stop`: the second rank is killed after so many steps, which must end the
    others.
    """
    out.mkdir(exist_ok=True)
    if count == 1:
        train(out, stop, names)  # in this process, which loads for those that are forked from it what training needs
        return [json.loads((out / "0.json").read_text())]
    codes = own_process.ranks(count, train, out, stop, names, said=out / "said")
    said = own_process.text(out / "said")
    if stop:
        assert codes == [1, -signal.SIGKILL], said
        assert "a rank of this run has ended" in said
        return []
    assert not any(codes), said
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(count)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By number of ranks: what each of them found. Three go on where two were when one of them was killed."""
    folder = tmp_path_factory.mktemp("ranks")
    names = ("live", "small", "once")
    several = {count: launched(count, folder / str(count), *names) for count in (1, 2)}
    launched(2, folder / "3", "live", stop=4)
    assert len(list((folder / "3" / "live").iterdir())) == 1
    return {**several, 3: launched(3, folder / "3", *names)}


def close(found, wanted):
    """The same training, but for the order in which gradients were added."""
    assert found["losses"] == pytest.approx(wanted["losses"], rel=0.02)
    assert [point[0] for point in found["curve"]] == [point[0] for point in wanted["curve"]]
    assert found["seen"] == wanted["seen"]
    assert torch.allclose(torch.tensor(found["x"]), torch.tensor(wanted["x"]), atol=0.05)


@pytest.mark.parametrize("count", [2, 3])
def test_all_ranks_end_with_equal_weights_where_one_does(found, count):
    """Batches of two samples leave one of three ranks without any; the live one was begun by two."""
    assert all(one == found[count][0] for one in found[count])
    for name in ("live", "small"):
        close(found[count][0][name], found[1][0][name])
    record = found[count][0]["live"]
    assert (record["ranks"], record["backend"]) == (count, "gloo")
    assert (found[1][0]["live"]["ranks"], found[1][0]["live"]["backend"]) == (1, "")


@pytest.mark.parametrize("count", [2, 3])
def test_examples_crafted_once_are_the_same_bits_from_any_number_of_ranks(found, count):
    wanted, (have, *_) = found[1][0]["once"], found[count]
    assert (have["once"]["hash"], have["once"]["losses"]) == (wanted["hash"], wanted["losses"])
