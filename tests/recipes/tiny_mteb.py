"""Tasks of mteb's own classes over a few samples of the built-in world, made in memory as mteb's loaders would."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from datasets import Audio, Dataset, DatasetDict, Image, Video
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from PIL import Image as Pillow

from ironbind.data import load_dataset
from ironbind.modalities import MODALITIES

COUNT = 16


def world(count: int = COUNT) -> Any:
    return load_dataset("world", n=count, split="test")


def encoded(modality: str, count: int = COUNT) -> list[dict[str, Any]]:
    """The world's samples as files, as `datasets` stores them."""
    import tempfile

    files = []
    with tempfile.TemporaryDirectory() as folder:
        for row, sample in enumerate(world(count).decode(modality, range(count))):
            path = Path(folder) / f"{row}{MODALITIES[modality].suffixes[0]}"
            MODALITIES[modality].write(sample, path)
            files.append({"bytes": path.read_bytes(), "path": path.name})
    return files


def column(modality: str, count: int = COUNT) -> Any:
    """A column of the world's samples; sounds and clips undecoded, as decoding them takes torchcodec."""
    feature = {"image": Image(), "audio": Audio(decode=False), "video": Video(decode=False)}[modality]
    return Dataset.from_dict({modality: encoded(modality, count)}).cast_column(modality, feature)


def metadata(name: str, kind: str, modality: str, category: str) -> TaskMetadata:
    return TaskMetadata(
        name=name, description="a few samples", reference=None, dataset={"path": "none/none", "revision": "1"},
        type=kind, category=category, modalities=[modality, "text"], eval_splits=["test"], eval_langs=["eng-Latn"],
        main_score="accuracy" if "Zero" in kind else "hit_rate_at_1", date=("2026-01-01", "2026-01-02"), domains=[],
        task_subtypes=[], license="mit", annotations_creators="derived", dialect=[], sample_creation="created",
        bibtex_citation="",
    )  # fmt: skip


class Shapes(AbsTaskZeroShotClassification):
    """Zero-shot classification of pictures, with labels by number."""

    metadata = metadata("TinyShapes", "ZeroShotClassification", "image", "i2t")
    input_column_name = "picture"
    label_column_name = "kind"

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        labels = list(world().labels)
        data = column("image").rename_column("image", "picture").add_column("kind", labels)
        self.dataset, self.data_loaded = DatasetDict({"test": data}), True

    def get_candidate_labels(self) -> list[str]:
        return [f"a photo of a {name}." for name in world().classes]


class Sounds(Shapes):
    """Of sounds, with labels by name."""

    metadata = metadata("TinySounds", "AudioZeroshotClassification", "audio", "a2t")
    input_column_name = "audio"
    label_column_name = "label"

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        labels = [self.get_candidate_labels()[label] for label in world().labels]
        self.dataset = DatasetDict({"test": column("audio").add_column("label", labels)})
        self.data_loaded = True


class Clips(Shapes):
    """Of clips."""

    metadata = metadata("TinyClips", "VideoZeroshotClassification", "video", "v2t")
    input_column_name = "video"
    label_column_name = "label"

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        self.dataset = DatasetDict({"test": column("video").add_column("label", list(world().labels))})
        self.data_loaded = True


def judged(queries: Dataset, documents: Dataset, right: dict[str, list[str]]) -> dict[str, Any]:
    relevant = {query: {name: 1 for name in names} for query, names in right.items()}
    return {
        "default": {"test": {"queries": queries, "corpus": documents, "relevant_docs": relevant, "top_ranked": None}}
    }


class PictureAsksText(AbsTaskRetrieval):
    """Several right texts for some pictures, texts of no picture, a picture without a right text."""

    metadata = metadata("TinyI2T", "Any2AnyRetrieval", "image", "i2t")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        data = world()
        queries = column("image").add_column("id", [f"q{row}" for row in range(COUNT)])
        documents = {f"d{name}": f"a {name}" for name in data.classes}
        documents |= {f"e{row}": data.captions[row] for row in range(4)}
        right = {f"q{row}": [f"d{data.classes[data.labels[row]]}"] for row in range(COUNT - 1)}
        for row in range(4):
            right[f"q{row}"].append(f"e{row}")
        corpus = Dataset.from_dict(
            {"id": list(documents), "text": list(documents.values()), "title": ["", "the"] * (len(documents) // 2)}
        )
        self.dataset, self.data_loaded = judged(queries, corpus, right), True


class TextAsksPicture(AbsTaskRetrieval):
    """Two texts for one picture, pictures that nobody asks for."""

    metadata = metadata("TinyT2I", "Any2AnyRetrieval", "image", "t2i")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        data = world()
        asked = [0, 1, 2, 3, 3]
        queries = Dataset.from_dict(
            {
                "id": [f"q{row}" for row in range(5)],
                "text": [data.captions[item] for item in asked[:4]] + ["a thing"],
                "instruction": ["", "", "of one colour", "", ""],
            }
        )
        documents = column("image").add_column("id", [f"d{row}" for row in range(COUNT)])
        self.dataset = judged(queries, documents, {f"q{row}": [f"d{item}"] for row, item in enumerate(asked)})
        self.data_loaded = True


class SoundAsksPicture(AbsTaskRetrieval):
    """No text at all."""

    metadata = metadata("TinyA2I", "Any2AnyRetrieval", "audio", "a2i")

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        queries = column("audio").add_column("id", [f"q{row}" for row in range(COUNT)])
        documents = column("image").add_column("id", [f"d{row}" for row in range(COUNT)])
        self.dataset = judged(queries, documents, {f"q{row}": [f"d{row}"] for row in range(COUNT)})
        self.data_loaded = True


SoundAsksPicture.metadata.modalities = ["audio", "image"]


def wave_array(seconds: float = 0.5, rate: int = 8000) -> tuple[np.ndarray, bytes]:
    """A tone as an array and as the bytes of a WAV that holds it."""
    samples = np.round(0.5 * np.sin(np.arange(int(seconds * rate)) / 5) * 32768) / 32768
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    return samples.astype(np.float32), file.getvalue()


def picture(row: int) -> Pillow.Image:
    return Pillow.open(io.BytesIO(encoded("image", row + 1)[row]["bytes"]))


TASKS = {
    task.metadata.name: task for task in (Shapes, Sounds, Clips, PictureAsksText, TextAsksPicture, SoundAsksPicture)
}
