"""Point clouds: OFF and PLY (meshes are sampled by area), NPY, and text rows (XYZ, TXT, PTS) -> float32 `n 3`, in the
file's units.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from ironbind.modalities.meshes import Mesh, read_off, read_ply, write_ply
from ironbind.modalities.reading import MAX_BYTES, reading
from ironbind.modalities.spaces import UNIT_SPHERE
from ironbind.types import InputError, Modality, Points

SURFACE_POINTS = 8192  # drawn from a mesh; what ShapeNet55's clouds hold, and at least what any of the encoders takes
SURFACE_SEED = 0  # a file always decodes to the same cloud


def read(path: Path, surface_seed: int = SURFACE_SEED) -> Points:
    """`path` as points; `surface_seed` draws those of a mesh. Raises InputError for damaged files, rows of less than
    three numbers, NaN, no point.
    """
    path = Path(path)
    with reading(path, "a point cloud or mesh: OFF, PLY, NPY, XYZ, TXT or PTS"):
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: has {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}")
        suffix = path.suffix.lower()
        if suffix == ".npy":
            xyz = _read_npy(path)
        elif suffix in (".off", ".ply"):
            xyz = _points_of(read_off(path) if suffix == ".off" else read_ply(path), path, surface_seed)
        else:
            xyz = _read_rows(path)
        if len(xyz) == 0:
            raise InputError(f"{path}: holds no point; expected at least one")
        xyz = np.ascontiguousarray(xyz, dtype=np.float32)
        if not np.isfinite(xyz).all():  # after the cast, so that numbers too large for float32 are caught as well
            raise InputError(f"{path}: holds NaN or infinite coordinates; expected finite x, y, z")
        return Points(xyz)


def _read_npy(path: Path) -> np.ndarray:
    array = np.load(
        path, mmap_mode="r", allow_pickle=False
    )  # mapped, so that a header cannot announce more than the file holds
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: holds {array.dtype} of shape {array.shape}; expected numbers of shape (n, 3) or wider"
        )
    return np.array(array[:, :3])


def _read_rows(path: Path) -> np.ndarray:
    """Rows of x, y, z and whatever else, by white space or commas; `#` and `//` comments; a first row with the count
    alone (PTS, XYZ).
    """
    lines = path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines()
    rows = [words for line in lines if (words := line.partition("#")[0].partition("//")[0].split())]
    if rows and len(rows[0]) == 1:
        if int(rows[0][0]) != len(rows) - 1:
            raise InputError(f"{path}: announces {rows[0][0]} points but has {len(rows) - 1} rows; expected as many")
        rows = rows[1:]
    narrow = next((words for words in rows if len(words) < 3 or len(words) != len(rows[0])), None)
    if narrow is not None:
        raise InputError(
            f"{path}: has the row {' '.join(narrow)[:40]!r}; expected {max(3, len(rows[0]))} numbers in every row"
        )
    return np.array([words[:3] for words in rows], dtype=np.float64).reshape(-1, 3)


def _points_of(mesh: Mesh, path: Path, seed: int) -> np.ndarray:
    vertices, triangles = mesh
    if len(triangles) == 0:
        return vertices
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise InputError(
            f"{path}: its faces name vertices {triangles.min()} to {triangles.max()}; expected 0 to {len(vertices) - 1}"
        )
    if not np.isfinite(vertices).all():
        raise InputError(f"{path}: holds NaN or infinite coordinates; expected finite x, y, z")
    return sample_surface(mesh, SURFACE_POINTS, np.random.default_rng(seed))


def sample_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> Float[np.ndarray, "count 3"]:
    """`count` points drawn uniformly from a mesh's surface: triangles by area, then a point in each (Osada et al. 2002,
    eq. 1).

    A mesh without any area gives its vertices.
    """
    a, b, c = mesh.vertices[mesh.triangles].transpose(1, 0, 2)  # f 3, three times
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 2
    if not (area.sum() > 0 and np.isfinite(area.sum())):
        return mesh.vertices
    chosen = rng.choice(len(area), size=count, p=area / area.sum())
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - root) * a[chosen] + root * (1 - along) * b[chosen] + root * along * c[chosen]


def write(points: Points, path: Path) -> None:
    """A binary PLY, exact."""
    write_ply(points.xyz, path)


POINT = Modality(
    "point",
    Points,
    (".ply", ".off", ".npy", ".xyz", ".txt", ".pts"),
    read,
    write,
    spaces={UNIT_SPHERE.name: UNIT_SPHERE},
    templates=("a point cloud of a {}.", "a 3D model of a {}.", "{}"),
)
