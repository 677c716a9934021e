"""Training heads on toys: what improves, what stays, what is cached, what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ironbind.attacks import FGSM, PGD
from ironbind.calibration import HEADS
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import Calibrated, apply_head
from ironbind.calibration.objectives import center_cross_entropy, infonce, l2, weighted
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.types import AdversarialTraining, CalibrationRecipe, ClassCenters, Encoder, Linf, Stage
from toys import CLASSES, Conv, Counting, Linear, ToyData, audit, class_latent, state_hash

CRAFT = PGD(steps=3, step_size=0.4, stop_when_reached=False)
BUDGET = Linf("3/255")


def recipe(objective=center_cross_entropy, head="linear", seed=0, name="toy", **knobs) -> CalibrationRecipe:
    return CalibrationRecipe(
        name,
        (Stage(objective, CRAFT, BUDGET, **{"epochs": 12, "batch_size": 32, "learning_rate": 3e-3, **knobs}),),
        head,
        seed,
    )


@pytest.fixture(scope="module")
def encoder() -> Conv:
    return Conv()


@pytest.fixture(scope="module")
def task(encoder):
    return zero_shot(encoder, ToyData(40), "image")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("pools")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dim", [3, 16, 65])
def test_heads_are_the_identity_at_birth(head, dim):
    z = torch.randn(9, dim, generator=torch.Generator().manual_seed(dim))
    for rows in (z, nn.functional.normalize(z, dim=1)):
        assert apply_head(HEADS[head](dim), rows).equal(nn.functional.normalize(rows, dim=1))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "objective",
    [center_cross_entropy, l2, infonce, weighted((1.0, infonce), (0.5, l2))],
    ids=["ce", "l2", "nce", "sum"],
)
def test_training_lowers_the_loss_and_helps_against_replay(objective, head, task, cache):
    before = state_hash(task.encoder)
    hard = calibrate(task, recipe(objective, head), samples=160, cache=cache)
    (record,) = hard.records
    assert record.last_loss < record.first_loss
    assert state_hash(task.encoder) == before
    assert not any(one.requires_grad for one in hard.heads.parameters())
    result = audit(task.on(hard), PGD(steps=4), BUDGET, checks=False)
    assert (
        result.value(metric="top1", threat_model="replayed") > result.value(metric="top1", threat_model="whitebox") + 5
    )


def test_a_calibrated_encoder_is_an_encoder(task, cache):
    hard = calibrate(task, recipe(), samples=160, cache=cache)
    assert isinstance(hard, Encoder)
    assert (hard.name, hard.dim, hard.calibration) == ("conv+toy", 16, "toy")
    x = task.load(range(4))
    z = hard.embed("image", x)
    assert torch.allclose(z.norm(dim=1), torch.ones(4))
    assert not z.equal(task.encoder.embed("image", x))
    assert hard.embed("image", x, space="pixels").equal(z)
    sound = zero_shot(task.encoder, task.dataset, "audio").load(range(4))
    assert hard.embed("audio", sound, "logmel").equal(
        task.encoder.embed("audio", sound, "logmel")
    )  # no head, no change
    assert hard.embed_text(CLASSES).equal(task.encoder.embed_text(CLASSES))
    assert hard.trainable() == 16 * 17
    assert hard.weights_sha256 != task.encoder.weights_sha256


def test_the_record_says_what_was_trained(task, cache):
    hard = calibrate(task, recipe(weighted((1.0, infonce), (0.5, l2)), "mlp", name="both"), samples=160, cache=cache)
    (record,) = hard.records
    assert (record.name, record.modality, record.space, record.head) == ("both", "image", "pixels", "mlp")
    assert record.objective == "1 infonce() + 0.5 l2()"
    assert (record.attack, record.eps, record.epochs, record.train_samples) == ("pgd3-margin", "3/255", 12, 160)
    assert record.trainable == hard.trainable() == 16 * 4 + 4 + 4 * 16 + 16
    assert record.encoder_parameters == sum(one.numel() for one in task.encoder.parameters())


def test_pools_are_crafted_once(encoder, tmp_path):
    counting = Counting(encoder)
    task = zero_shot(counting, ToyData(16), "image")

    def distance(recipe_, *, samples=32, task=task, **more) -> int:
        counting.rows.clear()
        calibrate(task, recipe_, samples=samples, cache=tmp_path, **more)
        return len(counting.rows)

    assert distance(recipe(epochs=1)) > 4
    assert distance(recipe(l2, epochs=3, name="another", learning_rate=1e-2)) == 0  # same examples, other objective
    assert distance(recipe(epochs=1), batch_size=7) == 0
    assert distance(recipe(epochs=1, seed=1)) > 4
    assert distance(recipe(epochs=1), samples=16) > 4
    assert distance(replace(recipe(), stages=(Stage(l2, CRAFT, Linf("2/255"), epochs=1),))) > 4
    assert distance(replace(recipe(), stages=(Stage(l2, FGSM(), BUDGET, epochs=1),))) > 2
    other = ClassCenters(task.centers.z.flip(0), task.centers.label, task.centers.names)
    assert (
        distance(recipe(epochs=1), task=zero_shot(counting, ToyData(16), "image", centers=other)) > 4
    )  # other centers, other examples


def test_a_broken_cache_is_made_again(encoder, tmp_path):
    task = zero_shot(encoder, ToyData(16), "image")
    first = calibrate(task, recipe(epochs=2), samples=32, cache=tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert calibrate(task, recipe(epochs=2), samples=32, cache=tmp_path).weights_sha256 == first.weights_sha256
    assert path.stat().st_size > 100


@pytest.mark.bits
def test_same_seed_same_bits(task, tmp_path, cache):
    one = calibrate(task, recipe(head="mlp"), samples=160, cache=cache)
    assert calibrate(task, recipe(head="mlp"), samples=160, cache=tmp_path).weights_sha256 == one.weights_sha256
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert (
        calibrate(task, recipe(head="mlp"), samples=160, cache=tmp_path, batch_size=9).weights_sha256
        == one.weights_sha256
    )
    assert torch.get_rng_state().equal(before)
    assert calibrate(task, recipe(head="mlp", seed=1), samples=160, cache=tmp_path).weights_sha256 != one.weights_sha256


def test_stages_follow_each_other(task, cache):
    stage = Stage(l2, CRAFT, BUDGET, epochs=6, batch_size=32, learning_rate=3e-3)
    hard = calibrate(
        task, CalibrationRecipe("two", (stage, replace(stage, objective=infonce))), samples=160, cache=cache
    )
    assert [one.objective for one in hard.records] == ["l2()", "infonce()"]
    once = calibrate(task, CalibrationRecipe("two", (stage,)), samples=160, cache=cache)
    assert hard.records[0].last_loss == once.records[0].last_loss
    assert hard.weights_sha256 != once.weights_sha256


def test_two_spaces_of_a_modality_share_a_head(encoder, tmp_path):
    data = ToyData(24)
    tasks = [zero_shot(encoder, data, "audio", space=space) for space in ("waveform", "logmel")] + [
        zero_shot(encoder, data, "image")
    ]
    stage = Stage(l2, CRAFT, BUDGET, {"waveform": Linf("1/255")}, epochs=2)
    hard = calibrate(tasks, CalibrationRecipe("shared", (stage,)), samples=32, cache=tmp_path)
    assert set(hard.heads) == {"audio", "image"}
    assert [(one.modality, one.space, one.eps, one.train_samples) for one in hard.records] == [
        ("audio", "waveform+logmel", "1/255+3/255", 64),
        ("image", "pixels", "3/255", 32),
    ]


def test_a_limit_on_the_audit_is_none_on_the_training(encoder):
    task = zero_shot(encoder, ToyData(24), "image", limit=4)
    (record,) = calibrate(task, recipe(epochs=1), train=ToyData(40, seed=5)).records
    assert record.train_samples == 40


def test_several_rows_per_class(encoder):
    rows = nn.functional.normalize(
        torch.stack([class_latent(one) for one in CLASSES for _ in range(3)]) + 0.1 * torch.randn(24, 16), dim=1
    )
    centers = ClassCenters(rows, torch.arange(8).repeat_interleave(3), CLASSES)
    hard = calibrate(zero_shot(encoder, ToyData(24), "image", centers=centers), recipe(epochs=3), samples=32)
    assert hard.records[0].last_loss < hard.records[0].first_loss


class Untrainable(ToyData):
    split = None  # type: ignore[assignment]


def empty():
    data = ToyData(8)
    data.ids, data.labels, data.captions = [], [], []
    return data


def test_what_cannot_be_trained_is_one_line(encoder):
    task = zero_shot(encoder, ToyData(16), "image")
    bad = {
        "at least one task": lambda: calibrate([], recipe()),
        "one encoder at a time": lambda: calibrate([task, zero_shot(Linear(), ToyData(16), "image")], recipe()),
        "no training split of its own": lambda: calibrate(zero_shot(encoder, Untrainable(16), "image"), recipe()),
        "holds no sample to train on": lambda: calibrate(task, recipe(), train=empty()),
        "diverged": lambda: calibrate(task, recipe(learning_rate=float("inf"), epochs=2), samples=32),
        "given for space 'waveform'": lambda: calibrate(
            task, CalibrationRecipe("x", (Stage(l2, CRAFT, Linf(0.1, "waveform")),)), samples=8
        ),
        "does not hold modality 'image'": lambda: calibrate(task, recipe(), train=ToyData(8, modalities=["audio"])),
        "head 'conv' is not known": lambda: calibrate(task, recipe(head="conv"), samples=8),
    }
    for message, wrong in bad.items():
        with pytest.raises(ValueError, match=message) as caught:
            wrong()
        assert "\n" not in str(caught.value)


def test_retrieval_audits_of_a_calibrated_encoder(task, cache):
    hard = calibrate(task, recipe(), samples=160, cache=cache)
    result = audit(retrieval(hard, ToyData(16), "image"), PGD(steps=2), BUDGET, checks=False)
    assert {row.threat_model for row in result.rows} == {"clean", "whitebox", "replayed", "adaptive"}
    assert isinstance(hard, Calibrated)


class Normalised(Linear):
    """`Linear` with a batch normalisation, and statistics of its own data."""

    def extra(self) -> None:
        self.norm = nn.BatchNorm1d(16)
        with torch.no_grad():
            self.norm.running_mean.fill_(0.05)

    def read(self, modality, x, space):
        return self.norm(super().read(modality, x, space))


LIVE = AdversarialTraining(PGD(steps=1), validation=8, every=2)


@pytest.mark.parametrize("live", [None, LIVE], ids=["crafted once", "live"])
def test_a_model_in_train_mode_is_trained_on_as_it_is_in_evaluation_mode_and_stays_as_it_was(live):
    steps = {} if live is None else {"steps": 2, "adversarial_training": live, "epochs": 1}

    def trained(encoder):
        return calibrate(zero_shot(encoder, ToyData(16), "image"), recipe(batch_size=8, **steps), samples=24)

    still, moving = Normalised(), Normalised().requires_grad_(True).train()
    before = state_hash(moving)
    expected, found = trained(still), trained(moving)
    assert state_hash(moving) == before
    assert all(part.training for part in moving.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in moving.parameters())
    for name, value in expected.heads.state_dict().items():
        assert found.heads.state_dict()[name].equal(value)
