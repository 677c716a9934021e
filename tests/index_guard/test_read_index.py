"""Every store gives back the rows that were written there; what cannot be used is one line."""

import numpy as np
import pytest

from ironbind.core.errors import InputError
from ironbind.index_guard.read_index import read_index
from ironbind.index_guard.stored_rows import refuse_rows_without_direction
from planted_hubs import written

ROWS = written(60, 11)[:, :8].copy()
UNIT = ROWS / np.linalg.norm(ROWS, axis=1)[:, None]
LABELS = tuple("image" if row % 3 else "audio" for row in range(60))


def npy(folder, rows=ROWS, name="rows.npy"):
    path = folder / name
    np.save(path, rows)
    return path


def test_npy(tmp_path):
    assert (read_index(npy(tmp_path)).z == ROWS).all()
    assert (read_index(npy(tmp_path, ROWS.astype(np.float16))).z == ROWS.astype(np.float16)).all()
    assert (read_index(npy(tmp_path, ROWS.astype(">f4"))).z == ROWS).all()
    assert read_index(npy(tmp_path, ROWS[0])).z.shape == (1, 8)


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "rows.safetensors"
    save_file({"image": ROWS, "text": UNIT}, path)
    assert (read_index(path, "text").z == UNIT).all()
    with pytest.raises(InputError, match=r"holds 2 tensors \(image, text\); say which with --part"):
        read_index(path)
    with pytest.raises(InputError, match="--part sound: .* has no such tensor; expected one of image, text"):
        read_index(path, "sound")


def test_safetensors_of_bfloat16(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"z": torch.from_numpy(ROWS).bfloat16()}, tmp_path / "rows.safetensors")
    with pytest.raises(InputError, match="expected float32 rows"):
        read_index(tmp_path / "rows.safetensors")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    fixed = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(ROWS.ravel()), 8)
    lists = pyarrow.array(ROWS.astype(np.float64).tolist())
    parquet.write_table(
        pyarrow.table({"id": list(range(60)), "z": fixed, "kind": list(LABELS)}), tmp_path / "a.parquet"
    )
    parquet.write_table(pyarrow.table({"z": lists, "kind": list(LABELS)}), tmp_path / "b.parquet", row_group_size=7)
    for name in ("a", "b"):
        read = read_index(tmp_path / f"{name}.parquet", labels="kind")
        assert (read.z == ROWS).all()
        assert read.labels == LABELS
    assert (read_index(tmp_path / "a.parquet", "z").z == ROWS).all()
    with pytest.raises(InputError, match="--modalities sort: .* has no such column; expected one of z, kind"):
        read_index(tmp_path / "b.parquet", labels="sort")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([[1.0, 2.0], None, [3.0, 4.0]], "row 1 is missing"),
        ([[1.0, 2.0], [3.0, 4.0], [5.0]], "row 2 holds 1 numbers; expected 2 in each"),
        ([[1.0, None], [3.0, 4.0]], "row 0 holds NaN or infinity"),
    ],
)
def test_parquet_rows_that_are_no_rows(cells, words, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"z": cells}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=words):
        refuse_rows_without_direction(read_index(tmp_path / "a.parquet"), "cosine")


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "ids"])
def test_faiss(kind, tmp_path):
    faiss = pytest.importorskip("faiss")
    index = {
        "flat": lambda: faiss.IndexFlatIP(8),
        "ivf": lambda: faiss.IndexIVFFlat(faiss.IndexFlatL2(8), 8, 2, faiss.METRIC_L2),
        "hnsw": lambda: faiss.IndexHNSWFlat(8, 4),
        "ids": lambda: faiss.IndexIDMap2(faiss.IndexFlatIP(8)),
    }[kind]()
    if kind == "ivf":
        index.train(ROWS)
    if kind == "ids":
        index.add_with_ids(ROWS, np.arange(60)[::-1] + 100)
    else:
        index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "rows.faiss"))
    read = read_index(tmp_path / "rows.faiss")
    assert (read.z == ROWS).all()
    assert read.metric == ("dot" if kind in ("flat", "ids") else "l2")
    assert read.keys is None if kind != "ids" else read.keys[0] == "159"


@pytest.mark.parametrize("kind", ["IVF2,Flat", "PCA8,IVF2,Flat"])
def test_faiss_lists_whose_rows_have_numbers_of_their_own(kind, tmp_path):
    """FAISS gives back the rows numbered 0 to n - 1 alone; the others' memory is left as it was."""
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(8, kind, faiss.METRIC_L2)
    index.train(ROWS)
    index.add_with_ids(ROWS, np.arange(60) // 2 + 7)
    index.remove_ids(np.array([7]))
    faiss.write_index(index, str(tmp_path / "rows.faiss"))
    read = read_index(tmp_path / "rows.faiss")
    assert read.keys == tuple(str(row // 2 + 7) for row in range(2, 60))
    pairs, expected = read.z.reshape(-1, 2, 8), ROWS[2:].reshape(-1, 2, 8)
    for pair, rows in zip(pairs, expected, strict=True):  # of two rows with one number either may come first
        assert min(np.abs(pair - rows).max(), np.abs(pair - rows[::-1]).max()) < 1e-5


def test_faiss_codes_that_cannot_be_given_back(tmp_path):
    """Asked for its rows, such an index ends the process."""
    faiss = pytest.importorskip("faiss")
    rows = np.random.default_rng(0).standard_normal((700, 8)).astype(np.float32)
    index = faiss.index_factory(8, "IVF2,PQ4x4fs")
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(tmp_path / "rows.faiss"))
    with pytest.raises(InputError, match="IndexIVFPQFastScan packs its codes for search and cannot give rows back"):
        read_index(tmp_path / "rows.faiss")


def test_faiss_files_that_are_none(tmp_path):
    faiss = pytest.importorskip("faiss")
    (tmp_path / "rows.faiss").write_bytes(b"no index at all, only text")
    with pytest.raises(InputError, match="is no FAISS index"):
        read_index(tmp_path / "rows.faiss")
    faiss.write_index(faiss.IndexFlatIP(8), str(tmp_path / "rows.faiss"))
    with pytest.raises(InputError, match="is empty"):
        read_index(tmp_path / "rows.faiss")


@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
def test_qdrant(distance, tmp_path):
    qdrant = pytest.importorskip("qdrant_client")
    models = qdrant.models
    client = qdrant.QdrantClient(path=str(tmp_path / "store"))
    client.create_collection("things", models.VectorParams(size=8, distance=models.Distance(distance)))
    points = [
        models.PointStruct(id=5 * row, vector=ROWS[row].tolist(), payload={"kind": LABELS[row]}) for row in range(60)
    ]
    client.upsert("things", points)
    client.close()
    read = read_index(tmp_path / "store", labels="kind")
    assert np.allclose(read.z / np.linalg.norm(read.z, axis=1)[:, None], UNIT, atol=1e-6)
    assert distance == "Cosine" or np.allclose(read.z, ROWS)
    assert read.keys == tuple(str(5 * row) for row in range(60))
    assert read.labels == LABELS
    assert read.metric == {"Cosine": "cosine", "Dot": "dot", "Euclid": "l2"}[distance]
    with pytest.raises(InputError, match="has no 'sort' in its payload"):
        read_index(tmp_path / "store", labels="sort")


def test_qdrant_with_several_vectors(tmp_path):
    qdrant = pytest.importorskip("qdrant_client")
    models = qdrant.models
    client = qdrant.QdrantClient(path=str(tmp_path / "store"))
    params = models.VectorParams(size=8, distance=models.Distance.DOT)
    client.create_collection("things", {"image": params, "text": params})
    points = [
        models.PointStruct(id=row, vector={"image": ROWS[row].tolist(), "text": UNIT[row].tolist()})
        for row in range(60)
    ]
    client.upsert("things", points)
    client.close()
    assert np.allclose(read_index(tmp_path / "store", "things/text").z, UNIT, atol=1e-6)
    with pytest.raises(InputError, match=r"holds 2 named vectors \(image, text\)"):
        read_index(tmp_path / "store")


def test_qdrant_stores_that_hold_no_rows(tmp_path):
    client_of = pytest.importorskip("qdrant_client")
    models = client_of.models
    several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client = client_of.QdrantClient(path=str(tmp_path / "store"))
    client.create_collection(
        "many", models.VectorParams(size=8, distance=models.Distance.DOT, multivector_config=several)
    )
    client.upsert("many", [models.PointStruct(id=1, vector=[ROWS[0].tolist(), ROWS[1].tolist()])])
    client.create_collection("sparse", {}, sparse_vectors_config={"words": models.SparseVectorParams()})
    client.close()
    with pytest.raises(InputError, match="points of 'many' hold several vectors each; expected one row a point"):
        read_index(tmp_path / "store", "many")
    with pytest.raises(InputError, match="collection 'sparse' has no dense vectors"):
        read_index(tmp_path / "store", "sparse")
    (tmp_path / "store" / "collection" / "many" / "storage.sqlite").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"cannot be opened \(DatabaseError: file is not a database\)"):
        read_index(tmp_path / "store", "sparse")
    (tmp_path / "store" / "meta.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot be opened \(JSONDecodeError"):
        read_index(tmp_path / "store", "sparse")


def test_lancedb(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(str(tmp_path / "store"))
    database.create_table("things", [{"vector": ROWS[row].tolist(), "kind": LABELS[row]} for row in range(60)])
    for path in (tmp_path / "store", tmp_path / "store" / "things.lance"):
        read = read_index(path, labels="kind")
        assert (read.z == ROWS).all()
        assert read.labels == LABELS
    database.create_table("others", [{"vector": ROWS[0].tolist()}])
    assert (read_index(tmp_path / "store", "things").z == ROWS).all()
    with pytest.raises(InputError, match=r"holds 2 tables \(others, things\)"):
        read_index(tmp_path / "store")


def test_a_row_without_a_label(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = {"z": ROWS.tolist(), "kind": ["image"] * 59 + [None]}
    parquet.write_table(pyarrow.table(cells), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="row 59 has no label; expected one in every row"):
        read_index(tmp_path / "rows.parquet", labels="kind")


def test_parquet_pages_that_cannot_be_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"z": ROWS.tolist()}), path, compression="zstd", use_dictionary=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(300) + whole[400:])
    with pytest.raises(InputError, match="column 'z' cannot be read"):
        read_index(path)


def test_labels_in_files(tmp_path):
    path = npy(tmp_path)
    (tmp_path / "kinds.txt").write_text("\n".join(LABELS), encoding="utf-8")
    np.save(tmp_path / "kinds.npy", np.array(LABELS))
    assert read_index(path, labels=str(tmp_path / "kinds.txt")).labels == LABELS
    assert read_index(path, labels=str(tmp_path / "kinds.npy")).labels == LABELS
    (tmp_path / "short.txt").write_text("image\n", encoding="utf-8")
    for labels, words in (
        ("short.txt", "1 labels; expected one for each of the 60 rows"),
        ("none.txt", "does not exist"),
        ("rows.npy", "expected 60 texts or integers"),
    ):
        with pytest.raises(InputError, match=words):
            read_index(path, labels=str(tmp_path / labels))
    with pytest.raises(InputError, match="--modalities kind: .* has no columns"):
        read_index(path, labels="kind")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROWS.astype(np.float64), "holds float64; expected float32 rows"),
        (ROWS.astype(int), "holds int64; expected float32 rows"),
        (np.array([["a"]]), "holds <U1; expected float32 rows"),
        (np.zeros((0, 8), np.float32), "is empty"),
        (np.zeros((3, 0), np.float32), "is empty"),
        (ROWS.reshape(6, 10, 8), "expected rows and columns"),
        (np.where(np.arange(8) == 2, np.nan, ROWS).astype(np.float32), "row 0 holds NaN or infinity"),
        (np.where((np.arange(60) == 31)[:, None], 0, ROWS).astype(np.float32), "row 31 is zero"),
        (np.where((np.arange(60) == 9)[:, None], np.inf, ROWS).astype(np.float32), "row 9 holds NaN or infinity"),
    ],
)
def test_rows_that_are_none(rows, words, tmp_path):
    with pytest.raises(InputError, match=words) as refusal:
        refuse_rows_without_direction(read_index(npy(tmp_path, rows)), "cosine")
    assert "rows.npy" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_zero_rows_are_rows_where_directions_are_not_compared(tmp_path):
    rows = ROWS.copy()
    rows[3] = 0
    refuse_rows_without_direction(read_index(npy(tmp_path, rows)), "l2")


def test_paths_that_are_no_index(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "rows.safetensors").write_bytes(b"{}")
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    (tmp_path / "rows.csv").write_text("1,2", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("absent.npy", "does not exist"),
        ("objects.npy", "Python objects"),
        ("text.npy", "no .npy array"),
        ("empty.npy", "is an empty file"),
        ("rows.safetensors", "no .safetensors file"),
        ("rows.parquet", "no parquet file"),
        ("rows.csv", "is of no kind that is read"),
        ("folder", "neither Qdrant nor LanceDB"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            read_index(tmp_path / name)
        assert name in str(refusal.value)
