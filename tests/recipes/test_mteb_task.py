"""mteb both ways: its tasks as audits, our encoders in its evaluator, and the same clean numbers of both."""

import csv
import json
import logging

import pytest

mteb = pytest.importorskip("mteb", reason="the extra mteb is not installed")

import ironbind as ib  # noqa: E402
from command_line import ironbind  # noqa: E402
from ironbind.data import load_dataset  # noqa: E402
from ironbind.recipes import audit_named  # noqa: E402
from ironbind.recipes.request import AuditRequest  # noqa: E402
from ironbind.runs.run_jobs import run_jobs  # noqa: E402
from ironbind.types import InputError  # noqa: E402
from recipes.tiny_mteb import TASKS, Shapes, encoded, picture, wave_array  # noqa: E402

logging.getLogger("mteb").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def tiny_tasks(monkeypatch, tmp_path):
    """mteb finds our tiny tasks by name; the cache is empty."""
    own = mteb.get_task
    monkeypatch.setattr(mteb, "get_task", lambda name, **more: TASKS[name]() if name in TASKS else own(name, **more))
    monkeypatch.setenv("IRONBIND_CACHE", str(tmp_path / "cache"))


def measured_by_mteb(encoder, task) -> dict:
    result = mteb.evaluate(ib.mteb_model(encoder), task, cache=None, show_progress_bar=False)
    (scores,) = result.task_results[0].scores["test"]
    return scores


def audited(name: str, out, **more) -> dict:
    """(metric, threat model, eps) -> value."""
    jobs = audit_named(f"mteb/{name}")(AuditRequest(steps=1, eps=("4/255",), **more))
    run_jobs(jobs, out)
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["metric"], row["threat_model"], row["task"]): float(row["value"]) for row in rows}


@pytest.mark.parametrize(
    ("name", "metric", "score", "task"),
    [
        ("TinyShapes", "top1", "accuracy", "zero_shot"),
        ("TinySounds", "top1", "accuracy", "zero_shot"),
        ("TinyClips", "top1", "accuracy", "zero_shot"),
        ("TinyI2T", "R@1", "hit_rate_at_1", "retrieval:image->text"),
        ("TinyT2I", "R@1", "hit_rate_at_1", "retrieval:text->image"),
        ("TinyA2I", "R@1", "hit_rate_at_1", "retrieval:audio->image"),
    ],
)
def test_clean_numbers_are_those_of_mteb(tmp_path, name, metric, score, task):
    encoder = ib.load_encoder("tiny")
    theirs = measured_by_mteb(encoder, TASKS[name]())
    more = {"space": "logmel"} if name in ("TinySounds", "TinyA2I") else {}
    ours = audited(name, tmp_path / "run", **more)
    assert ours[metric, "clean", task] == pytest.approx(100 * theirs[score], abs=1e-3)  # mteb rounds to 5 digits
    assert ours[metric, "whitebox", task] <= ours[metric, "clean", task]
    for k in (5, 10):
        if metric == "R@1":
            assert ours[f"R@{k}", "clean", task] == pytest.approx(100 * theirs[f"hit_rate_at_{k}"], abs=1e-3)
    assert theirs[score] > 0, "an accuracy of 0 would agree with anything"


def test_a_hardened_encoder_is_measured_by_mteb_too(tmp_path):
    hardened = ib.from_pretrained("shipped", ib.load_encoder("tiny"))
    model = ib.mteb_model(hardened)
    assert model.mteb_model_meta.name == "ironbind/tiny+shipped"
    assert set(model.mteb_model_meta.modalities) >= {"image", "audio", "text"}
    scores = measured_by_mteb(hardened, Shapes())
    task = ib.zero_shot(hardened, load_dataset("mteb", "TinyShapes"), "image")
    right = task.goal(range(len(task))).rank(task.embed(task.load(range(len(task))))) == 1
    assert scores["accuracy"] == pytest.approx(float(right.float().mean()), abs=1e-6)


def test_the_command_and_what_it_writes(tmp_path):
    quick = ("--steps", "1", "--eps", "4/255", "--space", "pixels")
    done = ironbind("audit", "mteb/TinyShapes", "--encoder", "tiny", "--limit", "4", *quick, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "cache" / "mteb").iterdir()
    about = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    assert (about["name"], about["split"], about["modality"]) == ("TinyShapes", "test", "image")
    data = load_dataset("mteb", folder)
    assert data.classes[0].startswith("a photo of a ")
    assert data.templates == ("{}",)
    assert data.fingerprint == load_dataset("mteb", "TinyShapes").fingerprint


def test_what_was_written_is_read_without_mteb(tmp_path, monkeypatch):
    (job,) = audit_named("mteb/TinyT2I")(AuditRequest())
    monkeypatch.setattr(mteb, "get_task", lambda name: pytest.fail("mteb was asked again"))
    data = job.data.load()
    assert (len(data), data.counterparts.modality, data.counterparts.samples_ask) == (16, "text", False)
    assert data.counterparts.texts[2].endswith("of one colour")


def test_a_written_task_is_data_of_any_command(tmp_path):
    (job,) = audit_named("mteb/TinyI2T")(AuditRequest())
    job.data.load()
    (folder,) = (tmp_path / "cache" / "mteb").iterdir()
    (other,) = audit_named("data")(AuditRequest(data=str(folder)))
    assert other.extra_tasks == job.extra_tasks
    assert other.data.load().fingerprint == job.data.load().fingerprint


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CIFAR1ZeroShot", {}, "not found. Did you mean: 'CIFAR10ZeroShot'"),
        ("STS12", {}, "is a STS task of category t2t; expected zero-shot classification of pictures"),
        ("TinyShapes", {"data": "somewhere"}, "--data somewhere: recipe 'mteb/TinyShapes' has no use for it"),
        ("TinyShapes", {"modalities": ("audio",)}, "--modality audio: mteb/TinyShapes is a task of image"),
        (
            "TinyShapes",
            {"data_options": ("split=train",)},
            "split 'train' is not in it; expected --data-option split",
        ),
        ("TinyShapes", {"data_options": ("fold=1",)}, "takes split=..., subset=..."),
    ],
)
def test_what_cannot_be_audited_is_one_line(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        audit_named(f"mteb/{name}")(AuditRequest(**options))
    assert "\n" not in str(caught.value)


def test_several_right_documents_cannot_be_hidden_by_one(monkeypatch):
    class Several(TASKS["TinyT2I"]):
        def load_data(self, **_):
            super().load_data()
            self.dataset["default"]["test"]["relevant_docs"]["q0"]["d5"] = 1

    monkeypatch.setitem(TASKS, "TinyT2I", Several)
    with pytest.raises(InputError, match="query 'q0' has 2 right documents, of which an attacker hides one"):
        audit_named("mteb/TinyT2I")(AuditRequest())


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("top_ranked", "gives each query candidates of its own"),
        ("skip_first_result", "leaves out each query's first result"),
        ("ignore_identical_ids", "leaves out the document that is called like the query"),
    ],
)
def test_queries_that_are_not_asked_in_one_gallery(monkeypatch, attribute, reason):
    class Other(TASKS["TinyT2I"]):
        def load_data(self, **_):
            super().load_data()
            part = self.dataset["default"]["test"]
            if attribute == "top_ranked":
                part["top_ranked"] = {"q0": ["d0", "d1"]}
            else:
                setattr(self, attribute, True)
                part["corpus"] = part["corpus"].remove_columns("id").add_column("id", [f"q{row}" for row in range(16)])
                part["relevant_docs"] = {"q0": {"q1": 1}}

    monkeypatch.setitem(TASKS, "TinyT2I", Other)
    with pytest.raises(InputError, match=f"{reason}; expected a task that asks in one whole gallery"):
        audit_named("mteb/TinyT2I")(AuditRequest())


def test_data_that_cannot_be_loaded_is_one_line(monkeypatch):
    class Away(Shapes):
        def load_data(self, **_):
            raise ConnectionError("no route to\nthe hub")

    monkeypatch.setitem(TASKS, "TinyShapes", Away)
    with pytest.raises(InputError, match=r"its data cannot be loaded \(ConnectionError: no route to the hub\)"):
        audit_named("mteb/TinyShapes")(AuditRequest())


def test_samples_as_mteb_hands_them_over(tmp_path):
    model = ib.mteb_model(ib.load_encoder("tiny"))
    array, wav = wave_array()
    sounds = [{"array": array, "sampling_rate": 8000}, {"bytes": wav, "path": None}]
    one, other = model.encode([{"audio": sounds, "id": ["a", "b"]}])
    assert one.equal(other)
    pictures = [picture(0), {"bytes": encoded("image", 1)[0]["bytes"]}]
    one, other = model.encode([{"image": pictures, "label": [0, 1]}])
    assert one.equal(other)
    assert model.similarity(one, [one.numpy()]).item() == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match="hands over image and text of one sample"):
        model.encode([{"image": pictures, "text": ["a", "b"]}])
    with pytest.raises(InputError, match="one of|expected|is cut|holds"):
        model.encode([{"audio": [{"bytes": wav[:100]}]}])


def test_without_mteb_one_line_names_the_extra(monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "mteb"]:
        monkeypatch.setitem(sys.modules, name, None)
    for ask in (lambda: ib.mteb_model(ib.load_encoder("tiny")), lambda: audit_named("mteb/X")(AuditRequest())):
        with pytest.raises(InputError, match=r"expected it installed: pip install 'ironbind\[mteb\]'"):
            ask()
