"""The comparison with other libraries: what it counts, judges, keeps and writes. No other library is needed here."""

import json
import math
import sys

import peers
import pytest
import torch
from against import ensemble, jobs, libraries, minimum, page, speed, strength, violations
from against.contest import OURS, QUICK, Contest, Found, NotAvailable, Row, Settings, our_attack
from against.measured import Measured, judged, measure
from against.meter import Classifier, Cost
from against.subject import Subject
from torch import nn
from torch.nn.functional import normalize

from ironbind.attacks import PGD
from ironbind.core.markdown_tables import between
from ironbind.types import ClassCenters, Linf, Space

SIX = Space("six", "units", -3.0, 3.0)
TINY = Settings(samples=5, radius=255 * 0.1, steps=7, targets=2, queries=9, batch=4, rounds=1)


def toy(n: int = 5) -> Subject:
    """Samples of three coordinates between 4 directions; sample i leans towards class i mod 4 and none is near a
    boundary, nor near the bounds.
    """
    torch.manual_seed(0)
    directions = normalize(torch.eye(4, 3) + torch.tensor([[0.0, 0, 0]] * 3 + [[-1.0, -1, -1]]), dim=1)
    label = torch.arange(n) % 4
    network = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3))
    centers = ClassCenters(directions, torch.arange(4), tuple("abcd"))
    x = 2 * directions[label]
    return Subject(
        "toy", SIX, x, label, tuple(f"s{i}" for i in range(n)), lambda x: normalize(network(x), dim=1), centers, network
    )


def held(stands=(), wrong=(), norms=(), stages=None, **more) -> Measured:
    wrong = list(wrong) or [False] * len(stands)
    return Measured(
        version="1",
        cpu_s=2.0,
        pace=1.0,
        stands=list(stands),
        wrong=wrong,
        norms=list(norms) or [0.0] * len(stands),
        stages=stages or {"": Cost(1, 1, 1)},
        **more,
    )


# --------------------------------------------------------------------------------------------------------- page


def test_tables_fill_up_short_rows_and_refuse_long_ones():
    assert page.table(["a", "b"], [["1"], ["2", "x|y"]]).splitlines()[2:] == ["| 1 |  |", r"| 2 | x\|y |"]
    with pytest.raises(ValueError, match="3 cells"):
        page.table(["a", "b"], [["1", "2", "3"]])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (123.45, "123"),
        (1234567.0, "1234567"),
        (0, "0"),
        (math.inf, "-"),
        (math.nan, "-"),
        (-0.5, "-0.500"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert page.number(value) == text


def test_the_page_has_a_place_for_every_part():
    text = peers.PAGE.read_text(encoding="utf-8")
    for part in peers.PARTS:
        between(text, f"peers {part}", "new")


# -------------------------------------------------------------------------------------------------------- meter


def test_passes_are_counted_in_rows_by_kind_and_stage():
    subject = toy(3)
    classifier = subject.classifier()
    with torch.no_grad():
        classifier(subject.x)
    at = subject.x.clone().requires_grad_(True)
    with classifier.during("outer"):
        loss = classifier(at).sum()
        with classifier.during("inner"):
            classifier(subject.x[:2])
        torch.autograd.grad(loss, at)
    counts = {
        stage: (one.gradient_forwards, one.plain_forwards, one.backwards) for stage, one in classifier.stages.items()
    }
    assert counts == {"": (0, 3, 0), "outer": (3, 0, 3), "inner": (0, 2, 0)}
    assert Cost(1, 2, 3, 0.5) + Cost(1, 1, 1, 0.25) == Cost(2, 3, 4, 0.75)


def test_seconds_of_a_stage_within_a_stage_are_charged_once(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0, 15.0])  # made, outer begins, inner begins, inner ends, outer ends
    monkeypatch.setattr("against.meter.time.process_time", lambda: next(now))
    subject = toy(1)
    classifier = Classifier(subject.network, subject.embed, subject.centers)
    with classifier.during("outer"), classifier.during("inner"):
        pass
    assert {stage: one.cpu_s for stage, one in classifier.stages.items()} == {"": 1.0, "outer": 2.0 + 8.0, "inner": 4.0}


def test_parameters_take_part_only_where_asked():
    subject = toy(2)
    assert not subject.classifier(frozen=True)(subject.x).requires_grad
    assert subject.classifier(frozen=False)(subject.x).requires_grad


def test_filling_rows_count_against_us():
    subject = toy(5)
    contest = Contest(subject.classifier(), subject, TINY)
    contest.with_ours(PGD(steps=3, stop_when_reached=False), Linf(0.01))
    cost = sum(contest.classifier.stages.values(), Cost())
    assert cost.gradient_forwards == cost.backwards == 3 * 8  # batches of 4 and of 1, the latter filled up to 4


# ------------------------------------------------------------------------------------------------------- verdicts


def test_everybody_is_judged_by_the_same_model_and_by_distances_in_the_norm_of_the_row():
    subject = toy(4)
    examples = subject.x.clone()
    examples[0] = subject.x[1]
    examples[2] += torch.tensor([0.3, 0.0, -0.4])
    examples[3, 0] = 3.5
    said = judged(subject, examples, "l2")
    assert said["wrong"] == [False] * 4
    assert said["stands"][:3] == [False, True, True]
    assert said["norms"][:3] == pytest.approx([math.sqrt(8), 0.0, 0.5], abs=1e-6)
    assert said["outside"] == pytest.approx(0.5)
    assert judged(subject, examples, "linf")["norms"][2] == pytest.approx(0.4, abs=1e-6)


def test_a_clean_mistake_never_stands_and_lies_at_distance_zero():
    subject = toy(4)
    mislabelled = Subject(**{**vars(subject), "label": torch.tensor([1, 1, 2, 3])})
    examples = mislabelled.x + 0.01
    examples[0] = mislabelled.x[1]  # right at last
    examples[1] = mislabelled.x[2]
    said = judged(mislabelled, examples, "linf")
    assert said["wrong"] == [True, False, False, False]
    assert said["stands"] == [False, False, True, True]
    assert minimum.distances(Measured(**said)) == [0.0, 2.0, math.inf, math.inf]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (0.05, "kept (0 of 4 fell)"),
        (0.1, "kept (0 of 4 fell)"),
        (0.0, "kept, nothing changed (0 of 4 fell)"),
        (0.7, "BROKEN 7.00x (0 of 4 fell)"),
        (math.nan, "BROKEN: not finite"),
    ],
)
def test_a_budget_is_kept_or_broken(change, said):
    subject = toy(4)
    examples = subject.x.clone()
    examples[1, 1] += change
    assert violations.verdict(subject, examples, 0.1) == said


def test_leaving_the_bounds_or_the_shape_is_told_too():
    subject = toy(4)
    narrow = Subject(**{**vars(subject), "space": Space("narrow", "units", -2.0, 2.0)})
    assert violations.verdict(narrow, subject.x + 0.05, 0.1).startswith("kept, out of bounds")
    assert violations.verdict(subject, subject.x[:, :2], 0.1) == "BROKEN: shape (4, 2)"


def test_the_summary_of_budgets_names_everybody_once_per_fault():
    kept, broken = "kept (1 of 2 fell)", "BROKEN 9x (2 of 2 fell)"
    lines = [
        ["good", kept, kept],
        ["bad", kept, broken],
        ["picky", "fails", kept],
        ["absent", "not available: x", "not available: x"],
    ]
    assert (
        violations.summary(lines)
        == "Kept in every space: good. Broken in some space without an error: bad. Fails in some space: picky."
    )


def test_agreement_counts_every_pair():
    counts = ensemble.agreement(
        [True, True, False, False, True, False, True, False, False], [1, 0, 0, 1, 1, 1, 1, 1, 0]
    )
    assert counts == {"both stand": 3, "both fallen": 2, "fallen to ours only": 3, "fallen to theirs only": 1}
    with pytest.raises(ValueError, match="shorter"):
        ensemble.agreement([True], [])


def test_a_sample_that_only_autoattack_felled_is_named_with_its_stage():
    mine = held([True, True, False, False], stages={"a": Cost(10, 0, 10)}, won=["", "", "apgd", "apgd"])
    theirs = held([True, False, False, False], stages={"b": Cost(50, 100, 50)}, won=["", "FAB-T", "APGD-CE", "APGD-CE"])
    said = ensemble.compared(mine, theirs)
    assert "sample 1 (FAB-T)" in said
    assert "Agreement 75.00 %" in said
    assert "passes 0.100" in said
    assert "only: sample" not in ensemble.compared(theirs, mine)


def test_strength_is_compared_sample_by_sample():
    said = strength.compared("APGD-CE", held([True, True, False, False]), held([False, True, True, False]))
    assert "+0.0 points" in said
    assert "1 samples fell to ours only, 1 to theirs only" in said
    assert "NOT met" in strength.compared("APGD-CE", held([True, True]), held([True, False]))


def test_the_best_minimum_norm_peer_is_one_that_took_no_more_passes():
    def row(library, name, norm, backwards):
        return Row("linf", library, name, lambda c: c.subject.x), held(
            [False], norms=[norm], stages={"": Cost(0, 0, backwards)}
        )

    said = minimum.compared(
        "linf",
        dict([row(OURS, "FMN", 1.0, 100), row("adv-lib", "same", 1.25, 105), row("adv-lib", "dear", 0.5, 1000)]),
        100,
    )
    assert "0.8000 of that of the best peer of at most 100 gradient passes per sample (adv-lib same)" in said
    assert "2.000 of that of the best peer at any cost (adv-lib dear)" in said
    assert minimum.compared("linf", dict([row("adv-lib", "same", 1.25, 105)]), 100) == ""


# ------------------------------------------------------------------------------------------------- rows and contestants


def test_labels_name_rows_uniquely():
    for settings in (Settings(), QUICK):
        labels = [row.label for row in peers.all_rows(settings)]
        assert len(set(labels)) == len(labels)


def test_ours_takes_as_many_gradient_passes_as_autoattack_takes():
    """n + 1 for n steps (and that for every target), n + 1 queries for n queries: what pyautoattack counts for a sample
    that stands.
    """
    subject = toy(4)
    rows = {row.group: row for row in reversed(strength.rows(TINY)) if row.ours and row.frozen}
    spent = {}
    for group, row in rows.items():
        contest = Contest(subject.classifier(), subject, TINY)
        row.run(contest)
        spent[group] = sum(contest.classifier.stages.values(), Cost())
    assert spent["APGD-CE"].backwards == 4 * (TINY.steps + 1)
    assert spent["APGD-T"].backwards == 4 * (TINY.steps + 1) * TINY.targets
    assert spent["Square"].plain_forwards == 4 * (TINY.queries + 1)


def test_the_ensemble_says_which_stage_felled_whom():
    subject = toy(5)
    wide = Settings(samples=5, radius=255 * 1.9, batch=4)
    found = ensemble.bindattack(Contest(subject.classifier(), subject, wide))
    stages = [stage.name for stage in our_attack("bindattack", "standard").stages]
    assert found.won == [stages[0]] * 5
    assert subject.fallen(found.x).all()
    contest = Contest(subject.classifier(), subject, TINY)
    found = ensemble.bindattack(contest)
    assert found.won == [""] * 5
    assert not subject.fallen(found.x).any()
    assert [stage for stage in contest.classifier.stages if stage not in ("", "verdicts")] == stages


def test_our_own_contestants_run_in_the_table_of_budgets_and_in_the_race():
    subject = toy(4)
    for call in violations.calls(steps=2, queries=3):
        if call.library == OURS:
            assert violations.attempt(call, subject, 0.1, TINY).startswith("kept")
    small = Settings(samples=4, radius=255 * 0.1, pgd_steps=2, batch=4)
    for one in speed.contestants(small):
        if one.library in ("", OURS):
            one.once(subject, small, frozen=True)
            assert not one.error
            assert one.cost.backwards == 4 * 2
            assert (
                one.accuracy == 100.0 or not one.library
            )  # the bare loop clamps to [0, 1], where the toy does not live


# ------------------------------------------------------------------------------------------------ what is not there


ABSENT = "no-such-attack-library"


def test_a_library_that_is_missing_is_a_row_that_says_so(tmp_path):
    row = Row("APGD-CE", ABSENT, "5 steps", lambda c: c.subject.x)
    said = f"not available: {ABSENT} is not installed"
    assert measure(row, TINY) == Measured(error=said)
    found = jobs.Bench(tmp_path / "never started", tmp_path, TINY, "identity").run([row])
    assert found == {row: Measured(error=said)}
    for part in peers.ROWS.values():
        assert said in part.report(TINY, {Row("linf", ABSENT, "x", row.run): found[row]} if part is minimum else found)
    assert violations.attempt(violations.Call(ABSENT, "PGD", lambda c, eps: c.subject.x), toy(2), 0.1, TINY) == said
    with pytest.raises(NotAvailable, match="has no Nonsense"):
        our_attack("Nonsense")


def test_a_contestant_that_crashes_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr("against.measured.subject", lambda modality, samples: toy(samples))

    def crash(contest: Contest) -> torch.Tensor:
        raise RuntimeError("no luck\nand a long trace")

    assert measure(Row("g", OURS, "x", crash), TINY).error == "crashed: RuntimeError: no luck"
    assert violations.attempt(violations.Call(OURS, "x", lambda c, eps: crash(c)), toy(2), 0.1, TINY) == "fails"
    one = speed.Contestant(OURS, "x", crash)
    one.once(toy(2), TINY, frozen=True)
    assert one.error == "crashed: RuntimeError: no luck"


def test_a_row_is_measured_and_survives_json(monkeypatch):
    monkeypatch.setattr("against.measured.subject", lambda modality, samples: toy(samples))
    row = Row(
        "g", OURS, "x", lambda c: Found(c.with_ours(PGD(steps=2, stop_when_reached=False), Linf(0.05)), ["s"] * 5)
    )
    one = measure(row, TINY)
    assert one.error == ""
    assert one.cost.backwards == 2 * 8
    assert one.accuracy == 100.0
    assert max(one.norms) == pytest.approx(0.05, abs=1e-6)
    assert one.won == ["s"] * 5
    assert one.cpu_s > 0
    assert Measured.of(json.loads(json.dumps(one.held))) == one


CHILD = """
import json, sys
from pathlib import Path
log = Path(__file__).with_suffix(".log")
log.write_text(log.read_text() + "x" if log.exists() else "x")
print("noise")
numbers = {"cpu_s": 1.0, "pace": 1.0, "peak_mib": 1.0, "load": 1.0, "outside": 0.0}
print(json.dumps({**numbers, "stands": [True], "wrong": [False], "norms": [0.0], "stages": {"": {"backwards": 3}}}))
"""


def test_what_peers_did_is_kept_and_ours_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs.libraries, "ready", lambda library: "1.0")
    script = tmp_path / "child.py"
    script.write_text(CHILD)

    def started() -> int:
        return len(script.with_suffix(".log").read_text())

    rows = [Row("g", "peer", "x", lambda c: c.subject.x), Row("g", OURS, "x", lambda c: c.subject.x)]
    bench = jobs.Bench(script, tmp_path / "kept", TINY, "identity")
    first = bench.run(rows)
    assert [one.cost.backwards for one in first.values()] == [3, 3]
    assert started() == 2
    assert bench.run(rows) == first
    assert started() == 3
    jobs.Bench(script, tmp_path / "kept", TINY, "identity", reuse=False).run(rows)
    assert started() == 5
    jobs.Bench(script, tmp_path / "kept", TINY, "other weights").run(rows[:1])
    assert started() == 6
    script.write_text("import sys; sys.exit(3)")
    assert "status 3" in bench.run(rows[1:])[rows[1]].error


def test_a_result_is_named_by_all_it_depends_on():
    row, same = Row("g", "peer", "x", lambda c: c.subject.x), Row("g", "peer", "x", lambda c: c.subject.x)
    names = [
        jobs.key(row, "1", TINY, "w"),
        jobs.key(row, "2", TINY, "w"),
        jobs.key(row, "1", QUICK, "w"),
        jobs.key(row, "1", TINY, "v"),
        jobs.key(Row("g", "peer", "y", row.run), "1", TINY, "w"),
        jobs.key(Row("g", "peer", "x", row.run, frozen=False), "1", TINY, "w"),
    ]
    assert len(set(names)) == len(names)
    assert jobs.key(same, "1", TINY, "w") == names[0]


def test_an_unknown_part_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["peers.py", "--only", "A,X"])
    with pytest.raises(SystemExit, match="no part X; expected some of A, B, C, D, E"):
        peers.main()


def test_settings_come_from_options():
    asked = peers.parser().parse_args(["--quick", "--samples", "7", "--radius", "2.5", "--pgd-steps", "9"])
    settings = peers.settings_of(asked)
    assert (settings.samples, settings.radius, settings.pgd_steps, settings.steps) == (7, 2.5, 9, QUICK.steps)


def test_stand_ins_replace_only_what_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "json", json)
    libraries._stand_in("json", ("models",))
    assert sys.modules["json"] is json
    libraries._stand_in("surely_not_there", ("models",))
    import surely_not_there
    from surely_not_there import models

    assert models is None
    assert surely_not_there.__spec__ is not None
    monkeypatch.delitem(sys.modules, "surely_not_there")
