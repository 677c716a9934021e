"""A toy whose robust accuracy is known: grey pictures, two classes by brightness, an encoder that reads the mean
brightness m, and a checkerboard `gain` times as loudly, which no sample holds. Within linf eps the angle moves by
exactly turn max(1, gain) eps, where no pixel meets its bounds.
"""

import numpy as np
import torch

from ironbind.types import Image
from toys import LATENT, Linear

CLASSES = ("dark", "bright")
BOARD = (torch.arange(8)[:, None] + torch.arange(8)[None, :]) % 2 * 2.0 - 1


class Greys:
    """Constant pictures of these grey levels (0 to 255), bright from 128 up."""

    def __init__(self, levels):
        self.levels = list(levels)
        self.name, self.modalities, self.classes = "greys", ("image",), CLASSES
        self.ids = [f"{place}-{level}" for place, level in enumerate(self.levels)]
        self.labels = [int(level >= 128) for level in self.levels]
        self.captions = self.templates = None
        self.fingerprint = f"greys {self.levels}"

    def __len__(self):
        return len(self.levels)

    def decode(self, modality, indices):
        return [Image(np.full((8, 8, 3), self.levels[index], np.uint8)) for index in indices]

    @property
    def distance(self):
        """From the boundary at 127.5, in units of the space."""
        return torch.tensor([abs(level - 127.5) / 255 for level in self.levels])


class HalfSpaces(Linear):
    """Angle turn (m + gain c), m the mean and c the mean of picture times checkerboard; the boundary at m = 0.5."""

    def extra(self, gain=0.0, turn=1.5):
        self.gain, self.turn = gain, turn

    def read(self, modality, x, space):
        mean = x.flatten(1).mean(dim=1, keepdim=True)
        board = (x * BOARD).flatten(1).mean(dim=1, keepdim=True)
        return self.at(mean + self.gain * board)

    def at(self, level):
        angle = self.turn * level
        return torch.cat([angle.cos(), angle.sin(), torch.zeros(len(angle), LATENT - 2)], dim=1)

    def embed_text(self, texts):
        return self.at(torch.tensor([[0.25 if "dark" in text else 0.75] for text in texts]))
