"""Audits on toys: every number against a direct computation, both protocols, ladders, records."""

import json
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from ironbind.attacks import APGD, FGSM, PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import COLUMNS, INDEX, Result
from ironbind.evaluate.attack_variants import to_the_end
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.numerics.metrics import wilson
from ironbind.numerics.norms import BrokenPostCondition, distance
from ironbind.types import L2, ClassCenters, Linf
from toys import (
    CLASSES,
    Brightness,
    Conv,
    Counting,
    Linear,
    NotANumber,
    ToyData,
    Transformer,
    replay,
    rng,
    state_hash,
)
from toys import audit as checked_audit
from toys import white_box as first_place_alone

audit = partial(checked_audit, checks=False, top_k=True)  # the checks have tests of their own
white_box = partial(first_place_alone, top_k=True)
LADDER = (Linf("1/255"), Linf("3/255"), Linf("6/255"))
N = 24


def calibrated(encoder, modalities=("image",), strength=0.3) -> Calibrated:
    """Heads that are somewhere off the identity."""
    heads = {}
    for modality in modalities:
        heads[modality] = IdentityLinear(encoder.dim)
        with torch.no_grad():
            noise = torch.randn(encoder.dim, encoder.dim, generator=torch.Generator().manual_seed(3))
            heads[modality].linear.weight += strength * noise / encoder.dim**0.5
    return Calibrated(encoder, heads, "bent", "linear")


@pytest.fixture(scope="module")
def data() -> ToyData:
    return ToyData(N)


# --------------------------------------------------------------------------------------------------- clean numbers


@pytest.mark.parametrize("encoder", [Linear(), Conv(), Transformer()], ids=lambda one: one.name)
def test_clean_rows_are_the_direct_computation(encoder, data):
    result = audit(zero_shot(encoder, data, "image"), PGD(steps=1), Linf(0))
    x = torch.stack([encoder.inputs["image"].prepare(one) for one in data.decode("image", range(N))])
    scores = (encoder.embed("image", x) @ encoder.embed_text(CLASSES).T).tolist()
    ranks = [
        1 + sum(score >= row[label] for c, score in enumerate(row) if c != label)
        for row, label in zip(scores, data.labels, strict=True)
    ]
    for metric, k in (("top1", 1), ("top5", 5)):
        (row,) = result.select(metric=metric, threat_model="clean")
        expected = wilson(sum(rank <= k for rank in ranks), N)
        assert (row.value, row.ci_low, row.ci_high) == pytest.approx([100 * one for one in expected])
    (row,) = result.select(metric="mean_rank", threat_model="clean")
    assert row.value == pytest.approx(sum(ranks) / N)
    assert (row.encoder, row.calibration, row.attack, row.norm, row.eps, row.n, row.space) == (
        encoder.name,
        "none",
        "none",
        "none",
        "0",
        N,
        "pixels",
    )


@pytest.mark.parametrize("other", ["text", "audio"])
@pytest.mark.parametrize("way", ["to", "of"])
def test_retrieval_is_its_naive_twin(other, way, data):
    encoder = Conv()
    task = retrieval(encoder, data, "image", **{way: other})
    result = audit(task, PGD(steps=2), Linf("6/255"))
    pair = ("image", other) if way == "to" else (other, "image")
    assert {row.task for row in result.rows} == {f"retrieval:{pair[0]}->{pair[1]}"}

    def ranks(images: torch.Tensor) -> list[int]:
        """One perturbed image at a time; every other item stays clean."""
        partner = encoder.embed_text(data.captions) if other == "text" else task.clean("audio")
        clean = task.clean("image")
        found = []
        for i in range(N):
            if way == "to":
                scores = partner @ images[i]
            else:
                gallery = clean.clone()
                gallery[i] = images[i]
                scores = gallery @ partner[i]
            found.append(1 + int(sum(scores[j] >= scores[i] for j in range(N) if j != i)))
        return found

    clean = ranks(task.clean("image"))
    examination = white_box(task, (PGD(steps=2),), (Linf("6/255"),), VerdictStore(), "whitebox", keep_examples=True)
    verdicts = examination.verdicts_at(0)
    after = ranks(task.embed(examination.examples(0, range(N))))
    for metric, k in (("R@1", 1), ("R@5", 5), ("R@10", 10)):
        assert result.value(metric=metric, threat_model="clean") == pytest.approx(
            100 * sum(rank <= k for rank in clean) / N
        )
    assert result.value(metric="mean_rank", threat_model="clean") == pytest.approx(sum(clean) / N)
    assert sum(after) >= sum(clean)
    assert max(one.rank for one in verdicts.values()) > 1
    assert all(
        verdict.rank >= rank for verdict, rank in zip(verdicts.values(), after, strict=True)
    )  # the worst over more attempts than this one


# --------------------------------------------------------------------------------------------------------- attacks


def test_a_robust_encoder_keeps_exactly_what_its_bound_promises():
    encoder = Brightness(turn=3.0)
    data = ToyData(40, modalities=("image",))
    x = torch.stack([encoder.inputs["image"].prepare(one) for one in data.decode("image", range(40))])
    angle = 3.0 * x.flatten(1).mean(dim=1)
    # class centers at angles so that roughly half of the samples are right and none sits on a boundary
    at = angle.mean() + 0.02 * (torch.arange(8) - 3.5)
    rows = torch.cat([at.cos()[:, None], at.sin()[:, None], torch.zeros(8, 14)], dim=1)
    centers = ClassCenters(rows, torch.arange(8), CLASSES)
    label = torch.tensor(data.labels)
    low, high = at[label] - 0.01, at[label] + 0.01
    low[label == 0], high[label == 7] = -1, 9
    task = zero_shot(encoder, data, "image", centers=centers)
    ladder = [Linf(0.0005), Linf(0.001), Linf(0.002), Linf(0.01)]
    for attack in (PGD(steps=5), APGD(steps=5)):
        result = audit(task, attack, ladder)
        for budget in ladder:
            survives = ((angle - 3 * budget.radius > low) & (angle + 3 * budget.radius < high)).float().mean()
            assert result.value(metric="top1", eps=budget.written) == pytest.approx(100 * float(survives), abs=1e-4)
    assert result.value(metric="top1", threat_model="clean") > 0


@pytest.mark.bits
@pytest.mark.parametrize("question", ["zero_shot", "to", "of"])
@pytest.mark.parametrize("budgets", [(Linf("1/255"), Linf("4/255")), (L2(0.2),)], ids=["linf", "l2"])
def test_tables_do_not_depend_on_batches(question, budgets):
    data = ToyData(11)
    task = (
        zero_shot(Conv(), data, "image")
        if question == "zero_shot"
        else retrieval(Conv(), data, "image", **{question: "text"})
    )
    attacks = (PGD(steps=2), PGD(steps=2, loss="ce"))
    verdicts = []
    for batch_size in (1, 3, 4, 64):
        store = VerdictStore()
        rows = audit(task, attacks, budgets, batch_size=batch_size, store=store).rows
        examined = white_box(task, attacks, budgets, store, "whitebox")
        verdicts.append((rows, [examined.verdicts_at(number) for number in range(len(budgets))]))
    assert all(one == verdicts[0] for one in verdicts)


@pytest.mark.parametrize("modality", ["image", "audio", "thermal"])
def test_accuracy_falls_with_the_radius(modality, data):
    result = audit(
        zero_shot(Conv(), data, modality), PGD(steps=4), [Linf("12/255"), Linf("1/255"), Linf("4/255"), Linf(0)]
    )
    for metric in ("top1", "top5"):
        values = [result.value(metric=metric, threat_model="clean")] + [
            result.value(metric=metric, eps=eps, attack="pgd4-margin") for eps in ("0", "1/255", "4/255", "12/255")
        ]
        assert values == sorted(values, reverse=True)
        assert values[0] == values[1]
    assert result.value(metric="top1", eps="12/255") < result.value(metric="top1", threat_model="clean") - 40


def test_radius_zero_gives_the_clean_verdicts_sample_by_sample(data):
    for attack in (PGD(steps=2), FGSM(), APGD(steps=2)):
        for task in (
            zero_shot(Conv(), data, "image"),
            zero_shot(Conv(), data, "audio"),
            retrieval(Conv(), data, "image", of="text"),
        ):
            for budget in (Linf(0), L2(0)):
                examined = white_box(task, (attack,), (budget,), VerdictStore(), "whitebox", keep_examples=True)
                clean, attacked = examined.clean(), examined.verdicts_at(0)
                assert [(one.rank, one.margin) for one in clean.values()] == [
                    (one.rank, one.margin) for one in attacked.values()
                ]
                assert examined.examples(0, range(N)).equal(task.load(range(N)))


def test_a_sample_that_fell_stays_fallen_and_is_not_attacked_again(data):
    task = zero_shot(Conv(), data, "image")
    examined = white_box(task, (PGD(steps=3),), LADDER, VerdictStore(), "whitebox")
    smaller, larger = examined.verdicts_at(0), examined.verdicts_at(2)
    fallen = [one for one in smaller if smaller[one].rank > 1]
    assert all(larger[one].rank >= smaller[one].rank for one in smaller)
    assert fallen
    examined = white_box(
        zero_shot(Conv(), data, "image", limit=N),
        (PGD(steps=3),),
        (Linf("12/255"), Linf("20/255")),
        VerdictStore(),
        "whitebox",
    )
    smaller, larger = examined.verdicts_at(0), examined.verdicts_at(1)
    lost = [one for one in smaller if smaller[one].rank > 5]
    assert len(lost) > N / 3
    for one in lost:
        verdict = larger[one]
        assert (verdict.gradient_passes, verdict.forward_passes) == (0, 0)
        assert (verdict.won_by, verdict.distance) == (smaller[one].won_by, smaller[one].distance)


def test_verdicts_are_read_from_examples_within_the_budget(data):
    task = zero_shot(Conv(), data, "image")
    for budget in (Linf("3/255"), L2(0.2)):
        examined = white_box(task, (PGD(steps=4),), (budget,), VerdictStore(), "whitebox", keep_examples=True)
        verdicts, x, clean = examined.verdicts_at(0), examined.examples(0, range(N)), task.load(range(N))
        goal = task.goal(range(N))
        ranks = goal.rank(task.embed(x)).tolist()
        own = [
            index
            for index, verdict in enumerate(verdicts.values())
            if verdict.rank == ranks[index] and verdict.won_by != "clean"
        ]
        assert len(own) > N / 2
        used = distance(x, clean, task.space, budget.norm)
        assert used.max() <= budget.radius + 1e-6
        matching = [index for index in own if abs(list(verdicts.values())[index].distance - float(used[index])) < 1e-6]
        assert len(matching) > N / 3
        assert all(
            0 < verdict.distance <= budget.radius + 1e-6 for verdict in verdicts.values() if verdict.won_by != "clean"
        )
        assert {verdict.won_by for verdict in verdicts.values()} <= {"clean", f"pgd4-margin {budget.written}"}


def test_the_worst_over_all_attacks_counts(data):
    task = zero_shot(Conv(), data, "image")
    weak, strong = PGD(steps=1, step_size=0.1, random_start=False), PGD(steps=8)
    alone, pair = (
        audit(task, one, Linf("3/255")).value(metric="top1", threat_model="whitebox")
        for one in (strong, (weak, strong))
    )
    single = audit(task, weak, Linf("3/255")).value(metric="top1", threat_model="whitebox")
    assert alone < single
    assert pair <= min(alone, single) + 100 / N
    row = audit(task, (weak, strong), Linf("3/255")).select(metric="top1", threat_model="whitebox")[0]
    assert row.attack == "pgd1-margin+pgd8-margin"


def test_what_nobody_attacked_is_not_reported_as_attacked(data):
    """By default the first metric is attacked and has a row under attack; clean rows are of all metrics."""
    for task in (zero_shot(Conv(), data, "image"), retrieval(Conv(), data, "image", to="text")):
        first, *others = (name for name, _ in task.metrics)
        result = checked_audit(task, PGD(steps=2), Linf("6/255"), checks=False)
        assert {row.metric for row in result.select(threat_model="clean")} == {first, *others, "mean_rank"}
        assert {row.metric for row in result.select(threat_model="whitebox")} == {first, "mean_rank"}
        assert result.threat_models[0].goal.endswith("out of the top 1")
        every = checked_audit(task, PGD(steps=2), Linf("6/255"), checks=False, top_k=True)
        assert {row.metric for row in every.select(threat_model="whitebox")} == {first, *others, "mean_rank"}


def test_top5_has_an_attack_of_its_own(data):
    """An attack that only wants the truth out of first place says little about top-5."""
    task = zero_shot(Conv(), data, "image")
    examined = white_box(task, (PGD(steps=6),), (Linf("6/255"),), VerdictStore(), "whitebox")
    own = sum(one.rank <= 5 for one in examined.verdicts_at(0).values())
    found = PGD(steps=6)(task.embed, task.load(range(N)), task.goal(range(N)), task.space, Linf("6/255"), rng(N))
    assert own < int((task.goal(range(N)).rank(task.embed(found.x)) <= 5).sum())


def test_limit_takes_the_first_samples_and_leaves_galleries_whole(data):
    limited = audit(zero_shot(Conv(), data, "image", limit=5), PGD(steps=2), Linf("2/255"))
    assert {row.n for row in limited.rows} == {5}
    task = retrieval(Conv(), data, "image", limit=5)
    assert len(task.centers) == N
    assert {row.n for row in audit(task, PGD(steps=2), Linf("2/255")).rows} == {5}
    whole = white_box(
        retrieval(Conv(), data, "image"), (PGD(steps=2),), (Linf("2/255"),), VerdictStore(), "whitebox"
    ).verdicts_at(0)
    part = white_box(task, (PGD(steps=2),), (Linf("2/255"),), VerdictStore(), "whitebox").verdicts_at(0)
    assert part == {one: whole[one] for one in list(whole)[:5]}
    assert len(zero_shot(Conv(), data, "image", limit=500)) == N
    assert len(zero_shot(Conv(), data, "image", limit=5).over(ToyData(9, seed=1))) == 9


# ------------------------------------------------------------------------------------------------- both protocols


def test_replayed_and_adaptive_come_together(data):
    encoder = Conv()
    bent = calibrated(encoder)
    result = audit(zero_shot(bent, data, "image"), PGD(steps=3), LADDER)
    about_index = [row for row in result.rows if row.task.startswith(INDEX)]
    assert len(about_index) == 2 * 4 + 1  # two galleries (itself, text), two encoders, two recalls; one cosine
    kinds = {(row.calibration, row.threat_model, row.eps) for row in result.rows}
    expected = {("none", "clean", "0"), ("bent", "clean", "0")}
    expected |= {
        (who, model, one.written)
        for one in LADDER
        for who, model in (("none", "whitebox"), ("bent", "replayed"), ("bent", "adaptive"))
    }
    assert kinds == expected
    assert {row.encoder for row in result.rows} == {encoder.name}
    assert len(result.rows) == len(set(result.rows)) == 3 * len(expected) + len(about_index)
    (record,) = result.threat_models
    assert all(word in record.knowledge for word in ("whitebox", "replayed", "adaptive"))


def test_replayed_numbers_are_the_backbones_examples_through_the_heads(data):
    encoder = Conv()
    bent = calibrated(encoder)
    task = zero_shot(bent, data, "image")
    store = VerdictStore()
    result = audit(task, PGD(steps=3), LADDER, store=store)
    source = white_box(task.on(encoder), (PGD(steps=3),), LADDER, store, "whitebox", keep_examples=True)
    for number, budget in enumerate(LADDER):
        x = source.examples(number, range(N))
        right = (task.goal(range(N)).rank(bent.embed("image", x)) == 1).float().mean()
        assert result.value(metric="top1", threat_model="replayed", eps=budget.written) == pytest.approx(
            100 * float(right)
        )
        crafted = PGD(steps=3, stop_when_reached=False)
        keyed = white_box(task, (), LADDER, store, "")
        again = crafted(
            encoder_embed(encoder),
            task.load(range(N)),
            task.goal(range(N)),
            task.space,
            budget,
            purpose_rng(data, keyed, crafted, budget),
        )
        assert x.equal(again.x)


def encoder_embed(encoder):
    return lambda x: encoder.embed("image", x)


def purpose_rng(data, examination, attack, budget):
    from ironbind.numerics.sample_random import PerSample

    return PerSample.of(examination.context.seed, data.ids, f"{attack.name} {budget} top1")


def test_heads_that_change_nothing_are_as_strong_as_nothing(data):
    encoder = Conv()
    same = Calibrated(encoder, {"image": IdentityLinear(encoder.dim)}, "same", "linear")
    result = audit(zero_shot(same, data, "image"), PGD(steps=6), LADDER)
    for eps in ("0", "1/255", "3/255", "6/255"):
        values = [row.value for row in result.select(metric="top1", eps=eps)]
        assert max(values) - min(values) <= 100 / N + 1e-6
    assert result.value(metric="top1", threat_model="replayed", eps="6/255") < 20


def test_the_adaptive_attack_differentiates_through_the_heads(data):
    """A head that rotates the embedding blinds replay; whoever attacks through it is not fooled."""
    encoder = Conv()
    task = zero_shot(encoder, data, "image")
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q
    head = IdentityLinear(16)
    with torch.no_grad():
        head.linear.weight.copy_(rotation)
    turned = Calibrated(encoder, {"image": head}, "turned", "linear")
    centers = ClassCenters(task.centers.z @ rotation.T, task.centers.label, CLASSES)
    result = audit(zero_shot(turned, data, "image", centers=centers), PGD(steps=6), Linf("6/255"))
    assert result.value(metric="top1", threat_model="clean", calibration="turned") > 90
    assert result.value(metric="top1", threat_model="adaptive") < 20


def test_to_the_end():
    assert to_the_end(PGD(steps=3)) == PGD(steps=3, stop_when_reached=False)
    assert to_the_end(APGD(steps=3)) == APGD(steps=3, stop_when_reached=False)


def test_replay_of_retrieval(data):
    encoder = Conv()
    for way in ("to", "of"):
        result = audit(retrieval(calibrated(encoder), data, "image", **{way: "text"}), PGD(steps=3), Linf("3/255"))
        assert {row.threat_model for row in result.rows} == {"clean", "whitebox", "replayed", "adaptive"}


# ----------------------------------------------------------------------------------- believability (C1, C3, C4, C21)


class Trainable(nn.Module):
    """A network in training mode, with statistics that would move and parameters that would collect gradients."""

    def __init__(self):
        super().__init__()
        plain = Conv()
        self.name, self.dim, self.inputs, self.weights_sha256 = "trainable", plain.dim, plain.inputs, "x"
        self.plain = plain.requires_grad_(True)
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.train()

    def embed(self, modality, x, space=None):
        return self.plain.embed(modality, self.drop(self.norm(x)), space)

    def embed_text(self, texts):
        return self.plain.embed_text(texts)


def test_an_audit_changes_nothing_in_the_encoder(data):
    encoder = Trainable()
    before = state_hash(encoder)
    for task in (
        zero_shot(encoder, data, "image"),
        retrieval(encoder, data, "image"),
        retrieval(encoder, data, "image", of="text"),
    ):
        results = [audit(task, PGD(steps=2), Linf("2/255")).rows for _ in range(2)]
        assert results[0] == results[1]
    assert state_hash(encoder) == before
    assert encoder.training
    assert all(one.requires_grad and one.grad is None for one in encoder.parameters())


def test_the_record_says_what_was_done(data, tmp_path):
    task = zero_shot(Conv(), data, "audio", space="logmel")
    result = audit(task, PGD(steps=2), [Linf("2/255"), Linf("1/255")], out=tmp_path / "run", seed=5)
    (record,) = result.threat_models
    assert (record.modality, record.space, record.norm, record.eps) == ("audio", "logmel", "linf", ("1/255", "2/255"))
    assert record.input_shape == (1, 8, 8)
    assert record.bounds == (0.0, 1.0)
    assert record.attack == repr(PGD(steps=2))
    assert record.meaning[0] == "0.31 dB per time-frequency bin"
    assert result.record["seed"] == 5
    assert result.record["encoder"]["weights_sha256"] == task.encoder.weights_sha256
    assert result.record["data_fingerprint"] == data.fingerprint
    assert result.record["gradient_passes"] > 0
    assert Result.read(tmp_path / "run") == result
    header, *rows = (tmp_path / "run" / "table.csv").read_text().splitlines()
    assert header.split(",") == list(COLUMNS)
    assert len(rows) == len(result.rows) == 9
    assert json.loads((tmp_path / "run" / "result.json").read_text())["name"] == "run"


def test_progress_is_told(data):
    told = []
    audit(
        zero_shot(Conv(), data, "image"),
        PGD(steps=1),
        Linf("1/255"),
        batch_size=16,
        progress=lambda *event: told.append(event),
    )
    assert [event for event in told if event[0] == "clean"][:3] == [
        ("clean", 0, 24),
        ("clean", 16, 24),
        ("clean", 24, 24),
    ]
    assert [event for event in told if event[0] != "clean"] == [("whitebox 1/255", done, 24) for done in (0, 16, 24)]


def test_an_embedding_that_breaks_under_attack_is_a_loss_for_the_defender(data):
    encoder = NotANumber(above=0.55)
    x = torch.stack([encoder.inputs["image"].prepare(one) for one in data.decode("image", range(N))]).flatten(1)[:, 0]
    fine = [index for index in range(N) if x[index] < 0.54]

    class Some(ToyData):
        def __init__(self):
            super().__init__(N)
            self.ids, self.labels = [self.ids[i] for i in fine], [self.labels[i] for i in fine]
            self.captions = None

    result = audit(zero_shot(encoder, Some(), "image"), PGD(steps=3), Linf(0.2))
    assert result.value(metric="top1", threat_model="whitebox") < 50


def test_counted_passes_cover_every_row_that_was_embedded(data):
    counting = Counting(Conv())
    result = audit(zero_shot(counting, data, "image"), PGD(steps=4), LADDER, batch_size=8)
    counted = result.record["gradient_passes"] + result.record["forward_passes"]
    assert counted <= sum(counting.rows) <= counted + 3 * len(counting.rows)


# ------------------------------------------------------------------------------------------ what is attacked, how often


@dataclass(frozen=True)
class Recording:
    """PGD that writes down which rank it was asked to break, and for how many samples."""

    asked: list
    name: str = "watched"

    def __call__(self, embed, x, goal, space, budget, rng):
        self.asked.append((goal.k, len(x)))
        return PGD(steps=1, random_start=False)(embed, x, goal, space, budget, rng)


@pytest.mark.parametrize(("classes", "ranks"), [(8, [5, 1]), (6, [5, 1]), (5, [1]), (2, [1])])
def test_only_ranks_that_can_be_reached_are_attacked(classes, ranks, data):
    centers = ClassCenters(
        zero_shot(Linear(), data, "image").centers.z[:classes], torch.arange(classes), CLASSES[:classes]
    )

    class Fewer(ToyData):
        def __init__(self):
            super().__init__(N)
            keep = [index for index in range(N) if self.labels[index] < classes]
            self.ids, self.labels, self.captions = [self.ids[i] for i in keep], [self.labels[i] for i in keep], None
            self.classes = CLASSES[:classes]

    asked: list = []
    audit(zero_shot(Linear(), Fewer(), "image", centers=centers), Recording(asked), Linf(1e-6))
    assert asked == [(k, len(Fewer())) for k in ranks]


def test_the_hardest_rank_is_attacked_first_and_the_fallen_are_spared(data):
    asked: list = []
    audit(retrieval(Linear(), data, "image"), Recording(asked), Linf("5/255"))
    assert [k for k, _ in asked] == [10, 5, 1]
    sizes = [n for _, n in asked]
    assert sizes[0] == N > sizes[2]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("broken", "message"),
    [(lambda x: x + 0.5, "spends"), (lambda x: x * torch.nan, "not finite"), (lambda x: x[:, :, 1:], "shape")],
)
def test_an_attack_that_cheats_is_no_result(broken, message, data):
    @dataclass(frozen=True)
    class Cheat:
        name: str = "cheat"

        def __call__(self, embed, x, goal, space, budget, rng):
            return PGD(steps=1)(embed, x, goal, space, budget, rng)._replace(x=broken(x))

    with pytest.raises(BrokenPostCondition, match=message):
        audit(zero_shot(Conv(), data, "image"), Cheat(), Linf("1/255"))


def test_examples_are_kept_where_they_are_asked_for(data):
    task, budget = zero_shot(Conv(), data, "image"), (Linf("2/255"),)
    for keep in (False, True):
        store = VerdictStore()
        audit(task, PGD(steps=1), budget, store=store, **({"keep_examples": True} if keep else {}))
        assert len(
            store.has_examples(white_box(task, (PGD(steps=1),), budget, store, "whitebox", keep_examples=keep).key(1))
        ) == (N if keep else 0)


def test_the_adaptive_attacker_replays_too(data):
    """Whoever knows the calibration is never worse off than whoever does not, sample by sample."""
    encoder = Conv()
    task = zero_shot(calibrated(encoder, strength=0.6), data, "image")
    weak = PGD(steps=1, step_size=0.01, random_start=False)  # adaptively it finds next to nothing
    strong = VerdictStore()
    ladder = (Linf("3/255"),)
    source = white_box(task.on(encoder), (PGD(steps=6),), ladder, strong, "whitebox", keep_examples=True)
    replayed = replay(task, source, strong)
    alone = white_box(task, (weak,), ladder, strong, "adaptive").verdicts_at(0)
    both = white_box(task, (weak,), ladder, strong, "adaptive", replay=replayed).verdicts_at(0)
    assert sum(one.rank > 1 for one in replayed.verdicts_at(0).values()) > sum(one.rank > 1 for one in alone.values())
    for one, verdict in both.items():
        assert not replayed.verdicts_at(0)[one].worse_than(verdict)
    result = audit(task, PGD(steps=2), LADDER)
    for budget in LADDER:
        by_replay, adaptive = (
            result.value(metric="top1", threat_model=one, eps=budget.written) for one in ("replayed", "adaptive")
        )
        assert adaptive <= by_replay
