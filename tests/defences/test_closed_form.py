"""Defences whose robust accuracy is known: one that truly protects is not broken beyond its bound, one that only hides
gradients is broken to the undefended number.
"""

import pytest
from half_spaces import Greys, HalfSpaces

import ironbind as ib
from ironbind.attacks import PGD
from ironbind.defences.gaussian_smoothing import Smoothing
from ironbind.defences.quantisation import Quantisation
from ironbind.evaluate.run_context import RunContext
from ironbind.runs.examined_defences import ExaminedDefence, defended_part

EPS = 20 / 255
SPREAD = range(78, 178)  # 100 grey levels around the boundary: 40 of them within EPS of it
ATTACK = PGD(10)


def numbers(encoder, data, *defences, eps="20/255"):
    """Robust accuracy by threat model, of each defence; the undefended encoder's under ""."""
    task = ib.zero_shot(encoder, data, "image")
    budget = ib.Linf(eps)
    undefended = ib.audit(task, ATTACK, budget, checks=False)
    part = defended_part(defences, task, (ATTACK,), (budget,), RunContext())
    found = {"": undefended.value(metric="top1", threat_model="whitebox")}
    for row in part.select(metric="top1", threat_model=("clean", "replayed", "adaptive")):
        found[f"{row.encoder.rpartition('+')[2]} {row.threat_model}"] = row.value
    return found


def exact(data, reach):
    """Percent of samples that are further from the boundary."""
    return 100 * float((data.distance > reach).float().mean())


def test_hidden_gradients_are_found():
    """Rounding to 8 bits leaves a plain gradient attack nothing to climb, and takes nothing from one who knows."""
    data = Greys(SPREAD)
    found = numbers(HalfSpaces(), data, ExaminedDefence(Quantisation(bits=8), steps=10, queries=0))
    assert found[""] == pytest.approx(exact(data, EPS), abs=1.01)
    assert abs(found["quantisation adaptive"] - found[""]) <= 1
    plain = ib.audit(
        ib.zero_shot(ib.defend(HalfSpaces(), "quantisation", bits=8), data, "image"),
        PGD(10, random_start=False), ib.Linf("20/255"), checks=False,
    )  # fmt: skip
    assert plain.value(metric="top1", threat_model="whitebox") == 100
    assert plain.rows[0].encoder == "halfspaces+quantisation"


def test_a_defence_that_holds_is_not_broken():
    """One bit is left of a picture: whoever moves each pixel by less than its distance to 1/2 moves nothing, although
    the undefended encoder reads the checkerboard four times too loudly.
    """
    data = Greys([*range(20, 100, 4), *range(160, 240, 4)])
    found = numbers(HalfSpaces(gain=4.0), data, ExaminedDefence(Quantisation(bits=1), steps=10, queries=50))
    assert found[""] == pytest.approx(exact(data, 4 * EPS), abs=100 / len(data))
    assert found[""] < 50
    assert found["quantisation adaptive"] == exact(data, EPS) == 100


def test_smoothing_of_a_linear_reading_changes_nothing():
    """The mean over noise of the mean brightness is the mean brightness: bound and number are the undefended ones."""
    data = Greys(SPREAD)
    found = numbers(HalfSpaces(), data, ExaminedDefence(Smoothing(sigma=0.05, n=4), steps=10, queries=0, draws=4))
    noise = 0.05 / (64 * 3 * 4) ** 0.5  # of the reading
    assert exact(data, EPS + 3 * noise) - 1 <= found["smoothing adaptive"] <= exact(data, EPS - 3 * noise) + 1
    assert found["smoothing adaptive"] <= found["smoothing replayed"] <= found["smoothing clean"]


def test_a_bound_is_not_crossed_by_the_twins_examples():
    """Replay is never stronger than the adaptive attack that owns those examples."""
    data = Greys(SPREAD)
    found = numbers(HalfSpaces(gain=1.0), data, ExaminedDefence(Quantisation(bits=6), steps=5, queries=0))
    assert found["quantisation adaptive"] <= found["quantisation replayed"]
