"""Planted hubs are flagged and clean rows are not; order, seeds of the file and neighbours decide nothing."""

import json

import numpy as np
import pytest
import torch

from ironbind.core.errors import InputError
from ironbind.index_guard.index_scan import ScanSettings, check_items, scan_index
from ironbind.index_guard.query_set import concepts_of, sampled_queries
from ironbind.index_guard.stored_rows import StoredRows
from planted_hubs import DIM, HUBS, QUERIES, ROWS, clean_rows, poisoned_rows, queries, written

CLEAN, POISONED = StoredRows("clean", clean_rows()), StoredRows("poisoned", poisoned_rows())
ASKED = StoredRows("queries", queries())


@pytest.fixture(scope="module")
def poisoned():
    return scan_index(POISONED, ASKED)


def test_hubs_are_flagged_the_most_suspicious_first(poisoned):
    assert poisoned.flagged == HUBS
    assert poisoned.scores[list(HUBS)].min() > poisoned.threshold > np.delete(poisoned.scores, HUBS).max()
    assert poisoned.suspects[0].count > poisoned.suspects[1].count > 0.5 * QUERIES
    assert poisoned.review == HUBS[:1] + HUBS[1:] + poisoned.review[2:]
    assert len(poisoned.review) == 3  # 0.2 % of 1500


def test_clean_rows_are_not():
    found = scan_index(CLEAN, ASKED)
    assert found.flagged == ()
    assert len(found.review) == 3
    assert sum(found.frequencies.values()) == ROWS
    assert sum(count * rows for count, rows in found.frequencies.items()) == 10 * QUERIES


def test_without_queries_rows_of_the_index_are_asked_and_the_scan_says_so():
    found = scan_index(CLEAN, None, ScanSettings(queries=200))
    assert found.queries == 200
    assert "no queries were given: 200 rows of the index itself" in found.remarks[0]
    assert found.flagged == ()


def test_the_order_of_rows_and_queries_decides_nothing(poisoned):
    order = np.random.default_rng(4).permutation(ROWS)
    shuffled = scan_index(
        StoredRows("poisoned", POISONED.z[order]), StoredRows("queries", ASKED.z[::-1].copy()), ScanSettings()
    )
    assert (shuffled.scores == poisoned.scores[order]).all()
    assert tuple(order[list(shuffled.flagged)]) == poisoned.flagged


def test_an_item_is_checked_as_if_it_alone_entered():
    items = StoredRows("items", np.stack([queries().mean(axis=0), clean_rows()[3] + 0.01]))
    both = check_items(CLEAN, items, ASKED)
    assert both.flagged == (0,)
    assert both.scores[1] < both.threshold
    alone = check_items(CLEAN, StoredRows("items", items.z[:1]), ASKED)
    assert alone.scores[0] == both.scores[0]
    entered = np.concatenate([clean_rows(), items.z[:1]])
    count = next(each.count for each in scan_index(StoredRows("entered", entered), ASKED).suspects if each.row == ROWS)
    assert count == both.suspects[0].count


def test_held_out_natural_rows_calibrate():
    found = scan_index(POISONED, ASKED, natural=StoredRows("natural", written(800, 5)))
    assert found.flagged == HUBS
    assert found.natural_source == "800 rows of natural"


def test_a_hub_of_one_concept_is_found_by_its_concept():
    """Eight concepts far apart; the hub answers one of them, and no more queries in all than natural rows do."""
    rng = np.random.default_rng(6)
    centers = 3 * rng.standard_normal((8, DIM))
    rows = (centers[rng.integers(8, size=2000)] + rng.standard_normal((2000, DIM))).astype(np.float32)
    asked = (centers[np.arange(800) % 8] + 1.5 * rng.standard_normal((800, DIM))).astype(np.float32)
    asked[:, 0] += 6 * (np.arange(800) % 8 == 0)  # queries of the first concept lean where no row is
    rows[40] = asked[::8].mean(axis=0)
    found = scan_index(StoredRows("rows", rows), StoredRows("queries", asked), ScanSettings(concepts=8))
    assert found.flagged[0] == 40
    assert found.suspects[0].concepts < 1.5


def test_modalities_of_rows_are_compared_among_themselves():
    """Sounds are found by few texts here; one that is found as often as a usual picture is is unusual."""
    rng = np.random.default_rng(7)
    pictures = rng.standard_normal((1000, DIM)) + 0.35
    sounds = rng.standard_normal((1000, DIM)) - 0.35
    sounds[5] = 0.5 + 0.5 * rng.standard_normal(DIM)
    labels = ("image",) * 1000 + ("audio",) * 1000
    rows = StoredRows("rows", np.concatenate([pictures, sounds]).astype(np.float32), labels=labels)
    asked = written(300, 8, lean=0.5)
    found = scan_index(rows, asked)
    assert found.flagged == (1005,)
    assert found.suspects[0].reason == "modality"
    assert found.suspects[0].count < max(found.frequencies)  # some picture is found more often
    assert scan_index(rows.z, asked).flagged == ()
    again = np.delete(rows.z, 1005, axis=0)
    index = StoredRows("rows", again, labels=labels[:-1])
    for name, flagged in (("audio", (0,)), ("image", ()), (None, ())):
        item = StoredRows("item", rows.z[1005:1006], labels=None if name is None else (name,))
        assert check_items(index, item, asked).flagged == flagged


def test_a_store_compares_as_it_says():
    """By inner product a long row answers everything; by cosine it does not."""
    rows = clean_rows()
    rows[3] *= 40
    asked = StoredRows("queries", written(300, 1, lean=0.5))
    assert 3 in scan_index(StoredRows("rows", rows, metric="dot"), asked).flagged
    by_cosine = scan_index(StoredRows("rows", rows), asked)
    assert 3 not in by_cosine.flagged
    assert by_cosine.remarks[0].startswith("row 3 is ")
    assert scan_index(clean_rows(), asked).remarks == ()
    assert 3 not in scan_index(StoredRows("rows", rows, metric="dot"), asked, ScanSettings(metric="cosine")).flagged


def test_tensors_are_arrays(poisoned):
    tensors = torch.from_numpy(POISONED.z), torch.from_numpy(ASKED.z)
    assert (scan_index(*tensors).scores == poisoned.scores).all()
    with pytest.raises(InputError, match=r"index: is a Tensor that numpy does not take .*; expected float32 rows"):
        scan_index(tensors[0].bfloat16(), tensors[1])
    with pytest.raises(InputError, match="queries: holds float64; expected float32 rows"):
        scan_index(tensors[0], ASKED.z.tolist())


def test_queries_are_drawn_by_seed_and_content():
    stored = StoredRows("queries", queries())
    first, again = sampled_queries(stored, 50, 0, False), sampled_queries(stored, 50, 0, False)
    other = sampled_queries(stored, 50, 1, False)
    assert (first.z == again.z).all()
    assert not (first.z == other.z).all()
    assert set(concepts_of(first, 4).tolist()) <= set(range(4))
    assert len(set(concepts_of(first, 1).tolist())) == 1


def test_the_result_is_json(poisoned):
    stored = json.loads(json.dumps(poisoned.to_dict()))
    assert stored["flagged"] == list(HUBS)
    assert len(stored["scores"]) == ROWS


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alert_budget": 0.0}, "alert budget 0.0 %"),
        ({"k": 0}, "expected k, concepts and queries of 1 or more"),
    ],
)
def test_settings_that_cannot_be_used(settings, words):
    with pytest.raises(InputError, match=words):
        ScanSettings(**settings)


def test_rows_that_cannot_be_compared():
    with pytest.raises(InputError, match="--k 1499: the index holds 1500 rows; expected fewer"):
        scan_index(CLEAN, ASKED, ScanSettings(k=1499))
    with pytest.raises(InputError, match="holds 5 rows; what is usual can be told from 20 on"):
        scan_index(StoredRows("few", clean_rows()[:5]), ASKED)
    with pytest.raises(InputError, match="equal: holds 1 different rows; what is usual can be told from 20 on"):
        scan_index(StoredRows("equal", np.ones((200, DIM), np.float32)), ASKED)
    huge = CLEAN.z.copy()
    huge[9, 3] = 1e30
    with pytest.raises(InputError, match=r"rows: row 9 holds a number of size 1e\+30, too large to compare by l2"):
        scan_index(StoredRows("rows", huge), ASKED, ScanSettings(metric="l2"))
    with pytest.raises(InputError, match=r"queries: rows of 7 numbers; expected 32, as those of clean have"):
        scan_index(CLEAN, StoredRows("queries", ASKED.z[:, :7].copy()))
    with pytest.raises(InputError, match="item: rows of 7 numbers; expected 32"):
        check_items(CLEAN, StoredRows("item", ASKED.z[:1, :7].copy()), ASKED)


def test_rows_without_any_structure_are_not_flagged():
    """Counts are small whole numbers here, and concepts none: what is rare is no hub."""
    rng = np.random.default_rng(0)
    rows, asked = (rng.standard_normal((n, 16)).astype(np.float32) for n in (5000, 1000))
    assert scan_index(rows, asked).flagged == ()


def test_hubs_do_not_hide_each_other():
    """One per cent of the rows are copies of a hub with some noise."""
    rows = clean_rows()
    rows[:15] = queries().mean(axis=0) + 0.05 * written(15, 3)
    assert set(scan_index(rows, ASKED).flagged) == set(range(15))


@pytest.mark.parametrize("copies", [3, 150])
def test_copies_of_a_hub_are_flagged_however_many_and_wherever_they_are(copies):
    """A query returns ten of equal rows, by their place; a tenth of the rows are copies of one hub here."""
    rows, order = clean_rows(), np.random.default_rng(5).permutation(ROWS)
    rows[:copies] = queries().mean(axis=0)
    rows[200] = rows[201]
    found = scan_index(rows, ASKED)
    assert found.flagged == tuple(range(copies))
    assert len(set(found.scores[:copies])) == 1
    assert found.scores[200] == found.scores[201] < found.threshold
    assert found.remarks == (f"{copies} of 1500 rows are copies of others; copies are counted as one row",)
    assert (scan_index(rows[order], ASKED).scores == found.scores[order]).all()
    assert sum(found.frequencies.values()) == ROWS
    asked_itself = scan_index(rows, None, ScanSettings(queries=300))
    assert (scan_index(rows[order], None, ScanSettings(queries=300)).scores == asked_itself.scores[order]).all()
    labelled = StoredRows("rows", rows, labels=tuple("ab"[row % 2] for row in range(ROWS)))
    assert set(scan_index(labelled, ASKED).flagged) == set(range(copies))


def test_natural_rows_that_are_too_few_to_say_what_is_natural():
    with pytest.raises(InputError, match="natural rows: holds 29 rows; what is natural can be told from 30 on"):
        scan_index(CLEAN, ASKED, natural=written(29, 8))


def test_items_are_looked_at_before_the_index():
    told = []
    for items, words in ((np.full((1, DIM), np.nan, np.float32), "NaN"), (written(1, 2)[:, :3].copy(), "rows of 3")):
        with pytest.raises(InputError, match=words):
            check_items(CLEAN, items, ASKED, progress=lambda *at: told.append(at))
    assert told == []


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        (written(100, 1), written(1, 2)),
        (written(20, 1), None),
        (written(200, 1), np.ones((50, DIM), np.float32)),
        (written(200, 1)[:, :1].copy(), written(50, 2)[:, :1].copy()),
    ],
    ids=["one query", "twenty rows", "equal queries", "one number"],
)
@pytest.mark.filterwarnings("error")
def test_little_says_nothing(rows, asked):
    found = scan_index(rows, asked)
    assert found.flagged == ()
    assert (found.scores >= 0).all()
    assert np.isfinite(found.scores).all()
    assert not np.signbit(check_items(rows, rows[:2] + 1, asked).scores).any()
