"""What a run says while it runs: numbers that were found, steps, how long it is likely to take."""

import pytest

from ironbind.cli_progress import Screen
from ironbind.runs.progress import WHOLE, Progress


def test_a_number_that_was_found_is_a_line_of_its_own(capsys):
    with Screen() as screen:
        screen(Progress("audio", "logmel: 6.2 % attacked at 4/255", 0, 0))
        screen(Progress("audio", "clean", 3, 8))
        screen(Progress("audio", "clean", 8, 8))
        screen(Progress("audio", "clean", 8, 8))
    assert capsys.readouterr().err.splitlines() == ["audio: logmel: 6.2 % attacked at 4/255", "audio: clean (8)"]


def test_the_estimate_counts_the_parts_of_all_jobs():
    with Screen() as screen:
        screen.expect(4)
        assert screen.estimate(60) is None
        screen(Progress("audio", WHOLE, 1, 10))
        assert screen.estimate(60) is None  # too little to tell
        screen(Progress("video", WHOLE, 4, 10))
        assert screen.estimate(60) == pytest.approx(8)  # 5 of 40 parts in a minute: the two that wait have ten each
        for job in ("audio", "video", "point", "image"):
            screen(Progress(job, WHOLE, 10, 10))
        assert screen.estimate(600) == pytest.approx(10)


def test_a_finished_job_is_told_once(capsys):
    with Screen() as screen:
        screen.expect(2)
        for done in (2, 3, 4, 4):
            screen(Progress("audio", WHOLE, done, 4))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("in all, ")[2] for line in lines] == ["0 of 2 done", "1 of 2 done"]
