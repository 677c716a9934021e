"""The rows of a FAISS index file."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ironbind.core.errors import InputError
from ironbind.core.placeholders import placeholder
from ironbind.index_guard.stored_rows import StoredRows, as_rows


def read_faiss(path: Path, part: str | None = None) -> StoredRows:
    """The rows as the index gives them back: exact where it is flat (also IVF, HNSW, ID maps over flat storage), what
    its codes say where it compresses. Where rows were added under numbers, these are the `keys`; of an index of
    inverted lists rows are in the order of their numbers, else in that of their storage. Raises InputError for an index
    that keeps no rows, and without FAISS.
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
    if not index.ntotal:
        raise InputError(f"{path}: is empty; expected at least one row")
    try:
        rows, numbers = _rows_of(faiss, index, path)
    except RuntimeError as error:
        raise InputError(f"{path}: keeps no rows that could be read back ({type(index).__name__})") from error
    keys = None if (numbers == np.arange(len(rows))).all() else tuple(map(str, numbers.tolist()))
    return StoredRows(str(path), as_rows(rows, path), metric, keys)


def _rows_of(faiss: Any, index: Any, path: Path) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Rows and the numbers under which they were added. An inner index is a part of `index`, which must live on."""
    if hasattr(index, "id_map"):
        rows, places = _rows_of(faiss, faiss.downcast_index(index.index), path)
        return rows, faiss.vector_to_array(index.id_map)[places]
    if isinstance(index, faiss.IndexPreTransform):
        rows, numbers = _rows_of(faiss, faiss.downcast_index(index.index), path)
        inner, outer = np.ascontiguousarray(rows), np.empty((len(rows), index.d), np.float32)
        index.reverse_chain(len(rows), faiss.swig_ptr(inner), faiss.swig_ptr(outer))
        return outer, numbers
    if isinstance(index, faiss.IndexIVF):
        return _rows_of_lists(faiss, index, path)
    return index.reconstruct_n(0, index.ntotal), np.arange(index.ntotal)


def _rows_of_lists(faiss: Any, index: Any, path: Path) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Rows list by list: FAISS itself gives back only those whose numbers are 0 to n - 1, and leaves memory as it was
    for the others.
    """
    if isinstance(index, faiss.IndexIVFFastScan):  # giving rows back ends the process
        raise InputError(
            f"{path}: {type(index).__name__} packs its codes for search and cannot give rows back; expected an index "
            "without fast scan, or the rows it was built from"
        )
    lists = index.invlists
    rows, numbers = np.empty((index.ntotal, index.d), np.float32), np.empty(index.ntotal, np.int64)
    at = 0
    for number in range(lists.nlist):
        size = lists.list_size(number)
        if size:
            numbers[at : at + size] = faiss.rev_swig_ptr(lists.get_ids(number), size)
        for offset in range(size):
            index.reconstruct_from_offset(number, offset, faiss.swig_ptr(rows[at : at + 1]))
            at += 1
    order = np.argsort(numbers, kind="stable")
    return rows[order], numbers[order]
