"""The paper's grid as data: its data sets, its encoders, which cells can exist, and what of them this machine has.

Which data sets the paper uses is not known; these are UniBind's twelve and those that the three encoders report. Data
lie in IRONBIND_DATA/<name>, weights in IRONBIND_WEIGHTS/<file>, unless a command names them. Case and punctuation of
folder names do not matter (ESC-50, esc50).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ironbind.data.names.class_names import plain
from ironbind.encoders.towers import towers

CALIBRATIONS = (
    "center_ce",
    "l2",
    "infonce",
    "center_ce_regularised",
    "l2_regularised",
    "infonce_regularised",
    "calmars_head",
    "calmars",
)
"""The grid's, in the order of its row groups; those that `recipes.CALIBRATIONS` does not have are left out."""

EPS = ("2/255", "4/255")


@dataclass(frozen=True)
class Column:
    """One data set. `options` load what is reported, `train` what heads are trained on (None: a seeded half, which is
    then not reported), of the data set `train_from` ("": the same). `asks`: "zero_shot", "retrieval". `prompts`: a name
    of PROMPTS ("": the modality's own). `unibind`: what UniBind calls its own centers for it, "" where it has none."""

    name: str
    title: str
    modality: str
    layout: str
    options: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] | None = None
    train_from: str = ""
    asks: tuple[str, ...] = ("zero_shot",)
    prompts: str = "languagebind"
    unibind: str = ""
    called: tuple[str, ...] = ()  # further names of its folder


def _split(layout: str, title: str, modality: str, test: str = "test", train: str = "train", **more: Any) -> Column:
    return Column(layout, title, modality, layout, {"split": test}, {"split": train}, **more)


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        _split("imagenet", "ImageNet", "image", "val", unibind="image_in", called=("imagenet1k", "ilsvrc2012")),
        _split("places365", "Places365", "image", "val"),
        _split("caltech101", "Caltech-101", "image"),
        _split("msrvtt", "MSR-VTT", "video", unibind="video_msrvtt"),
        Column(
            "msrvtt-retrieval",
            "MSR-VTT 1k-A",
            "video",
            "msrvtt",
            {"split": "1k-a"},
            {"split": "train"},
            asks=("retrieval",),
            called=("msrvtt",),
        ),
        _split("ucf101", "UCF-101", "video"),
        Column("esc50", "ESC-50", "audio", "esc50", {"fold": 1}, {"fold": (2, 3, 4, 5)}, unibind="audio_esc"),
        Column("urbansound8k", "UrbanSound8K", "audio", "urbansound8k", {"fold": 10}, {"fold": tuple(range(1, 10))}),
        _split("vggsound", "VGGSound", "audio"),
        # sounds with sentences have no classes to train on: their heads are those of ESC-50
        Column(
            "clotho",
            "Clotho",
            "audio",
            "clotho",
            {"split": "evaluation"},
            {"fold": (2, 3, 4, 5)},
            "esc50",
            ("retrieval",),
        ),
        Column(
            "audiocaps",
            "AudioCaps",
            "audio",
            "audiocaps",
            {"split": "test"},
            {"fold": (2, 3, 4, 5)},
            "esc50",
            ("retrieval",),
        ),
        _split("modelnet40", "ModelNet40", "point", prompts="", unibind="point_modelnet40"),
        _split("scanobjectnn", "ScanObjectNN", "point", prompts=""),
        _split("shapenet", "ShapeNet", "point", prompts="", called=("shapenet55",)),
        Column(
            "llvip",
            "LLVIP",
            "thermal",
            "llvip",
            {"modality": "thermal", "split": "test"},
            {"modality": "thermal", "split": "train"},
            unibind="thermal_llvip",
        ),
        _split("flir", "FLIR", "thermal", "val", called=("flirv1", "flirv2")),
        Column("rgbt", "RGB-T", "thermal", "rgbt", {"modality": "thermal"}),
        Column("ncaltech101", "N-Caltech101", "event", "ncaltech101", unibind="event_caltech"),
        _split("nimagenet", "N-ImageNet", "event", "val"),
    )
}


@dataclass(frozen=True)
class Model:
    """One encoder: by modality where it is a file each (`variants`: modality -> encoder, folder). `weights`: its file
    ("" for none).
    """

    name: str
    title: str
    encoder: str
    weights: str = ""
    variants: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    without_file: bool = False

    def for_modality(self, modality: str) -> tuple[str, str]:
        """Its entry of ENCODERS and its weights' name."""
        return self.variants.get(modality, (self.encoder, self.weights))

    @cached_property
    def sees(self) -> tuple[str, ...]:
        """The modalities that it has a tower for."""
        return tuple(towers(self.encoder)[self.encoder])


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "imagebind", "ImageBind", "imagebind-huge", "imagebind_huge.pth",
            absent={
                "point": "ImageBind has no tower for points; UniBind has one",
                "event": "ImageBind has no event input; UniBind sends event frames through the same vision tower",
            },
        ),
        Model(
            "languagebind", "LanguageBind", "languagebind",
            variants={
                "image": ("languagebind-image", "LanguageBind_Image"),
                "event": ("languagebind-image", "LanguageBind_Image"),
                "video": ("languagebind-video-ft", "LanguageBind_Video_FT"),
                "audio": ("languagebind-audio-ft", "LanguageBind_Audio_FT"),
                "thermal": ("languagebind-thermal", "LanguageBind_Thermal"),
            },
            absent={"point": "LanguageBind has no tower for points; UniBind has one"},
        ),
        Model("unibind", "UniBind", "unibind", "pretrained_weights.pt"),
        Model("tiny", "built-in", "tiny", without_file=True),
    )
}  # fmt: skip


def data_folder(column: Column, given: str | None = None) -> Path | None:
    """Where a data set lies: `given`, else the folder of IRONBIND_DATA that is called like it; None where there is
    none.
    """
    if given is not None:
        return Path(given)
    root = os.environ.get("IRONBIND_DATA")
    if not root or not Path(root).is_dir():
        return None
    names = {plain(name) for name in (column.name, column.layout, column.title, *column.called)}
    return next(
        (
            Path(entry)
            for entry in sorted(os.scandir(root), key=lambda entry: entry.name)
            if entry.is_dir() and plain(entry.name) in names
        ),
        None,
    )


def weights_file(model: Model, modality: str, given: str | None = None) -> Path | None:
    """Where a model's weights for a modality lie; None where they are not there (or where it needs none)."""
    if given is not None:
        return Path(given)
    root, name = os.environ.get("IRONBIND_WEIGHTS"), model.for_modality(modality)[1]
    path = Path(root) / name if root and name else None
    return path if path is not None and path.exists() else None


def centers_file(model: Model, column: Column) -> Path | None:
    """UniBind's own centers for a data set: in IRONBIND_WEIGHTS/centre_embs, converted or as published; None where they
    are not there.
    """
    root = os.environ.get("IRONBIND_WEIGHTS")
    if not root or not has_centers(model, column):
        return None
    base = Path(root) / "centre_embs" / f"{column.unibind}_center_embeddings"
    return next((path for suffix in (".safetensors", ".pkl") if (path := Path(f"{base}{suffix}")).is_file()), None)


def has_centers(model: Model, column: Column) -> bool:
    """Whether the model compares with centers of its own rather than with prompts: UniBind on six data sets."""
    return model.name == "unibind" and bool(column.unibind)


@dataclass(frozen=True)
class Cell:
    """An encoder on a data set; `paper/<data set>/<encoder>` among the recipes."""

    column: Column
    model: Model

    @property
    def recipe(self) -> str:
        """Its name among the recipes."""
        return f"paper/{self.column.name}/{self.model.name}"

    @property
    def impossible(self) -> str:
        """Why the cell cannot exist, "" when it can."""
        modality = self.column.modality
        return (
            ""
            if modality in self.model.sees
            else self.model.absent.get(modality, f"{self.model.title} has no tower for {modality}")
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """What this machine lacks for it: "data", "weights", "centers"."""
        lacking = [] if data_folder(self.column) else ["data"]
        if not self.model.without_file and not weights_file(self.model, self.column.modality):
            lacking.append("weights")
        if has_centers(self.model, self.column) and not centers_file(self.model, self.column):
            lacking.append("centers")
        return tuple(lacking)


CELL_NAMES = tuple(f"paper/{column}/{model}" for column in COLUMNS for model in MODELS)
CELLS: dict[str, Cell] = {
    cell.recipe: cell for column in COLUMNS.values() for model in MODELS.values() if (cell := Cell(column, model))
}


def overview() -> str:
    """The grid as text: a line for each data set, what is missing for each encoder, and why some cells cannot be."""
    heads = ["data set", "modality", "asks", *MODELS]
    lines = [heads]
    for column in COLUMNS.values():
        states = []
        for model in MODELS.values():
            cell = Cell(column, model)
            states.append("n/a" if cell.impossible else " ".join(f"-{part}" for part in cell.missing) or "ready")
        lines.append([column.name, column.modality, "+".join(column.asks).replace("zero_shot", "zero-shot"), *states])
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    reasons = dict.fromkeys(cell.impossible for cell in CELLS.values() if cell.impossible)
    roots = [f"{name}={os.environ.get(name) or '(not set)'}" for name in ("IRONBIND_DATA", "IRONBIND_WEIGHTS")]
    return "\n".join(
        [
            *rows,
            "",
            "-data, -weights, -centers: not on this machine (" + ", ".join(roots) + ")",
            *(f"n/a: {reason}" for reason in reasons),
        ]
    )
