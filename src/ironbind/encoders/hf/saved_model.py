"""A `transformers` model as a folder that `from_pretrained` reads: the model by the library itself, and beside it what
it was loaded with.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ironbind.core.errors import writing
from ironbind.core.results import write_atomically
from ironbind.encoders.hf.parts import Parts

BESIDE = (".json", ".txt", ".model", ".jinja")  # of tokenizers and processors
OF_THE_MODEL = ("config.json", "generation_config.json")


def write_folder(model: Any, parts: Parts, folder: Path) -> None:
    """`model` in `folder`, and the tokenizer's and processors' files of the folder that it came from; of objects that
    were handed over, what they say of themselves. Raises WriteError.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        if parts.folder is not None:
            for file in sorted(parts.folder.iterdir()):
                if file.suffix in BESIDE and file.name not in OF_THE_MODEL and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, folder / file.name)
            return
        if parts.tokenizer is not None:
            parts.tokenizer.save_pretrained(folder)
    _write_processors(parts, folder)


def _write_processors(parts: Parts, folder: Path) -> None:
    """Their configurations, in the files that each is looked for in."""
    audio = parts.audio.to_dict() if parts.audio is not None else {}
    if parts.image and audio:
        both = {"image_processor": parts.image, "video_processor": parts.video, "feature_extractor": audio}
        _write(folder / "processor_config.json", {kind: config for kind, config in both.items() if config})
    elif parts.image or audio:
        _write(folder / "preprocessor_config.json", parts.image or audio)
    if parts.video and not (parts.image and audio):
        _write(folder / "video_preprocessor_config.json", parts.video)


def _write(path: Path, config: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(dict(config), indent=2, default=str))
