"""Writes tests/encoders/open_clip_golden.json: what open_clip itself answers for the checkpoints of
tests/open_clip_models.py. Run where open_clip imports (a torch with its torchvision).
"""

import json
import sys
import tempfile
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from open_clip_models import CONFIGS, TEXTS, pictures, write  # noqa: E402


def answers(kind: str) -> dict[str, list[list[float]]]:
    """Unit embeddings of all pictures and texts, to seven digits, through open_clip's own loader and preprocessing."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        name = f"local-dir:{write(Path(folder), kind)}"
        model, preprocess = open_clip.create_model_from_pretrained(name)
        tokens = open_clip.get_tokenizer(name)(list(TEXTS))
        batch = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures()])
        embedded = {"image": model.encode_image(batch), "text": model.encode_text(tokens)}
    return {side: [[round(float(x), 7) for x in row] for row in F.normalize(z, dim=-1)] for side, z in embedded.items()}


if __name__ == "__main__":
    told = {"open_clip": open_clip.__version__, **{kind: answers(kind) for kind in CONFIGS}}
    text = json.dumps(told).replace("]], ", "]],\n").replace("}, ", "},\n")
    (ROOT / "tests" / "encoders" / "open_clip_golden.json").write_text(text + "\n", encoding="utf-8")
