"""The table "which encoder sees which modality": complete, and current in the documentation."""

from pathlib import Path

from ironbind.encoders import ENCODERS
from ironbind.encoders.towers import COLUMNS, table, towers

DOCS = Path(__file__).parents[2] / "docs" / "encoders.md"


def test_every_encoder_has_a_row_and_every_modality_a_column():
    text = table()
    for name in ENCODERS:
        for title, seen in towers(name).items():
            assert f"| {title} |" in text
            assert "text" in seen
            assert set(seen) <= set(COLUMNS)


def test_the_documented_table_is_current():
    assert table() in DOCS.read_text(encoding="utf-8"), (
        "run `python -m ironbind.encoders.towers` and put its output into docs/encoders.md"
    )
