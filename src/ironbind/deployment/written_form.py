"""What a format answers: the files that it wrote, and a function that embeds from what it read back."""

from dataclasses import dataclass
from pathlib import Path

from ironbind.deployment.verification import Embed


@dataclass(frozen=True)
class WrittenForm:
    """`files`: all that was written, the weights first. `embed`: from what was read back from them. `spaces`: those
    that it can be entered in. `allowed`: how far its embeddings may be from the live ones. `weights_sha256`: what an
    audit of it calls its weights; "" where no encoder of ours loads it. `head`: whether the head is in it.
    """

    files: tuple[Path, ...]
    embed: Embed
    spaces: tuple[str, ...]
    allowed: float
    weights_sha256: str = ""
    head: bool = True
    note: str = ""
