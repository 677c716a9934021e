"""Which results of an old index a table shows."""

from ironbind.core.index_results import index_results, telling
from ironbind.core.results import Row


def row(modality: str, calibration: str, metric: str, value: float) -> Row:
    task = f"index:{modality}->text"
    return Row(
        "tiny", calibration, modality, "pixels", task, metric, "none", "none", "0", "clean", value, value, value, 40
    )


ROWS = [
    *(row("image", "none", metric, 100.0) for metric in ("R@1", "R@10")),
    row("image", "hard", "R@1", 97.5),
    row("image", "hard", "R@10", 100.0),
    row("image", "hard", "cosine", 0.81),
    *(row("video", name, metric, 100.0) for name in ("none", "hard") for metric in ("R@1", "R@10")),
    row("video", "hard", "cosine", 0.9),
    *(row("event", "none", metric, 95.0) for metric in ("R@1", "R@10")),
    *(row("event", "hard", metric, 100.0) for metric in ("R@1", "R@10")),
    row("event", "hard", "cosine", 0.7),
]


def test_rows_of_a_hundred_everywhere_are_left_out_and_counted():
    shown, rest = telling(index_results(ROWS, "R@1"))
    assert [line.modality for line in shown] == ["image", "event"]  # what old queries got counts as well
    assert rest.startswith("1 further row is left out")
    assert "from 0.900 to 0.900" in rest
    shown, rest = telling(index_results(ROWS, "R@10"))
    assert [line.modality for line in shown] == ["event"]
    assert rest.startswith("2 further rows are left out")
    assert "from 0.810 to 0.900" in rest


def test_nothing_is_said_of_nothing():
    assert telling([]) == ([], "")
