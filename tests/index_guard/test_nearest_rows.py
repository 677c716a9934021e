"""The search against a sort of everything, in every metric; what is not to decide decides nothing."""

import numpy as np
import pytest

from ironbind.index_guard.nearest_rows import nearest_rows
from ironbind.index_guard.similarity import unit
from ironbind.index_guard.stored_rows import StoredRows
from planted_hubs import clean_rows, queries


def by_sorting(rows: np.ndarray, asked: np.ndarray, metric: str) -> np.ndarray:
    """Scores of all rows, in float64."""
    x, q = rows.astype(np.float64), asked.astype(np.float64)
    if metric == "cosine":
        return (q / np.linalg.norm(q, axis=1)[:, None]) @ (x / np.linalg.norm(x, axis=1)[:, None]).T
    if metric == "dot":
        return q @ x.T
    return -0.5 * ((q[:, None] - x[None]) ** 2).sum(-1) + 0.5 * (q**2).sum(1)[:, None]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_the_nearest_are_those_of_a_sort(metric):
    rows, asked = clean_rows(), queries()[:40]
    pool = nearest_rows(StoredRows("rows", rows), asked, metric, 12)
    scores = by_sorting(rows, asked, metric)
    assert (pool.ids == np.argsort(-scores, axis=1)[:, :12]).all()
    assert np.allclose(pool.scores, np.take_along_axis(scores, pool.ids, axis=1))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_what_all_rows_share_costs_no_digits(metric):
    """Rows that lie far from zero, or within half a degree of each other."""
    rows, asked = clean_rows() + 100, queries()[:40] + 100
    pool = nearest_rows(StoredRows("rows", rows), asked, metric, 40)
    expected = np.argsort(-by_sorting(rows, asked, metric), axis=1)[:, :10]
    assert (pool.ids[:, :10] == expected).mean() > 0.99


def test_a_query_does_not_find_the_row_that_it_was_taken_from():
    rows = clean_rows()
    own = np.arange(0, 50)
    pool = nearest_rows(StoredRows("rows", rows), rows[own], "cosine", 5, own)
    assert not (pool.ids == own[:, None]).any()
    with_own = nearest_rows(StoredRows("rows", rows), rows[own], "cosine", 6)
    assert (with_own.ids[:, 0] == own).all()
    assert (with_own.ids[:, 1:] == pool.ids).all()


def test_neither_the_order_of_rows_nor_their_neighbours_decide():
    rows, asked = clean_rows(), queries()[:30]
    order = np.random.default_rng(3).permutation(len(rows))
    straight = nearest_rows(StoredRows("rows", rows), asked, "cosine", 8)
    shuffled = nearest_rows(StoredRows("rows", rows[order]), asked, "cosine", 8)
    assert (order[shuffled.ids] == straight.ids).all()
    assert (shuffled.scores == straight.scores).all()
    alone = nearest_rows(StoredRows("rows", rows), asked[:1], "cosine", 8)
    assert (alone.scores == straight.scores[:1]).all()


def test_progress_is_told_to_the_end():
    told = []
    nearest_rows(StoredRows("rows", clean_rows()), queries()[:2], "dot", 3, progress=lambda *at: told.append(at))
    assert told[-1] == (1500, 1500)


def test_unit_rows_of_huge_and_tiny_numbers():
    z = np.array([[3e30, 4e30], [3e-30, 4e-30], [3, 4]], np.float32)
    assert np.allclose(unit(z), [[0.6, 0.8]] * 3)
