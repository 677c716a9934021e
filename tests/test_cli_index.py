"""`ironbind index scan` and `ironbind index check`: files, what is printed, exit codes."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from command_line import ironbind
from planted_hubs import HUBS, clean_rows, poisoned_rows, queries


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    np.save(folder / "clean.npy", clean_rows())
    np.save(folder / "poisoned.npy", poisoned_rows())
    np.save(folder / "queries.npy", queries())
    np.save(folder / "item.npy", queries().mean(axis=0))
    return folder


@pytest.fixture(scope="module")
def scanned(files):
    out = files / "out"
    return ironbind("index", "scan", files / "poisoned.npy", "--queries", files / "queries.npy", "--out", out), out


def test_a_poisoned_index_ends_with_one(scanned):
    finished, out = scanned
    assert finished.returncode == 1
    stored = json.loads((out / "index.json").read_text(encoding="utf-8"))
    assert stored["flagged"] == list(HUBS)
    assert len(stored["scores"]) == 1500
    assert "1,500 rows: 2 are flagged" in finished.stdout
    assert "| 1200 |" in finished.stdout
    assert "scan: rows compared (1500)" in finished.stderr
    assert (out / "index.md").read_text(encoding="utf-8").strip() in finished.stdout


def test_the_page_is_whole_and_tells_the_same(scanned):
    page = (scanned[1] / "index.html").read_text(encoding="utf-8")
    assert "1,500 rows: 2 are flagged" in page
    assert page.count('<tr class="flagged">') == 2
    assert page.count("mark whitebox") == 2
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_clean_index_ends_with_zero(files):
    out = files / "clean"
    finished = ironbind("index", "scan", files / "clean.npy", "--queries", files / "queries.npy", "--out", out)
    assert finished.returncode == 0
    assert json.loads((out / "index.json").read_text(encoding="utf-8"))["flagged"] == []


def test_queries_that_were_not_given_are_rows_of_the_index(files):
    finished = ironbind("index", "scan", files / "clean.npy", "--sample", "100", "--out", files / "own")
    assert finished.returncode == 0
    assert "no queries were given: 100 rows of the index itself are asked instead" in finished.stdout


def test_an_item_before_it_enters(files):
    command = ("index", "check", files / "clean.npy", "--queries", files / "queries.npy")
    finished = ironbind(*command, "--item", files / "item.npy")
    assert finished.returncode == 1
    assert "1 item: 1 is flagged" in finished.stdout
    np.save(files / "usual.npy", clean_rows()[:3] + np.float32(0.01))
    finished = ironbind(*command, "--item", files / "usual.npy", "--out", files / "items")
    assert finished.returncode == 0
    assert len(json.loads((files / "items" / "index.json").read_text(encoding="utf-8"))["scores"]) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--queries", "absent.npy"], "absent.npy: does not exist"),
        (["--queries", "narrow.npy"], "rows of 5 numbers; expected 32"),
        (["--metric", "cosine", "--alert-budget", "0"], "alert budget 0.0 %: expected more than 0"),
        (["--k", "2000"], "--k 2000: the index holds 1500 rows; expected fewer"),
        (["--modalities", "kind"], "has no columns"),
        (["--part", "z"], "holds one array; leave it out"),
        (["--queries", "two.safetensors"], "holds 2 tensors (a, b); say which with --query-part"),
        (["--queries", "two.safetensors", "--query-part", "z"], "--query-part z: two.safetensors has no such tensor"),
        (["--queries", "queries.npy", "--query-modalities", "kind"], "--query-modalities kind: queries.npy has no"),
        (["--natural", "two.safetensors"], "holds 2 tensors (a, b); expected one alone"),
        (["--natural", "item.npy"], "item.npy: holds 1 rows; what is natural can be told from 30 on"),
    ],
)
def test_bad_input_is_one_line_and_two(options, words, files, monkeypatch):
    monkeypatch.chdir(files)
    np.save(files / "narrow.npy", queries()[:, :5])
    save_file({"a": queries(), "b": queries()}, files / "two.safetensors")
    finished = ironbind("index", "scan", "clean.npy", *options, "--out", "bad")
    assert finished.returncode == 2
    assert words in finished.stderr
    assert finished.stderr.strip().count("\n") == 0
    assert not (files / "bad").exists()


@pytest.mark.parametrize("out", ["clean.npy", "clean.npy/below"])
def test_a_folder_that_cannot_be_is_refused_before_the_work(out, files):
    finished = ironbind("index", "scan", files / "clean.npy", "--sample", "50", "--out", files / out)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"ironbind: --out {files / out} cannot be written")
    assert finished.stderr.strip().count("\n") == 0
    assert finished.stdout == ""


def test_queries_that_are_one_of_several_tensors(files):
    save_file({"a": queries(), "b": clean_rows()}, files / "two.safetensors")
    command = ("index", "scan", files / "clean.npy", "--out", files / "part", "--queries", files / "two.safetensors")
    assert "queries: 300 of" in ironbind(*command, "--query-part", "a").stdout


def test_a_run_is_not_overwritten(files):
    run = files / "run"
    run.mkdir()
    (run / "result.json").write_text("{}", encoding="utf-8")
    finished = ironbind("index", "scan", files / "clean.npy", "--sample", "50", "--out", run)
    assert finished.returncode == 2
    assert "holds a run; expected a folder of its own" in finished.stderr
