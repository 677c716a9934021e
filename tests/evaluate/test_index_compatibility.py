"""An old index asked by a calibrated encoder, against a naive twin written here; and its way into audits, tables and
pages.
"""

import pytest
import torch
from torch import nn

from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.core.index_results import ITSELF, galleries, index_results
from ironbind.core.results import Result
from ironbind.evaluate.index_compatibility import compatibility
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.report.markdown import markdown
from ironbind.report.page import page
from ironbind.report.stored_runs import Run
from ironbind.types import Linf
from toys import Linear, ToyData, audit


class Turn(nn.Module):
    """Adds a share of a fixed wrong direction."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, z):
        away = torch.randn(z.shape[1], generator=torch.Generator().manual_seed(5))
        return z + self.share * away / away.norm() + 0.3 * self.share * z.roll(1, dims=1)


def calibrated(share: float) -> Calibrated:
    return Calibrated(Linear(), {"audio": Turn(share)}, "turned", None)


def by_hand(queries, gallery):
    """Ranks by sorting: 1 + how many others are at least as near."""
    ranks = []
    for i, query in enumerate(queries):
        scores = [float(query @ item) for item in gallery]
        ranks.append(1 + sum(score >= scores[i] for k, score in enumerate(scores) if k != i))
    return ranks


@pytest.mark.parametrize("share", [0.0, 0.4, 2.0])
def test_rows_equal_a_naive_twin(share):
    hard, data = calibrated(share), ToyData(40)
    task = zero_shot(hard, data, "audio", space="waveform")
    rows = {(row.task, row.metric, row.calibration): row for row in compatibility(task)}
    with torch.no_grad():
        x = torch.stack([hard.inputs["audio"].prepare(one) for one in data.decode("audio", range(40))])
        old, new = hard.backbone.embed("audio", x), hard.embed("audio", x)
        pictures = hard.backbone.embed(
            "image", torch.stack([hard.inputs["image"].prepare(one) for one in data.decode("image", range(40))])
        )
        texts = hard.backbone.embed_text(data.captions)
    assert rows["index:audio->audio", "cosine", "turned"].value == pytest.approx(
        float((old * new).sum(1).mean()), abs=1e-5
    )
    for other, gallery in (("audio", old), ("image", pictures), ("text", texts)):
        for name, queries in (("none", old), ("turned", new)):
            ranks = by_hand(queries, gallery)
            for metric, k in (("R@1", 1), ("R@10", 10)):
                row = rows[f"index:audio->{other}", metric, name]
                assert row.value == pytest.approx(100 * sum(rank <= k for rank in ranks) / 40)
                assert (row.n, row.threat_model, row.attack, row.eps) == (40, "clean", "none", "0")
                assert row.ci_low <= row.value <= row.ci_high
    if not share:
        assert rows["index:audio->audio", "R@1", "turned"].value == 100
    if share == 2.0:  # it can fall, too
        assert rows["index:audio->image", "R@1", "turned"].value < rows["index:audio->image", "R@1", "none"].value


def test_verdicts_are_kept():
    """Each sample behind each number; a second look embeds nothing."""
    store, task = VerdictStore(), zero_shot(calibrated(0.4), ToyData(12), "audio", space="waveform")
    rows = compatibility(task, store)
    by_label = {label_of(row): store.verdicts(store.labelled(label_of(row))) for row in rows}
    assert {len(found) for found in by_label.values()} == {12}
    for row in rows:
        ranks = [one.rank for one in by_label[label_of(row)].values()]
        if row.metric != "cosine":
            assert row.value == pytest.approx(100 * sum(rank <= int(row.metric[2:]) for rank in ranks) / 12)
    assert (
        sum(one.forward_passes for found in by_label.values() for one in found.values()) == 3 * 12
    )  # old and new sounds, old pictures

    class Silent(Linear):
        name = property(lambda self: "linear", lambda self, value: None)

        def embed(self, *_, **__):
            raise AssertionError("nothing is left to embed")

    again = Calibrated(Silent(), {"audio": Turn(0.4)}, "turned", None)
    assert again.weights_sha256 == task.encoder.weights_sha256
    assert compatibility(zero_shot(again, ToyData(12), "audio", space="waveform"), store) == rows


def test_a_limit_bounds_queries_and_gallery():
    rows = compatibility(zero_shot(calibrated(0.4), ToyData(40), "audio", space="waveform", limit=12))
    assert {row.n for row in rows} == {12}
    assert [
        row.value
        for row in rows
        if row.task == "index:audio->audio" and row.metric == "R@10" and row.calibration == "none"
    ] == [100]


def test_only_what_the_data_pairs_is_asked():
    rows = compatibility(
        zero_shot(calibrated(0.4), ToyData(12, captions=False, modalities=("audio",)), "audio", space="waveform")
    )
    assert {row.task for row in rows} == {"index:audio->audio"}


def test_an_encoder_without_calibration_has_no_old_index():
    with pytest.raises(TypeError, match="not calibrated"):
        compatibility(zero_shot(Linear(), ToyData(8), "audio", space="waveform"))


def test_every_audit_of_a_calibrated_encoder_says_it_and_the_page_shows_it():
    task = zero_shot(calibrated(1.4), ToyData(24), "audio", space="waveform")
    found = audit(task, PGD(steps=2), Linf("4/255"), checks=False)
    assert [row for row in found.rows if row.task.startswith("index:")] != []
    assert not any(
        row.task.startswith("index:")
        for row in audit(task.on(Linear()), PGD(steps=2), Linf("4/255"), checks=False).rows
    )
    lines = index_results(found.rows)
    assert [(one.modality, one.calibration) for one in lines] == [("audio", "turned")]
    assert galleries(lines) == (ITSELF, "text", "image")
    html, written = page([Run(Result("r", found.rows))], "r"), markdown(Result("r", found.rows))
    assert 'id="old-index"' in html
    assert "With an index of the original encoder" in written
    cosine = f"{lines[0].cosine.value:.3f}"
    assert cosine in html
    assert cosine in written
    search = index_results(found.rows, "R@1")[0].search("text")
    assert search.after.value < search.before.value
    assert f"{search.after.value:.1f} ({search.before.value:.1f})" in written.replace("\\", "")


def test_a_page_without_calibration_has_no_such_section():
    found = audit(
        zero_shot(Linear(), ToyData(24), "audio", space="waveform"), PGD(steps=2), Linf("4/255"), checks=False
    )
    assert 'id="old-index"' not in page([Run(Result("r", found.rows))], "r")
