"""The store: what goes in comes out, once; the first answer stays."""

import math

import torch

from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore, audit_key


def test_round_trip(tmp_path):
    verdicts = {
        "a": Verdict(1, -0.25),
        "b": Verdict(7, 0.125, 0.01, "pgd20-margin 4/255", 20, 2),
        "c": Verdict(3, math.inf),
    }
    store = VerdictStore(tmp_path)
    store.add("key", {"what": "x"}, verdicts)
    store.add("other", {}, {"a": Verdict(9, 1.0)})
    store.close()
    store = VerdictStore(tmp_path)
    assert store.verdicts("key") == verdicts
    assert store.verdicts("nobody") == {}
    assert store.passes() == (20, 2)


def test_the_first_verdict_stays():
    store = VerdictStore()
    store.add("key", {}, {"a": Verdict(1, -0.5)})
    store.add("key", {}, {"a": Verdict(2, 0.5), "b": Verdict(3, 0.5)})
    assert store.verdicts("key") == {"a": Verdict(1, -0.5), "b": Verdict(3, 0.5)}


def test_a_margin_that_is_not_a_number_survives():
    store = VerdictStore()
    store.add("key", {}, {"a": Verdict(8, math.nan)})
    assert math.isnan(store.verdicts("key")["a"].margin)


def test_examples_are_exact(tmp_path):
    store = VerdictStore(tmp_path)
    x = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    store.add_examples("key", ["a", "b", "c"], x)
    store.add_examples("other", ["a"], x[1:2])
    assert store.has_examples("key") == {"a", "b", "c"}
    found = store.examples("key", ["c", "a", "z"])
    assert set(found) == {"a", "c"}
    assert found["c"].equal(x[2])
    assert found["a"].equal(x[0])
    store.close()


def test_temporary_stores_go_away():
    store = VerdictStore()
    folder = store.folder
    assert folder.exists()
    store.close()
    del store
    assert not folder.exists()


def test_worse_is_a_larger_rank_then_a_larger_margin():
    assert Verdict(2, 0.1).worse_than(Verdict(1, 0.9))
    assert Verdict(2, 0.2).worse_than(Verdict(2, 0.1))
    assert not Verdict(2, 0.1).worse_than(Verdict(2, 0.1))
    assert not Verdict(1, 0.9).worse_than(Verdict(2, 0.1))


def test_keys_are_hashes_of_the_description():
    assert audit_key({"a": 1, "b": 2}) == audit_key({"b": 2, "a": 1})
    assert audit_key({"a": 1}) != audit_key({"a": 2})
    assert len(audit_key({})) == 32
