"""Low-rank updates cut down to a number of parameters."""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration.adapters import SEPARATOR, Adapters
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.calibration.narrowing import narrowed, reshaped
from ironbind.calibration.objectives import HARDENED
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import AdapterShape, AdversarialTraining, CalibrationRecipe, InputError, Linf, Stage

WIDE = AdapterShape(rank=8, purifier=0)


def trained(shape: AdapterShape = WIDE, size: float = 0.05, of=lambda layer: True) -> Calibrated:
    """The built-in encoder with random updates, of every layer or of those that are asked for."""
    encoder = load_encoder("tiny")
    adapters = Adapters(encoder, "image", shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, part in adapters.parts["low_rank"].named_children():
            if of(name.replace(SEPARATOR, ".")):
                part.up.copy_(size * torch.randn(part.up.shape, generator=generator))
        for parameter in adapters.parts["norms"].parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return Calibrated(encoder, {}, "wide", None, [], {"image": adapters})


@pytest.fixture(scope="module")
def task():
    return zero_shot(load_encoder("tiny"), load_dataset("world", split="test", n=8, seed=0), "image")


def low_rank(hard: Calibrated) -> int:
    return sum(parameter.numel() for parameter in hard.adapters["image"].parts["low_rank"].parameters())


def test_with_parameters_enough_it_is_the_same_function(task):
    """But for layers whose whole matrix is smaller than its update, which keep all directions that a narrow one can."""
    hard = trained(of=lambda layer: ".mlp." in layer or "attention" in layer)
    x = task.load(range(8))
    same = narrowed(hard, task, 10**7)
    assert torch.allclose(same.embed("image", x), hard.embed("image", x), atol=2e-5)
    assert not torch.allclose(same.embed("image", x), same.backbone.embed("image", x), atol=1e-2)


def test_the_parameters_are_kept_to_and_spent_where_updates_are(task):
    hard = trained(of=lambda layer: ".mlp." in layer)
    norms = hard.trainable() - low_rank(hard)
    for parameters in (norms, norms + 500, norms + 3000):
        narrow = narrowed(hard, task, parameters)
        assert parameters - 500 < narrow.trainable() <= parameters
        ranks = narrow.adapters["image"].shape.ranks
        assert all(".mlp." in layer for layer, rank in ranks.items() if rank)
    assert sum(ranks.values()) > 4


def test_more_parameters_keep_more(task):
    """The nearer to the wide function, the more of them; and nearer than one rank for all layers comes."""
    hard, x = trained(), task.load(range(8))
    wide = hard.embed("image", x)

    def distance(narrow):
        return float((narrow.embed("image", x) - wide).norm())

    norms = hard.trainable() - low_rank(hard)
    few, some, many = (distance(narrowed(hard, task, norms + extra)) for extra in (0, 8000, 24000))
    assert few > some > many


def test_it_is_saved_and_goes_on(task, tmp_path):
    narrow = narrowed(trained(), task, 12000)
    narrow.save(tmp_path)
    again = load_calibrated(narrow.backbone, tmp_path)
    assert again.weights_sha256 == narrow.weights_sha256
    assert again.adapters["image"].shape == narrow.adapters["image"].shape
    assert hash(again.adapters["image"].shape) == hash(narrow.adapters["image"].shape)
    stage = Stage(
        HARDENED, PGD(steps=1), Linf("2/255"), steps=2, batch_size=4, trains=("low_rank", "norms"),
        adversarial_training=AdversarialTraining(PGD(steps=1), validation=4, every=1),
    )  # fmt: skip
    recipe = CalibrationRecipe("on", (stage,), None, 0, AdapterShape(rank=4, purifier=0))
    further = calibrate(task, recipe, load_dataset("world", split="train", n=8, seed=0), start=again)
    assert further.adapters["image"].shape == narrow.adapters["image"].shape
    assert further.trainable() == narrow.trainable()


def test_what_cannot_be_narrowed(task):
    with pytest.raises(InputError, match="has no low-rank updates for image"):
        narrowed(Calibrated(load_encoder("tiny"), {}, "none", None), task, 10000)
    with pytest.raises(InputError, match="has purifier for image, which narrowing would lose"):
        narrowed(trained(replace(WIDE, purifier=4)), task, 10000)
    with pytest.raises(InputError, match="10 parameters: the norms of image alone have"):
        narrowed(trained(), task, 10)
    with pytest.raises(InputError, match="rank -1"):
        AdapterShape(ranks={"layer": -1})


CORES = AdapterShape(rank=12, ranks={"stem": 20}, core=True, purifier=0)


def cored(shape: AdapterShape = CORES) -> Calibrated:
    """The built-in encoder with random cores and norms."""
    adapters = Adapters(load_encoder("tiny"), "image", shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (*adapters.parts["low_rank"].parameters(), *adapters.parts["norms"].parameters()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return Calibrated(load_encoder("tiny"), {}, "cores", None, [], {"image": adapters})


@pytest.mark.parametrize(
    "shape",
    [
        replace(CORES, purifier=4),
        replace(CORES, rank=16, ranks={"stem": 24}, purifier=4),
    ],
    ids=["a purifier more", "wider cores and a purifier"],
)
@pytest.mark.parametrize("stem", [20, 0])
def test_another_shape_that_has_all_is_the_same_function(task, shape, stem):
    hard, x = cored(replace(CORES, ranks={"stem": stem})), task.load(range(8))
    made = reshaped(hard, "image", shape)
    assert made.adapters["image"].shape == shape
    assert made.trainable() > hard.trainable()
    assert torch.allclose(made.embed("image", x), hard.embed("image", x), atol=1e-6)
    assert not torch.allclose(made.embed("image", x), made.backbone.embed("image", x), atol=1e-2)


def test_a_smaller_core_is_the_leading_block(task):
    hard = cored()
    made = reshaped(hard, "image", replace(CORES, rank=5, ranks={"stem": 7}, purifier=4))
    wide = dict(hard.adapters["image"].parts["low_rank"].named_children())
    for name, part in made.adapters["image"].parts["low_rank"].named_children():
        rank = len(part.core)
        assert rank == (7 if "stem" in name.split(SEPARATOR) else 5)
        assert torch.equal(part.core, wide[name].core[:rank, :rank])
        assert torch.equal(part.left, wide[name].left[:, :rank])
        assert torch.equal(part.right, wide[name].right[:rank])
    norms = [one.adapters["image"].parts["norms"].state_dict() for one in (hard, made)]
    assert all(torch.equal(norms[0][key], norms[1][key]) for key in norms[0])


def test_two_factors_grow_and_keep_their_purifier(task):
    hard, x = trained(replace(WIDE, purifier=4)), task.load(range(8))
    with torch.no_grad():
        for parameter in hard.adapters["image"].parts["purifier"].parameters():
            parameter.add_(0.01)
    made = reshaped(hard, "image", AdapterShape(rank=10, purifier=4))
    assert torch.allclose(made.embed("image", x), hard.embed("image", x), atol=1e-6)


def test_cores_of_two_factors_are_the_nearest(task):
    """No other core between the same vectors is nearer to the update."""
    hard = trained()
    made = reshaped(hard, "image", replace(WIDE, rank=6, core=True))
    generator = torch.Generator().manual_seed(1)
    for name, part in made.adapters["image"].parts["low_rank"].named_children():
        update = hard.adapters["image"].parts["low_rank"].get_submodule(name)()
        missed = float((part() - update).norm())
        assert missed < float(update.norm())
        for _ in range(3):
            other = part.core + 0.05 * torch.randn(part.core.shape, generator=generator)
            there = part.left @ other @ part.right
            assert float((there.reshape(update.shape) - update).norm()) > missed


def test_a_narrower_purifier_keeps_its_strongest_channels(task):
    """Those that say nothing are the first to go: without them it is the same function."""
    hard, x = trained(replace(WIDE, purifier=6)), task.load(range(4))
    (net,) = (purifier.net for purifier in hard.adapters["image"].parts["purifier"].children())
    silent, half = [0, 3], [1, 2, 6, 10]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
        for layer in (net.first, net.up):
            layer.weight[silent] = layer.bias[silent] = 0
        for layer in (net.down, net.wide):
            layer.weight[half] = layer.bias[half] = 0
    made = reshaped(hard, "image", replace(WIDE, purifier=4))
    assert made.trainable() < hard.trainable()
    assert torch.allclose(made.embed("image", x), hard.embed("image", x), atol=1e-5)
    plain = reshaped(trained(), "image", WIDE)
    assert not torch.allclose(made.embed("image", x), plain.embed("image", x), atol=1e-3)


def test_what_another_shape_would_lose(task):
    cores, factors = cored(), trained(replace(WIDE, purifier=4))
    for hard, shape, lost in (
        (cores, AdapterShape(rank=12, purifier=0), "cores"),
        (cores, replace(CORES, norms=False), "norms"),
        (factors, WIDE, "purifier"),
        (factors, replace(WIDE, purifier=6), "purifier of 4 channels"),
        (factors, replace(WIDE, purifier=4, rank=6), "rank"),
        (cores, replace(CORES, ranks={"stem": 0}), "rank"),
    ):
        with pytest.raises(InputError, match=f"would lose its .*{lost}.* for image"):
            reshaped(hard, "image", shape)
    with pytest.raises(InputError, match="has no adapters for video"):
        reshaped(cores, "video", CORES)
