"""Where an exported graph lies: a file, and preprocess.json beside it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ironbind.core.results import write_atomically
from ironbind.encoders.shared.checkpoint import file_sha256

PREPROCESS = "preprocess.json"


@dataclass(frozen=True)
class GraphFiles:
    """`graph`: of the tower. `preprocess`: how to feed it."""

    graph: Path
    preprocess: Path

    def describe(self, about: Callable[[str], dict[str, Any]]) -> str:
        """Writes what `about` says of the graph with this SHA-256, which is returned."""
        sha256 = file_sha256(self.graph)
        write_atomically(self.preprocess, json.dumps(about(sha256), indent=2))
        return sha256


def graph_files(out: Path, suffix: str) -> GraphFiles:
    """`out` itself where it ends like such a graph, else a file in the folder `out`."""
    graph = out if out.suffix == suffix else out / f"model{suffix}"
    return GraphFiles(graph, graph.with_name(PREPROCESS))
