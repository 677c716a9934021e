"""Point clouds: OFF and PLY (meshes are sampled by area), NPY, and text rows (XYZ, TXT, PTS) -> float32 `n 3`, in the
file's units.

Arrays may also lie on their side, 3 rows of n numbers. Coordinates far from their origin, as surveys have them (UTM),
are centred in float64 before they become float32, which would round them to half a metre there.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ironbind.modalities.blanks import about_points
from ironbind.modalities.meshes import Mesh, read_off, read_ply, write_ply
from ironbind.modalities.reading import MAX_BYTES, load_array, reading
from ironbind.modalities.spaces import UNIT_SPHERE
from ironbind.types import InputError, Modality, Points, Remark

SURFACE_POINTS = 8192  # drawn from a mesh; what ShapeNet55's clouds hold, and at least what any of the encoders takes
SURFACE_SEED = 0  # a file always decodes to the same cloud
MOST_COLUMNS = (
    16  # of one point: x, y, z, normal, colour, intensity, labels; longer rows are coordinates of many points
)
FAR = 1000.0  # times its extent from the origin: float32 leaves less than 14 of its 24 bits for the shape
COARSE = 2.0**-10  # of the extent: float32 steps above it show in the shape
LARGEST, SMALLEST = 1e18, 1e-8  # encoders square coordinates in float32, and divide by the extent


def read(path: Path, surface_seed: int = SURFACE_SEED) -> Points:
    """`path` as points; `surface_seed` draws those of a mesh. Raises InputError for damaged files, rows of less than
    three numbers, NaN, no point.
    """
    path = Path(path)
    with reading(path, "a point cloud or mesh: OFF, PLY, NPY, XYZ, TXT or PTS"):
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: has {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}")
        suffix = path.suffix.lower()
        remarks: tuple[Remark, ...] = ()
        if suffix == ".npy":
            xyz, remarks = xyz_of(load_array(path), path)
        elif suffix in (".off", ".ply"):
            xyz = _points_of(read_off(path) if suffix == ".off" else read_ply(path), path, surface_seed)
        else:
            xyz, remarks = _read_rows(path)
        return points_from(xyz, path, remarks)


def points_from(xyz: np.ndarray, path: Path, remarks: tuple[Remark, ...] = ()) -> Points:
    """Coordinates `n 3` of any type as a cloud in float32, centred first where they lie far off; to be called inside
    `reading`. Raises InputError for no point, NaN, and sizes whose squares float32 cannot hold.
    """
    if len(xyz) == 0:
        raise InputError(f"{path}: holds no point; expected at least one")
    exact = np.asarray(xyz, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise InputError(f"{path}: holds NaN or infinite coordinates; expected finite x, y, z")
    low, high = exact.min(axis=0), exact.max(axis=0)
    center, extent, largest = (low + high) / 2, float((high - low).max()), float(np.abs(exact).max())
    if largest > LARGEST:
        raise InputError(f"{path}: holds coordinates up to {largest:g}; expected at most {LARGEST:g}")
    if 0 < extent < SMALLEST:
        raise InputError(f"{path}: spans {extent:g} in all; expected at least {SMALLEST:g}, in another unit of length")
    if 0 < extent * FAR < largest:
        offset = ", ".join(f"{number:.10g}" for number in center)
        remarks += (Remark("centred before its cast to float32, far from its origin", f"by {offset}", corrected=True),)
        step = float(np.spacing(np.float32(largest)))
        if step > extent * COARSE and (exact == exact.astype(np.float32)).all():
            detail = f"float32 in steps of {step:.3g} at an extent of {extent:.3g}"
            remarks += (Remark("was rounded to float32 far from its origin before it was stored", detail),)
        exact = exact - center
    cloud = np.ascontiguousarray(exact, dtype=np.float32)
    return Points(cloud, remarks + about_points(cloud))


def xyz_of(array: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """The coordinates `n 3` of an array `n columns`, or of one that lies on its side, which a remark then says. Raises
    InputError for other shapes, for other than numbers, and where either reading is possible.
    """
    expected = "expected numbers of shape (n, 3) or wider"
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds {array.dtype} of shape {array.shape}; {expected}")
    rows, columns = array.shape
    if rows == 3 and 3 < columns <= MOST_COLUMNS:
        raise InputError(
            f"{path}: holds {array.dtype} of shape {array.shape}, which may be 3 points or {columns}; {expected}"
        )
    if 3 <= rows <= MOST_COLUMNS < columns:
        remark = Remark("is read with rows and columns exchanged", f"shape {array.shape}", corrected=True)
        return np.array(array[:3].T), (remark,)
    if columns < 3 or columns > max(rows, MOST_COLUMNS):
        raise InputError(f"{path}: holds {array.dtype} of shape {array.shape}; {expected}")
    return np.array(array[:, :3]), ()


_COMMA_INSIDE = re.compile(r"\d,\d")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?|[+-]?\d+(?:[eE][+-]?\d+)?")


def _read_rows(path: Path) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """Rows of x, y, z and whatever else, by white space, commas or semicolons; `#` and `//` comments; a first row with
    the count alone (PTS, XYZ). Commas between digits are decimal ones where white space or semicolons already divide
    every row into three numbers or more.
    """
    text = path.read_text(encoding="utf-8-sig")
    lines = [line.partition("#")[0].partition("//")[0] for line in text.splitlines()]
    rows = [words for line in lines if (words := line.replace(",", " ").replace(";", " ").split())]
    remarks: tuple[Remark, ...] = ()
    divided = [words for line in lines if (words := line.replace(";", " ").split())]
    mixed = next((row for row in divided if len(row) >= 3 and any(_COMMA_INSIDE.search(word) for word in row)), None)
    if _has_decimal_commas(divided):
        rows = [[word.replace(",", ".") for word in words] for words in divided]
        remarks = (Remark("decimal commas are read as decimal points", corrected=True),)
    elif mixed is not None:
        raise InputError(
            f"{path}: has the row {' '.join(mixed)[:40]!r}, whose commas may divide numbers or be decimal ones; "
            "expected decimal points"
        )
    if rows and len(rows[0]) == 1:
        if int(rows[0][0]) != len(rows) - 1:
            raise InputError(f"{path}: announces {rows[0][0]} points but has {len(rows) - 1} rows; expected as many")
        rows = rows[1:]
    narrow = next((words for words in rows if len(words) < 3 or len(words) != len(rows[0])), None)
    if narrow is not None:
        raise InputError(
            f"{path}: has the row {' '.join(narrow)[:40]!r}; expected {max(3, len(rows[0]))} numbers in every row"
        )
    if not rows:
        return np.zeros((0, 3)), remarks
    if len(rows[0]) > MOST_COLUMNS or len(rows) == 3:
        xyz, on_side = xyz_of(np.array(rows, dtype=np.float64), path)
        return xyz, remarks + on_side
    return np.array([words[:3] for words in rows], dtype=np.float64).reshape(-1, 3), remarks


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether commas can only be decimal ones: three or more words in every row, none with a point or a second comma,
    at least one with a comma between its digits.
    """
    body = rows[1:] if rows and len(rows[0]) == 1 else rows
    return (
        any("," in word for words in body for word in words)
        and all(len(words) >= 3 for words in body)
        and all(_DECIMAL_COMMA.fullmatch(word) for words in body for word in words)
    )


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
    triangle = rng.choice(len(area), size=count, p=area / area.sum())
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - root) * a[triangle] + root * (1 - along) * b[triangle] + root * along * c[triangle]


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
