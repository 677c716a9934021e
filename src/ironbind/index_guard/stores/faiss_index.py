"""The rows of a FAISS index file."""

from pathlib import Path

from ironbind.core.errors import InputError
from ironbind.core.placeholders import placeholder
from ironbind.index_guard.stored_rows import StoredRows, as_rows


def read_faiss(path: Path, part: str | None = None) -> StoredRows:
    """The rows as the index gives them back: exact where it is flat (also IVF, HNSW, ID maps over flat storage), what
    its codes say where it compresses. Raises InputError for an index that keeps no rows, and without FAISS.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError(f"{path}: reading a FAISS index needs faiss: pip install 'ironbind[faiss]'") from error
    if part is not None:
        raise InputError(f"--part {part}: {path} holds one index; leave it out")
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: is {placeholder(path) or 'no FAISS index'}; expected float vectors") from error
    metrics = {faiss.METRIC_INNER_PRODUCT: "dot", faiss.METRIC_L2: "l2"}
    metric = metrics.get(index.metric_type)
    if metric is None:
        raise InputError(f"{path}: compares by FAISS's metric {index.metric_type}; expected inner product or L2")
    keys = None
    if hasattr(index, "id_map"):  # the numbers under which rows were added, in the order of the rows
        keys = tuple(map(str, faiss.vector_to_array(index.id_map).tolist()))
        stored = faiss.downcast_index(index.index)  # a part of `index`, which must live as long
    else:
        stored = index
    if not index.ntotal:
        raise InputError(f"{path}: is empty; expected at least one row")
    try:
        if hasattr(stored, "make_direct_map"):
            stored.make_direct_map()
        rows = stored.reconstruct_n(0, index.ntotal)
    except RuntimeError as error:
        raise InputError(f"{path}: keeps no rows that could be read back ({type(stored).__name__})") from error
    return StoredRows(str(path), as_rows(rows, path), metric, keys)
