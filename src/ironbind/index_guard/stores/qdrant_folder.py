"""The points of a Qdrant collection, in embedded mode: the folder of `QdrantClient(path=...)`."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.core.errors import InputError, first_line
from ironbind.index_guard.stored_rows import StoredRows, as_rows
from ironbind.index_guard.stores.array_files import chosen_part

PAGE = 4096  # points read together


def read_qdrant(path: Path, part: str | None = None, labels: str | None = None) -> StoredRows:
    """All points of a collection, in the order in which Qdrant lists them; `keys` are their ids. `part`: COLLECTION, or
    COLLECTION/VECTOR where its points have several vectors. `labels`: a field of the payload. Raises InputError where
    there is a choice to make, for points without a vector, and where qdrant-client is not installed.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise InputError(f"{path}: reading Qdrant needs its client: pip install 'ironbind[qdrant]'") from error
    logging.getLogger("qdrant_client").setLevel(logging.ERROR)
    try:
        client = QdrantClient(path=str(path))
    except Exception as error:  # of a damaged store it passes on whatever JSON, SQLite or pydantic raise
        raise InputError(
            f"{path}: cannot be opened ({type(error).__name__}: {first_line(error)}); expected a whole store that no "
            "other client uses"
        ) from error
    try:
        collection, _, vector = (part or "").partition("/")
        names = [each.name for each in client.get_collections().collections]
        name = chosen_part(collection or None, names, path, "collection")
        params = client.get_collection(name).config.params.vectors
        if not params:
            raise InputError(f"{path}: collection {name!r} has no dense vectors; expected rows of floats")
        if isinstance(params, dict):
            vector = chosen_part(vector or None, list(params), path, "named vector")
            params = params[vector]
        if params.multivector_config is not None:
            raise InputError(f"{path}: points of {name!r} hold several vectors each; expected one row a point")
        metric = {"Cosine": "cosine", "Dot": "dot", "Euclid": "l2"}.get(str(params.distance.value))
        if metric is None:
            raise InputError(f"{path}: compares by {params.distance.value}; expected Cosine, Dot or Euclid")
        keys, rows, values = _points(client, name, vector, labels, path)
    finally:
        client.close()
    z = as_rows(np.array(rows, np.float32).reshape(len(rows), params.size), path)
    return StoredRows(f"{path}: {name}", z, metric, tuple(keys), None if labels is None else tuple(values))


def _points(
    client: Any, name: str, vector: str, labels: str | None, path: Path
) -> tuple[list[str], list[Any], list[str]]:
    keys: list[str] = []
    rows: list[Any] = []
    values: list[str] = []
    offset = None
    while True:
        points, offset = client.scroll(
            name, limit=PAGE, offset=offset, with_vectors=[vector] if vector else True, with_payload=labels is not None
        )
        for point in points:
            row = point.vector.get(vector) if isinstance(point.vector, dict) else point.vector
            if row is None:
                raise InputError(f"{path}: point {point.id} of {name!r} has no vector; expected one in every point")
            if labels is not None and (point.payload or {}).get(labels) is None:
                raise InputError(f"{path}: point {point.id} of {name!r} has no {labels!r} in its payload")
            keys.append(str(point.id))
            rows.append(row)
            if labels is not None:
                values.append(str(point.payload[labels]))
        if offset is None:
            return keys, rows, values
