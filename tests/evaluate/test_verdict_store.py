"""The store: what goes in comes out, once; the first answer stays."""

import math
import sqlite3

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


def test_names_of_files_that_are_no_text(tmp_path):
    """Latin-1 on a disk that is read as UTF-8: Python holds the bytes as lone surrogates."""
    verdicts = {"gr\udcfcn.png": Verdict(2, 0.5), "grün.png": Verdict(1, -0.5), "plain": Verdict(3, 0.25)}
    store = VerdictStore(tmp_path)
    store.add("key", {"name": "gr\udcfcn.png"}, verdicts)
    x = torch.rand(3, 2)
    store.add_examples("key", list(verdicts), x)
    store.close()
    store = VerdictStore(tmp_path)
    assert store.verdicts("key") == verdicts
    assert store.has_examples("key") == set(verdicts)
    examples = store.examples("key", list(verdicts))
    assert all(examples[name].equal(x[row]) for row, name in enumerate(verdicts))


def test_ids_are_stored_as_text_as_they_always_were(tmp_path):
    """A store of an earlier version is continued."""
    VerdictStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "verdicts.sqlite")
    connection.execute("INSERT INTO verdict VALUES ('key', 'grün', 4, 0.5, 0.0, 'clean', 0, 1)")
    connection.commit()
    store = VerdictStore(tmp_path)
    store.add("key", {}, {"grün": Verdict(1, -0.5), "b": Verdict(1, -0.5)})
    assert store.verdicts("key")["grün"].rank == 4
    assert set(connection.execute("SELECT sample, typeof(sample) FROM verdict")) == {("grün", "text"), ("b", "text")}
    connection.close()
