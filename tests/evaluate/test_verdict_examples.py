"""The example behind a verdict: crafted again to the bit, and checked against the verdict by a pass of its own."""

from dataclasses import replace

import pytest
import torch

import ironbind as ib
from ironbind.attacks import APGD, FMN, PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import Result
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.protocols.white_box import WhiteBox
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.modalities.corruptions import corruptions_for
from ironbind.numerics.norms import distance
from ironbind.types import InputError, Linf
from toys import Conv, ToyData

N = 10
LADDER = (Linf("1/255"), Linf("4/255"))
ATTACKS = (PGD(steps=2), APGD(steps=4))


def bent(encoder) -> Calibrated:
    """A head off the identity."""
    head = IdentityLinear(encoder.dim)
    with torch.no_grad():
        noise = torch.randn(encoder.dim, encoder.dim, generator=torch.Generator().manual_seed(3))
        head.linear.weight += 0.3 * noise / encoder.dim**0.5
    return Calibrated(encoder, {"image": head}, "bent", "linear")


@pytest.fixture(scope="module")
def task():
    return ib.zero_shot(Conv(), ToyData(N), "image")


def confirmed(task, example, norm="linf"):
    """Rank, margin and distance of the example, from the definition."""
    number = list(task.dataset.ids).index(example.sample)
    goal, x = task.goal([number]), example.adversarial[None].expand(4, *example.adversarial.shape)
    z = task.embed(x)[:1]
    assert torch.equal(example.clean, task.load([number])[0])
    assert int(goal.rank(z)) == example.verdict.rank
    assert float(goal.margin(z)) == example.verdict.margin
    if norm:
        far = distance(example.adversarial[None], example.clean[None], task.space, norm)
        assert float(far) == example.verdict.distance


def test_examples_of_an_audit_are_the_inputs_that_were_judged(task, monkeypatch):
    """Every input that an audit judged is recorded from outside; each example is one of them, bit for bit."""
    judged = {}
    verdicts_of = Evaluator.verdicts_of

    def recording(self, indices, x, like, clean=None, norm="linf"):
        verdicts = verdicts_of(self, indices, x, like, clean, norm)
        for sample, row, verdict in zip(self.ids(indices), x, verdicts, strict=True):
            key = (sample, verdict.rank, verdict.margin, verdict.won_by)
            judged.setdefault(key, []).append(row.clone())
        return verdicts

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "verdicts_of", recording)
        result = ib.audit(task, ATTACKS, LADDER, checks=False)
    ids = list(task.dataset.ids)
    won = set()
    for budget in LADDER:
        for example in result.examples(ids, eps=budget.written):
            verdict = example.verdict
            inputs = judged[example.sample, verdict.rank, verdict.margin, verdict.won_by]
            assert any(torch.equal(example.adversarial, x) for x in inputs)
            assert verdict.distance <= budget.radius + 1e-6
            confirmed(task, example)
            won.add(verdict.won_by)
    assert len(won) > 1
    # one alone is the same as all together
    alone, together = result.example(ids[3], eps="4/255"), result.examples(ids, eps="4/255")[3]
    assert torch.equal(alone.adversarial, together.adversarial)


def test_a_calibrated_audit_has_examples_for_both_attackers(task, tmp_path):
    hard = task.on(bent(task.encoder))
    result = ib.audit(hard, ATTACKS, LADDER, checks=False, out=tmp_path / "run")
    ids = list(task.dataset.ids)
    for threat_model in ("replayed", "adaptive"):
        for budget in LADDER:
            for example in result.examples(ids, eps=budget.written, threat_model=threat_model):
                assert example.place["calibration"] == "bent"
                confirmed(hard, example)
    for example in result.examples(ids, eps="4/255", threat_model="whitebox"):
        confirmed(task, example)
    replayed = [example.verdict.won_by for example in result.examples(ids, eps="1/255", threat_model="replayed")]
    assert all(name.endswith("replayed") for name in replayed)
    clean = result.example(ids[0], eps="0", calibration="bent")
    assert torch.equal(clean.adversarial, clean.clean)


def test_examples_that_the_store_keeps_are_read(task, monkeypatch):
    """A store keeps those of the first attack for replay; where they decided the verdict, nothing is attacked again."""
    store = VerdictStore()
    result = ib.audit(task, PGD(steps=2), LADDER[1], checks=False, keep_examples=True, store=store)
    ids = list(task.dataset.ids)
    kept = store.examples(store.labelled(label_of(result.rows[-1])), ids)
    crafted = result.examples(ids, eps="4/255")
    same = [example for example in crafted if torch.equal(example.adversarial, kept[example.sample])]
    assert same
    monkeypatch.setattr(WhiteBox, "verdicts_at", None)
    for example in same:
        assert torch.equal(result.example(example.sample, eps="4/255").adversarial, kept[example.sample])


def test_curves_corruptions_and_retrieval_have_examples_too(task):
    ids = list(task.dataset.ids)
    curve = ib.curve(task, FMN(10), Linf("8/255"), [Linf("2/255"), Linf("8/255")], checks=False)
    for eps in ("2/255", "8/255"):
        for example in curve.examples(ids, eps=eps):
            confirmed(task, example)
    assert any(example.verdict.rank > 1 for example in curve.examples(ids, eps="8/255"))
    kinds = [kind for kind in corruptions_for("image", task.space) if kind.written == "3"][:2]
    corrupted = ib.audit_corrupted(task, kinds, Linf("4/255"))
    for kind in kinds:
        for example in corrupted.examples(ids[:4], attack=kind.name, eps="3"):
            confirmed(task, example, norm="")
            assert not torch.equal(example.adversarial, example.clean)
    found = ib.retrieval(task.encoder, ToyData(N), "image", to="audio")
    for example in ib.audit(found, PGD(steps=2), LADDER, checks=False).examples(ids, eps="4/255"):
        confirmed(found, example)


def test_what_cannot_be_had_is_one_line(task, tmp_path):
    result = ib.audit(task, PGD(steps=1), LADDER, checks=False, out=tmp_path / "run")
    sample = task.dataset.ids[0]
    for where, line in (
        ({}, r"2 numbers of the table fit nothing; choose eps= \(1/255, 4/255\)"),
        ({"eps": "5/255"}, "no number of the table fits eps='5/255'; the table has eps 0, 1/255, 4/255"),
        ({"epsilon": "4/255"}, "epsilon='4/255': expected columns out of encoder, "),
    ):
        with pytest.raises(InputError, match=line):
            result.example(sample, **where)
    with pytest.raises(InputError, match=f"sample 'nobody' has no verdict in 'toys'; expected an id such as {sample}"):
        result.example("nobody", eps="4/255")
    with pytest.raises(InputError, match="was read from files, which hold no examples; expected ironbind.open_run"):
        Result.read(tmp_path / "run").example(sample, eps="4/255")
    key = ib.zero_shot(Conv(), ToyData(N), "image")  # another question: fewer classes
    other = ib.audit(replace(key, dataset=ToyData(N - 2)), PGD(steps=1), LADDER, checks=False, out=tmp_path / "run2")
    other.source = replace(other.source, options={"out": tmp_path / "run"})
    with pytest.raises(InputError, match="were decided by another audit than this one: data is toys .*, was toys "):
        other.example(sample, eps="4/255")


def test_a_verdict_that_was_changed_is_noticed(task, tmp_path):
    """What is crafted again must be what the store says: here somebody wrote another margin into it."""
    result = ib.audit(task, PGD(steps=1), LADDER[1], checks=False, out=tmp_path / "run")
    store = VerdictStore(tmp_path / "run")
    key = store.labelled(label_of(result.rows[-1]))
    (sample, verdict), *_ = sorted(
        (sample, verdict) for sample, verdict in store.verdicts(key).items() if verdict.won_by != "clean"
    )
    store._verdicts.insert(("UPDATE verdict SET margin = ? WHERE audit = ? AND sample = ?", [(9.5, key, sample)]))
    store.close()
    with pytest.raises(InputError, match=f"'{sample}' cannot be had: crafted again .* the stored verdict says .* 9.5"):
        result.example(sample, eps="4/255")
