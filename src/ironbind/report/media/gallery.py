"""One sample per modality: clean, adversarial, what changed (amplified), and what the encoder said of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from ironbind.core.results import GalleryItem, Prediction, ThreatModelRecord
from ironbind.report.media import point_clouds as points
from ironbind.report.media import waveforms as sound
from ironbind.report.media.images import (
    LARGEST_FRAME,
    amplification,
    animation,
    as_picture,
    difference_of,
    picture_of,
    png,
    strip,
)
from ironbind.report.number_format import cell
from ironbind.report.panels import Facts

VIDEO_SECONDS = 1.6
MOST_FRAMES = 8


@dataclass(frozen=True)
class View:
    """One of the pictures of a sample. Exactly the parts that are filled in are shown, in this order."""

    title: str
    image: str = ""  # data URI
    still: str = ""  # of an animated image: what a reader who wants no motion, or a printer, gets
    alt: str = ""
    pixelated: bool = True
    drawing: Markup = Markup("")
    scene: str = ""  # JSON for the script that turns point clouds
    spectrogram: str = ""
    audio: str = ""
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A predicted class as a bar; `width` in percent of the longest of the sample."""

    label: str
    score: str
    width: float
    truth: bool
    wrong: bool  # ranked first without being the truth


@dataclass(frozen=True)
class Exhibit:
    """A gallery item, ready to be laid out. `views`: clean, adversarial, difference; () where arrays are missing."""

    item: GalleryItem
    label: str
    meaning: str
    views: tuple[View, ...]
    clean: list[Bar]
    adversarial: list[Bar]
    replayed: list[Bar]
    adaptive: str  # the adaptive accuracy, shown beside every replayed answer
    strips: tuple[tuple[str, str], ...] = field(default=())  # (title, data URI) rows of a video


def exhibits(
    facts: Facts,
    items: Sequence[GalleryItem],
    arrays: Mapping[str, np.ndarray],
    threat_models: Sequence[ThreatModelRecord],
    encoder: str,
) -> list[Exhibit]:
    """Every item of one run as an exhibit, in the order given."""
    ready = []
    for item in items:
        longest = max(
            (prediction.score for prediction in (*item.clean, *item.adversarial, *item.replayed)), default=0.0
        )
        clean, adversarial = arrays.get(f"{item.key}/clean"), arrays.get(f"{item.key}/adversarial")
        views: tuple[View, ...] = ()
        strips: tuple[tuple[str, str], ...] = ()
        if clean is not None and adversarial is not None:
            views = _views(item, clean, adversarial, arrays)
            strips = _strips(clean, adversarial) if item.modality == "video" else ()
        ready.append(
            Exhibit(
                item,
                f"{item.modality} ({item.space})",
                meaning(item, threat_models),
                views,
                _bars(item.clean, item.truth, longest),
                _bars(item.adversarial, item.truth, longest),
                _bars(item.replayed, item.truth, longest),
                _adaptive(facts, item, encoder),
                strips,
            )
        )
    return ready


def meaning(item: GalleryItem, threat_models: Sequence[ThreatModelRecord]) -> str:
    """What the item's epsilon is to a person, or "" where no record says so."""
    for record in threat_models:
        if (record.modality, record.space, record.norm) == (item.modality, item.space, item.norm):
            for eps, phrase in zip(record.eps, record.meaning, strict=False):
                if eps == item.eps:
                    return phrase
    return ""


def _bars(predictions: Sequence[Prediction], truth: str, longest: float) -> list[Bar]:
    return [
        Bar(
            prediction.label,
            f"{prediction.score:.2f}",
            100 * max(0.0, prediction.score) / longest if longest > 0 else 0.0,
            prediction.label == truth,
            rank == 0 and prediction.label != truth,
        )
        for rank, prediction in enumerate(predictions[:5])
    ]


def _adaptive(facts: Facts, item: GalleryItem, encoder: str) -> str:
    for panel in facts.panels:
        if (panel.encoder, panel.modality, panel.space, panel.norm) == (encoder, item.modality, item.space, item.norm):
            row = facts.cell(panel, "zero_shot", "top1", "adaptive", item.calibrated, item.eps)
            if row:
                return f"{cell(row)} %"
    return ""


def _views(
    item: GalleryItem, clean: np.ndarray, adversarial: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> tuple[View, ...]:
    if item.modality == "point":
        return _point_views(clean, adversarial)
    if item.modality == "audio" and item.space == "waveform":
        return _waveform_views(item, clean, adversarial, arrays)
    if item.modality == "video":
        return _video_views(clean, adversarial)
    return _picture_views(item, clean, adversarial, arrays)


def _picture_views(
    item: GalleryItem, clean: np.ndarray, adversarial: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> tuple[View, ...]:
    if item.modality == "audio":  # an encoder may cut a sound into several clips, each with a spectrogram of its own
        clean, adversarial = np.concatenate(list(clean), axis=-1), np.concatenate(list(adversarial), axis=-1)
    clean, adversarial = as_picture(clean, adversarial)
    draw, contrast = picture_of(item.modality, len(clean)), difference_of(item.modality, len(clean))
    factor = amplification(adversarial - clean)
    heard = arrays.get(f"{item.key}/waveform")
    audio = sound.player(heard.ravel(), item.sample_rate) if heard is not None and item.sample_rate else ""
    kind = {"audio": "log-mel spectrogram", "thermal": "thermal image", "event": "event frame"}.get(
        item.modality, item.modality
    )
    unchanged = "grey = unchanged" if clean.shape[0] > 1 else "white = unchanged, red = more, blue = less"
    axes = (
        "time runs right, frequency up"
        if item.modality == "audio"
        else "off events blue, on events red, both pale"
        if item.modality == "event" and len(clean) == 2
        else ""
    )
    return (
        View("Clean", png(draw(clean)), alt=f"clean {kind} of {item.truth}", audio=audio, note=axes),
        View(
            "Adversarial",
            png(draw(adversarial)),
            alt=f"adversarial {kind}, made from {item.truth}",
            note="a log-mel attack has no sound of its own" if audio else "",
        ),
        View(
            f"Difference × {factor}",
            png(contrast(factor * (adversarial - clean))),
            alt=f"difference of the two, amplified {factor} times",
            note=unchanged,
        ),
    )


def _chosen_frames(count: int) -> np.ndarray:
    return np.arange(count) if count <= MOST_FRAMES else np.linspace(0, count - 1, MOST_FRAMES).round().astype(int)


def _frames(clean: np.ndarray, adversarial: np.ndarray) -> tuple[int, list[list[np.ndarray]]]:
    """The amplification, and the RGB frames of clean, adversarial and difference."""
    at = _chosen_frames(len(clean))
    factor = amplification(adversarial - clean)
    draw, contrast = picture_of("video", 3), difference_of("video", 3)
    return factor, [
        [draw(frame) for frame in clean[at]],
        [draw(frame) for frame in adversarial[at]],
        [contrast(factor * change) for change in (adversarial - clean)[at]],
    ]


def _video_views(clean: np.ndarray, adversarial: np.ndarray) -> tuple[View, ...]:
    factor, rows = _frames(clean, adversarial)
    titles = ("Clean", "Adversarial", f"Difference × {factor}")
    return tuple(
        View(
            title,
            animation(frames, VIDEO_SECONDS),
            png(frames[0], LARGEST_FRAME),
            alt=f"{title.lower()} video, {len(frames)} frames in a loop",
        )
        for title, frames in zip(titles, rows, strict=True)
    )


def _strips(clean: np.ndarray, adversarial: np.ndarray) -> tuple[tuple[str, str], ...]:
    factor, rows = _frames(clean, adversarial)
    return tuple(
        (title, strip(frames)) for title, frames in zip(("clean", "adversarial", f"× {factor}"), rows, strict=True)
    )


def _waveform_views(
    item: GalleryItem, clean: np.ndarray, adversarial: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> tuple[View, ...]:
    before = np.ravel(arrays.get(f"{item.key}/waveform", clean)).astype(np.float64)
    after = np.ravel(arrays.get(f"{item.key}/waveform_adversarial", adversarial)).astype(np.float64)
    if after.shape != before.shape:
        before, after = np.ravel(clean).astype(np.float64), np.ravel(adversarial).astype(np.float64)
    factor = amplification(after - before)
    loudest: float | None = None
    views = []
    loud = "made loud to be heard at all" if factor > 1 else ""
    for title, role, wave, note in (
        ("Clean", "clean", before, "time runs right, frequency up"),
        ("Adversarial", "whitebox", after, ""),
        (f"Difference × {factor}", "whitebox", factor * (after - before), loud),
    ):
        picture, loudest = sound.spectrogram(wave, loudest)
        views.append(
            View(
                title,
                drawing=sound.outline(wave, role, f"{title.lower()} waveform"),
                spectrogram=picture,
                audio=sound.player(wave, item.sample_rate) if item.sample_rate else "",
                alt=f"spectrogram of the {title.lower()} sound",
                note=note,
            )
        )
    return tuple(views)


def _point_views(clean: np.ndarray, adversarial: np.ndarray) -> tuple[View, ...]:
    at = points.chosen(len(clean))
    shown = "" if len(at) == len(clean) else f"{len(at):,} of {len(clean):,} points drawn"
    before, after = clean[at], adversarial[at]
    colours, farthest = points.displacement_colours(before, after)
    factor = max(1, amplification(after - before) // 2)
    return (
        View(
            "Clean",
            drawing=points.cloud(before, None, "clean point cloud"),
            scene=points.turnable("clean", before, after, colours, 1),
            note=shown,
        ),
        View(
            "Adversarial",
            drawing=points.cloud(after, colours, "adversarial point cloud"),
            scene=points.turnable("adversarial", before, after, colours, 1),
            note=f"yellow moved most: {farthest:.3f} radii",
        ),
        View(
            f"Displacement × {factor}",
            drawing=points.arrows(before, after, colours, factor, f"where each point went, {factor} times as far"),
            scene=points.turnable("arrows", before, after, colours, factor),
        ),
    )
