"""The page of a run that goes on: there after the first job, marked as unfinished, replaced in the end."""

from synthetic import result as whole_result

from ironbind.core.results import Result
from ironbind.runs.growing_page import GrowingPage
from ironbind.runs.job import Job
from ironbind.runs.run_job import Outcome

JOBS = [Job("image"), Job("audio"), Job("video")]


def outcome(modality: str) -> Outcome:
    whole = whole_result()
    rows = [row for row in whole.rows if row.modality == modality]
    return Outcome(Result(modality, rows, record=dict(whole.record)), {})


def test_the_page_grows_with_every_job_and_names_what_is_missing(tmp_path):
    page, path = GrowingPage(tmp_path, JOBS), tmp_path / "report.html"
    page.add(1, outcome("audio"))
    text = path.read_text(encoding="utf-8")
    assert "Unfinished: the run goes on. Still to come: image, video." in text
    assert "audio (waveform)" in text
    page.add(0, outcome("image"))
    text = path.read_text(encoding="utf-8")
    assert "Still to come: video." in text
    assert "image (pixels)" in text
    page.add(0, outcome("image"))  # a job that is told again changes nothing
    assert path.read_text(encoding="utf-8") == text
    assert [other.name for other in tmp_path.iterdir()] == ["report.html"]  # tables hold whole runs only


def test_the_last_job_leaves_the_page_to_the_run(tmp_path):
    page = GrowingPage(tmp_path, JOBS[:1])
    page.add(0, outcome("image"))
    assert not list(tmp_path.iterdir())


def test_a_job_without_rows_has_no_page(tmp_path):
    GrowingPage(tmp_path, JOBS).add(0, Outcome(Result("image"), {}))
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_does_not_end_the_run(tmp_path):
    (tmp_path / "report.html").mkdir()
    given = outcome("image")
    assert GrowingPage(tmp_path, JOBS).add(0, given) is given
