"""Adversarial training on toys: its gain where heads have none, what it leaves alone, and that a kill costs no bit."""

import subprocess
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration import adversarial_training
from ironbind.calibration.adversarial_training import ValidationScore, _pace, catastrophically_overfitted
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.calibration.objectives import (
    HARDENED,
    WeightedSum,
    center_cross_entropy,
    distillation,
    l2,
    modality_consistency,
    weighted,
)
from ironbind.calibration.training_batches import order
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.embedding_shift import EmbeddingShift
from ironbind.goals.misclassify import Misclassify
from ironbind.types import (
    AdapterShape,
    AdversarialTraining,
    Attacked,
    CalibrationRecipe,
    Encoder,
    InputError,
    Linf,
    Stage,
)
from toys import Conv, Leaky, ToyData, audit, state_hash

BUDGET = Linf("2/255")
ATTACK = PGD(steps=1, step_size=1.25, loss="ce", stop_when_reached=False)
SETTINGS = AdversarialTraining(PGD(steps=2), validation=16, every=4)
STAGE = Stage(
    HARDENED,
    ATTACK,
    BUDGET,
    steps=8,
    batch_size=16,
    learning_rate=5e-3,
    schedule="one_cycle",
    trains=("low_rank", "norms", "purifier"),
    adversarial_training=SETTINGS,
)


SHAPE = AdapterShape(2, True, 4)


def recipe(*, shape=SHAPE, head=None, seed=0, stages=1, training=None, **knobs) -> CalibrationRecipe:
    stage = replace(STAGE, adversarial_training=replace(SETTINGS, **training) if training else SETTINGS, **knobs)
    return CalibrationRecipe("toy", (stage,) * stages, head, seed, shape, samples=64)


@pytest.fixture(scope="module")
def task():
    return zero_shot(Conv(), ToyData(24), "image")


@pytest.fixture(scope="module")
def trained(task) -> Calibrated:
    """The recipe, carried out once. Whoever changes it trains one of their own."""
    return calibrate(task, recipe())


@pytest.fixture(scope="module")
def longer(task) -> Calibrated:
    """The recipe with more steps."""
    return calibrate(task, recipe(steps=20))


# --------------------------------------------------------------------------------------------------------- what it does


def test_adapters_hold_where_heads_do_not():
    task = zero_shot(Leaky(), ToyData(40), "image")
    long = {"steps": 60, "batch_size": 32}
    inside = recipe(shape=AdapterShape(16, False, 0), trains=("low_rank",), **long)
    behind = recipe(shape=None, head="linear", trains=("head",), **{**long, "learning_rate": 1e-2})
    before, found = state_hash(task.encoder), {}
    for name, made in (("inside", inside), ("behind", behind)):
        hard = calibrate(task, replace(made, samples=400))
        found[name] = audit(task.on(hard), PGD(steps=10), BUDGET, checks=False)
        assert state_hash(task.encoder) == before
    assert found["behind"].value(metric="top1", threat_model="whitebox") < 20
    assert found["behind"].value(metric="top1", threat_model="adaptive") < 20
    assert found["inside"].value(metric="top1", threat_model="adaptive") > 70
    assert found["inside"].select(metric="top1", threat_model="clean", calibration="toy")[0].value > 95


def test_the_backbone_stays_and_is_the_way_back(task):
    before, x = state_hash(task.encoder), task.load(range(6))
    z = task.encoder.embed("image", x)
    hard = calibrate(task, recipe(steps=20))
    assert isinstance(hard, Encoder)
    assert state_hash(task.encoder) == before
    assert hard.backbone is task.encoder
    assert hard.backbone.embed("image", x).equal(z)
    assert not hard.embed("image", x).equal(z)
    assert not any(
        one.requires_grad or one.grad is not None for one in (*hard.parts.parameters(), *task.encoder.parameters())
    )


def test_the_record_says_what_was_trained(trained):
    (record,) = trained.records
    assert (record.head, record.parts, record.steps, record.samples_seen, record.train_samples) == (
        "none",
        "low_rank+norms+purifier",
        8,
        128,
        64,
    )
    assert record.trainable == trained.trainable()
    assert [step for step, _, _ in record.curve] == [0, 4, 8]
    assert all(0 <= adaptive <= clean <= 100 for _, clean, adaptive in record.curve)
    assert record.best_step in (0, 4, 8)
    assert record.tower_parameters < record.encoder_parameters
    assert 0 < record.first_loss < record.last_loss  # the radius has grown from nearly nothing
    assert min(record.craft_seconds, record.fit_seconds, record.data_seconds) >= 0


def test_a_state_that_left_the_old_index_is_not_chosen(task):
    loose = calibrate(task, recipe(steps=24))
    with pytest.warns(
        UserWarning, match=r"image ends as it began: of 7 validated states 6 have .* below 0.9999, the last 0\.9"
    ):
        bound = calibrate(task, recipe(steps=24, training={"cosine": 0.9999}))
    x = task.load(range(24))
    old = task.encoder.embed("image", x)
    assert (loose.embed("image", x) * old).sum(1).mean() < 0.9999
    assert bound.records[0].best_step == 0 < loose.records[0].best_step
    assert bound.embed("image", x).equal(old)
    far, near = ValidationScore(100, 80, 0.93).score(100, 0.95), ValidationScore(100, 40, 0.94).score(100, 0.95)
    assert far < near < ValidationScore(0, 0).score(100, 0.95)
    assert ValidationScore(100, 40, 0.95).score(100, 0.95) == ValidationScore(100, 40).score(100)


@pytest.mark.parametrize(
    ("stood", "adaptive", "best", "samples", "overfitted"),
    [
        (90, 0, 30, 200, True),
        (90, 15, 30, 200, True),
        (90, 16, 30, 200, False),  # more than half of the best is left
        (44, 15, 30, 200, False),  # both attacks agree within 30 points: it lost robustness, and its examples say so
        (90, 0, 9, 200, False),  # there was nothing yet that could be lost
        (90, 40, 40, 200, False),
        (90, 6.25, 18.75, 16, False),  # two samples
        (90, 6.25, 37.5, 16, True),  # five
    ],
)
def test_catastrophic_overfitting_is_a_fall_that_the_training_attack_does_not_see(
    stood, adaptive, best, samples, overfitted
):
    assert catastrophically_overfitted(stood, adaptive, best, samples) is overfitted


WEAK = PGD(steps=1, step_size=1e-6, random_start=False, loss="ce", stop_when_reached=False)


@pytest.mark.parametrize(
    ("attack", "training", "warns"),
    [
        (WEAK, {}, True),
        (PGD(steps=20, loss="ce", stop_when_reached=False), {"radius": 40.0}, False),
        (WEAK, {"aim": "clean"}, False),  # moves embeddings; there is no answer that could stand
        (WEAK, {"radius": 0.5}, False),  # stands for want of radius
    ],
)
def test_a_training_that_misleads_its_own_attack_says_so(task, monkeypatch, attack, training, warns):
    """Validation finds 60, 50, then 10 % robust; the weak attack breaks no training sample, the strong one most."""
    found = iter([ValidationScore(100, 60), ValidationScore(100, 50), ValidationScore(100, 10)])
    monkeypatch.setattr(adversarial_training.Validation, "score", lambda self: next(found))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (record,) = calibrate(task, recipe(attack=attack, training={"warm_up": 0.0, **training})).records
    assert record.best_step == 0
    told = [str(one.message) for one in said if "overfits to its training attack" in str(one.message)]
    assert len(told) == warns
    if warns:
        assert "withstand pgd1-ce, but 10 % of the validation samples pgd2-margin at step 8, 60 % at step 0" in told[0]


@pytest.mark.parametrize(("radius", "written"), [(1.0, "2/255"), (1.5, "1.5 x 2/255")])
def test_the_training_radius_is_a_multiple_of_the_budget(task, radius, written):
    spent = []

    def spy(embed, x, goal, space, budget, rng):
        spent.append(budget.radius / BUDGET.radius)
        return ATTACK(embed, x, goal, space, budget, rng)

    spy.name = "spy"
    (record,) = calibrate(task, recipe(attack=spy, training={"radius": radius, "warm_up": 0.0})).records
    assert record.eps == written
    assert spent == pytest.approx([radius] * 8)


def test_saved_and_loaded_with_its_curve(task, tmp_path):
    hard = calibrate(task, recipe(head="linear", trains=("head", "low_rank", "purifier")))
    again = load_calibrated(task.encoder, hard.save(tmp_path))
    assert again.records == hard.records
    assert again.weights_sha256 == hard.weights_sha256
    x = task.load(range(6))
    assert again.embed("image", x).equal(hard.embed("image", x))


@pytest.mark.parametrize("trains", [("low_rank",), ("norms", "purifier"), ("head",)], ids="+".join)
def test_only_what_trains_moves(task, trains):
    hard = calibrate(task, recipe(head="mlp", trains=trains))
    untouched = calibrate(task, recipe(head="mlp", learning_rate=0.0))
    parts = ("head", "low_rank", "norms", "purifier")
    moved = {
        part
        for part in parts
        for name, one in hard.parameters_of("image", (part,)).items()
        if not one.equal(untouched.parameters_of("image", (part,))[name])
    }
    assert moved <= set(trains)
    assert hard.records[0].trainable == sum(one.numel() for one in hard.parameters_of("image", trains).values())


def test_a_calibration_goes_on_from_another_of_other_shapes(task):
    first = calibrate(task, recipe(shape=AdapterShape(3, True, 0)))
    idle = calibrate(task, recipe(learning_rate=0.0), start=first)
    x = task.load(range(6))
    assert idle.embed("image", x).equal(first.embed("image", x))
    assert idle.adapters["image"].shape == first.adapters["image"].shape
    before = state_hash(first.parts)
    further = calibrate(task, recipe(), start=first)
    assert further.records[0] == first.records[0]
    assert [one.steps for one in further.records] == [8, 8]
    assert further.records[1].curve[0][1:] == idle.records[1].curve[0][1:]  # begins where the first ended
    assert state_hash(first.parts) == before  # what is gone on from is left alone
    assert not {one.data_ptr() for one in further.parts.parameters()} & {
        one.data_ptr() for one in first.parts.parameters()
    }


@pytest.mark.parametrize("rank", [5, 64])  # 64: one full matrix is smaller
def test_going_on_at_a_higher_rank_grows_what_is_there(task, longer, rank):
    idle = calibrate(task, recipe(shape=AdapterShape(rank), learning_rate=0.0), start=longer)
    x = task.load(range(6))
    assert idle.adapters["image"].shape == replace(SHAPE, rank=rank)
    assert idle.trainable() > longer.trainable()
    assert torch.allclose(idle.embed("image", x), longer.embed("image", x), atol=1e-6)
    assert not torch.allclose(idle.embed("image", x), task.encoder.embed("image", x), atol=1e-3)
    ups = {
        name: one.requires_grad_()
        for name, one in idle.parameters_of("image", ("low_rank",)).items()
        if name.endswith("up")
    }
    idle.embed("image", x)[:, 0].sum().backward()
    assert ups
    assert all(one.grad.any(dim=0).all() for one in ups.values())  # every new column learns


def test_a_head_goes_on_too_and_modalities_of_others_begin_anew(task):
    first = calibrate(task, recipe(head="linear", shape=None, trains=("head",)))
    idle = calibrate(task, recipe(head="linear", trains=("head", "low_rank"), learning_rate=0.0), start=first)
    assert state_hash(idle.heads) == state_hash(first.heads)
    other = calibrate(task, recipe())
    other.adapters, other.parts = {}, other.parts.__class__()
    assert [one.steps for one in calibrate(task, recipe(), start=other).records] == [8]


def test_what_cannot_be_gone_on_from_is_one_line(task):
    first = calibrate(task, recipe(head="linear"))
    foreign = zero_shot(Leaky(), ToyData(24), "image")
    with pytest.raises(InputError, match="to go on from is of encoder 'conv'; expected one of 'leaky'"):
        calibrate(foreign, recipe(head="linear"), start=first)
    with pytest.raises(InputError, match="has a linear head for image; expected the recipe's, mlp"):
        calibrate(task, recipe(head="mlp"), start=first)
    once = CalibrationRecipe("once", (Stage(l2, ATTACK, BUDGET),), "linear", 0)
    with pytest.raises(InputError, match="'once' crafts examples of the frozen encoder, and cannot go on from 'toy'"):
        calibrate(task, once, start=first)


def test_stages_follow_each_other(task):
    stages = (Stage(l2, ATTACK, BUDGET, epochs=2), replace(STAGE, trains=("head", "low_rank")))
    hard = calibrate(task, CalibrationRecipe("two", stages, "linear", 0, SHAPE), samples=64)
    assert [one.parts for one in hard.records] == ["head", "head+low_rank"]
    assert [one.steps for one in hard.records] == [0, 8]


def test_two_spaces_share_adapters_and_are_both_attacked():
    tasks = [zero_shot(Conv(), ToyData(24), "audio", space=space) for space in ("waveform", "logmel")]
    tasks[1] = tasks[1].on(tasks[0].encoder)
    attack = Recording()
    hard = calibrate(tasks, recipe(attack=attack, elsewhere={"waveform": Linf("1/255")}, training={"warm_up": 0.0}))
    (record,) = hard.records
    assert (record.space, record.eps, record.train_samples) == ("waveform+logmel", "1/255+2/255", 64)
    assert [(space, radius * 255) for radius, _, _, space in attack.asked] == [
        ("waveform", pytest.approx(1)),
        ("logmel", pytest.approx(2)),
    ] * 8
    assert hard.adapters["audio"].entrance == "logmel"
    x = tasks[0].load(range(4))
    mel = hard.inputs["audio"].convert(x, "logmel")
    assert torch.allclose(
        hard.embed("audio", x), hard.embed("audio", mel, space="logmel"), atol=1e-6
    )  # one purifier serves both


# --------------------------------------------------------------------------------------------------- what it is made of


@dataclass(frozen=True)
class Recording:
    """An attack that does nothing but write down what it was asked for."""

    asked: list = field(default_factory=list, repr=False, compare=False)
    name: str = "watched"
    stop_when_reached: bool = False

    def __call__(self, embed, x, goal, space, budget, rng):
        self.asked.append((budget.radius, goal, rng.ids, space.name))
        assert not embed(x).requires_grad, "parameters are held still while an attack climbs"
        none = torch.zeros(len(x), dtype=torch.long)
        return Attacked(x, none.bool(), none.float(), none, none)


def watched(task, **knobs):
    attack = Recording()
    calibrate(task, recipe(attack=attack, **knobs))
    return attack.asked


def test_the_radius_warms_up(task):
    radii = [radius * 255 for radius, *_ in watched(task, training={"warm_up": 0.5, "radius": 1.5})]
    assert radii == pytest.approx([3 * min(1, (i + 1) / 4) for i in range(8)])
    assert [radius * 255 for radius, *_ in watched(task, training={"warm_up": 0.0})] == pytest.approx([2] * 8)


def test_the_aim_is_the_truth_or_the_clean_embedding(task):
    assert all(isinstance(goal, Misclassify) for _, goal, *_ in watched(task))
    assert all(isinstance(goal, EmbeddingShift) for _, goal, *_ in watched(task, training={"aim": "clean"}))


def test_each_epoch_sees_every_sample_once_in_another_order(task):
    asked = [ids for _, _, ids, _ in watched(task, steps=None, epochs=2)]
    assert [len(ids) for ids in asked] == [16] * 8
    first, second = ([one for ids in asked[i : i + 4] for one in ids] for i in (0, 4))
    assert sorted(first) == sorted(second) == sorted(ToyData(24).split("train", 64).ids)
    assert first != second


def test_batches_stop_where_the_steps_do():
    places = order(range(10), 1, 7, 4, "seed")
    assert [len(one.rows) for one in places] == [4, 4, 2, 4, 4, 2, 4]
    assert [one.epoch for one in places] == [0, 0, 0, 1, 1, 1, 2]
    assert order(range(10), 1, 7, 4, "seed") == places
    assert order(range(10), 1, 7, 4, "other") != places


class Whole(ToyData):
    """A data set without splits."""

    split = None  # type: ignore[assignment]


def test_what_chooses_the_best_state_is_never_trained_on(task):
    def trained_and_held_out(data, **more):
        train, judge = Recording(), Recording()
        made = recipe(attack=train, training={"validation_attack": judge}, steps=None, epochs=1)
        calibrate(task, made, data, **more)
        return ({one for _, _, ids, _ in asked.asked for one in ids} for asked in (train, judge))

    trained, held_out = trained_and_held_out(Whole(40, seed=5))
    assert trained | held_out == set(Whole(40, seed=5).ids)
    assert not trained & held_out
    assert len(held_out) == 8
    trained, held_out = trained_and_held_out(ToyData(40, seed=5))
    assert trained == set(ToyData(40, seed=5).ids)
    assert held_out == set(ToyData(40, seed=5).split("tune", SETTINGS.validation).ids)
    trained, held_out = trained_and_held_out(ToyData(40, seed=5), tune=ToyData(10, seed=77))
    assert held_out == set(ToyData(10, seed=77).ids)


def test_a_tuning_split_that_is_audited_chooses_nothing():
    train = ToyData(40, seed=5)
    task = zero_shot(Conv(), train.split("tune", SETTINGS.validation), "image")
    judge = Recording()
    calibrate(task, recipe(training={"validation_attack": judge}), train)
    assert not {one for _, _, ids, _ in judge.asked for one in ids} & set(task.dataset.ids)


def test_the_best_state_is_kept_and_patience_ends_the_stage(task):
    still = calibrate(task, recipe(learning_rate=0.0, steps=20, training={"every": 2, "patience": 3}))
    assert (still.records[0].steps, still.records[0].best_step) == (6, 0)
    x = task.load(range(4))
    assert still.embed("image", x).equal(task.encoder.embed("image", x))
    wild = recipe(learning_rate=3.0, schedule="constant", steps=20, training={"every": 4})
    hard = calibrate(task, wild)
    curve, best = hard.records[0].curve, hard.records[0].best_step
    start = curve[0][1]
    scores = {step: adaptive - max(0.0, start - clean) for step, clean, adaptive in curve}
    assert scores[best] == max(scores.values()) > min(scores.values())
    judge = calibrate(task, recipe(learning_rate=0.0)).records[0].curve[0]  # the backbone's own answer
    assert curve[0] == judge


def test_clean_accuracy_lost_counts_against_a_state():
    assert ValidationScore(90.0, 40.0).score(90.0) == ValidationScore(95.0, 40.0).score(90.0) == 40.0
    assert ValidationScore(84.0, 40.0).score(90.0) == 34.0


def test_clean_accuracy_is_held_against_the_frozen_encoder_in_every_stage(task, monkeypatch):
    compared = []
    monkeypatch.setattr(ValidationScore, "score", lambda self, frozen, floor: compared.append(frozen) or self.adaptive)
    first = calibrate(task, recipe())
    with torch.no_grad():
        for one in first.parts.parameters():
            one.add_(0.3)  # whoever goes on from here finds clean accuracy lost already
    further = calibrate(task, recipe(), start=first)
    assert further.records[1].curve[0][1] < first.records[0].curve[0][1]
    assert set(compared) == {compared[0]}
    assert round(compared[0], 2) == first.records[0].curve[0][1]


def test_accumulated_batches_are_one_batch(task):
    objective = weighted((1.0, center_cross_entropy), (2.0, distillation))
    once = calibrate(task, recipe(objective=objective, batch_size=16, steps=4))
    twice = calibrate(task, recipe(objective=objective, batch_size=8, steps=4, training={"accumulate": 2}))
    assert once.records[0].first_loss == pytest.approx(twice.records[0].first_loss, rel=1e-5)
    assert once.records[0].last_loss == pytest.approx(twice.records[0].last_loss, rel=1e-2)
    assert once.records[0].samples_seen == twice.records[0].samples_seen == 64


def test_bfloat16_is_near(task):
    plain, half = calibrate(task, recipe(steps=4)), calibrate(task, recipe(steps=4, training={"autocast": True}))
    assert half.weights_sha256 != plain.weights_sha256
    assert half.records[0].last_loss == pytest.approx(plain.records[0].last_loss, rel=0.1)


def test_paired_embeddings_are_made_only_when_asked_for(task):
    sounds = zero_shot(Conv(), ToyData(24), "thermal")
    data = ToyData(64, seed=9)
    calibrate(sounds, recipe(), data)
    alone = data.decoded
    data = ToyData(64, seed=9)
    calibrate(sounds, recipe(objective=modality_consistency), data)
    assert data.decoded == alone + 64  # the images of the same instances, once


def test_the_learning_rate_has_one_cycle():
    assert _pace("constant", 0.7) == 1
    assert [_pace("one_cycle", at) for at in (0.0, 0.25, 1.0)] == pytest.approx([0.04, 1.0, 1e-4])
    paces = [_pace("one_cycle", i / 40) for i in range(41)]
    assert paces[:11] == sorted(paces[:11])
    assert paces[10:] == sorted(paces[10:], reverse=True)


# ------------------------------------------------------------------------------------------------------ bits and kills


class Killed(Exception):
    pass


def killed_at(step):
    def tell(what, done, total):
        if done == step:
            raise Killed

    return tell


@pytest.mark.bits
def test_same_seed_same_bits_whatever_decodes(task, trained):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert calibrate(task, recipe(), batch_size=7, workers=1).weights_sha256 == trained.weights_sha256
    assert torch.get_rng_state().equal(before)
    assert calibrate(task, recipe(seed=1)).weights_sha256 != trained.weights_sha256


@pytest.mark.bits
@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(task, trained, step, tmp_path, monkeypatch):
    monkeypatch.setattr(adversarial_training, "SAVE_SECONDS", 0.0)
    with pytest.raises(Killed):
        calibrate(task, recipe(), cache=tmp_path, progress=killed_at(step + 1))
    heard = []
    again = calibrate(task, recipe(), cache=tmp_path, progress=lambda what, done, total: heard.append(done))
    assert heard == list(range(step + 1, 9))  # from the last saved step
    assert again.weights_sha256 == trained.weights_sha256
    assert replace(again.records[0], craft_seconds=0, fit_seconds=0, data_seconds=0) == replace(
        trained.records[0], craft_seconds=0, fit_seconds=0, data_seconds=0
    )


def test_a_finished_stage_is_not_trained_again(task, tmp_path):
    one = calibrate(task, recipe(stages=2), cache=tmp_path)
    heard = []
    again = calibrate(task, recipe(stages=2), cache=tmp_path, progress=lambda what, done, total: heard.append(done))
    assert not heard
    assert again.weights_sha256 == one.weights_sha256
    assert again.records == one.records


def test_a_state_belongs_to_its_recipe_data_and_seed(task, tmp_path):
    calibrate(task, recipe(), cache=tmp_path)
    for other in (
        recipe(seed=1),
        recipe(objective=WeightedSum(((1.0, l2),))),
        recipe(steps=7),
        recipe(training={"radius": 0.5}),
    ):
        with pytest.raises(Killed):  # it begins at the first step; the rest is not needed
            calibrate(task, other, cache=tmp_path, progress=killed_at(1))
    with pytest.raises(Killed):
        calibrate(task, recipe(), ToyData(64, seed=3), cache=tmp_path, progress=killed_at(1))
    heard = []
    calibrate(task, recipe(), cache=tmp_path, progress=lambda what, done, total: heard.append(done))
    assert not heard


def test_a_damaged_state_is_trained_again(task, tmp_path):
    whole = calibrate(task, recipe(), cache=tmp_path)
    (path,) = tmp_path.glob("adversarial-training-*.pt")
    path.write_bytes(path.read_bytes()[:-300])
    assert calibrate(task, recipe(), cache=tmp_path).weights_sha256 == whole.weights_sha256


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {here!r}]
import torch
from test_adversarial_training import calibrate, adversarial_training, recipe, zero_shot, Conv, ToyData
torch.set_num_threads(1)
adversarial_training.SAVE_SECONDS = 0.0
def tell(what, done, total):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
cache = __import__("pathlib").Path({cache!r})
calibrate(zero_shot(Conv(), ToyData(24), "image"), recipe(), cache=cache, workers=1, progress=tell)
"""


@pytest.mark.slow
def test_a_process_killed_for_good(task, tmp_path):
    here = Path(__file__).parent
    code = KILLED.format(tests=str(here.parent), here=str(here), cache=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == -9
    heard = []
    again = calibrate(task, recipe(), cache=tmp_path, progress=lambda what, done, total: heard.append(done))
    assert heard[0] == 5
    assert again.weights_sha256 == calibrate(task, recipe()).weights_sha256


# ----------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_trained_is_one_line(task):
    bad = {
        "diverged at step": lambda: calibrate(task, recipe(learning_rate=float("inf"))),
        "holds no sample to choose": lambda: calibrate(task, recipe(), tune=ToyData(0)),
        "too few to train on": lambda: calibrate(task, recipe(), Whole(1)),
        "cannot train glue": lambda: replace(STAGE, trains=("glue",)),
        "cannot train nothing": lambda: replace(STAGE, trains=()),
        "crafted once on the backbone train a head alone, not low_rank": lambda: replace(
            STAGE, adversarial_training=None, steps=None, trains=("low_rank",)
        ),
        "steps 5 of a stage": lambda: replace(STAGE, adversarial_training=None, steps=5, trains=("head",)),
        "schedule 'stairs'": lambda: replace(STAGE, schedule="stairs"),
        "aim 'nowhere'": lambda: replace(SETTINGS, aim="nowhere"),
        "expected warm_up within": lambda: replace(SETTINGS, warm_up=2.0),
        "trains purifier, which it does not have": lambda: CalibrationRecipe(
            "x", (replace(STAGE, trains=("purifier",)),), "linear"
        ),
        "trains head, which it does not have; expected some of low_rank": lambda: recipe(trains=("head",)),
        "follows one that trained adapters": lambda: CalibrationRecipe(
            "x", (STAGE, Stage(l2, ATTACK, BUDGET)), "linear", adapters=AdapterShape()
        ),
    }
    for message, wrong in bad.items():
        with pytest.raises(InputError, match=message) as caught:
            wrong()
        assert "\n" not in str(caught.value)
