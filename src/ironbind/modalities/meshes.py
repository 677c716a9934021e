"""Geometry files with structure, OFF and PLY: vertices, and triangles where there are any. Axis letters: v = vertices,
f = triangles.

Written by hand because both are a page long and the libraries that read them bring a great deal more.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ironbind.types import InputError


class Mesh(NamedTuple):
    """`vertices` in the file's units; `triangles` index them (0 rows for a bare cloud)."""

    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "f 3"]


NO_TRIANGLES = np.zeros((0, 3), dtype=np.int64)


def _fan(polygons: list[list[int]]) -> np.ndarray:
    """Polygons -> triangles around each one's first corner."""
    triangles = [(corners[0], corners[i], corners[i + 1]) for corners in polygons for i in range(1, len(corners) - 1)]
    return np.array(triangles, dtype=np.int64).reshape(-1, 3)


# -------------------------------------------------------------------------------------------------------- OFF

_OFF_HEADER = re.compile(r"(?:ST)?C?N?OFF\b|(?:ST)?C?N?OFF(?=\d)")


def read_off(path: Path) -> Mesh:
    """OFF, also with per-vertex colours, normals or textures (ignored), comments, and the counts glued to the header
    ("OFF3 1 0").
    """
    text = path.read_text(encoding="ascii", errors="replace")
    lines = [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]
    header = _OFF_HEADER.match(lines[0]) if lines else None
    if header is None:
        raise InputError(f"{path}: starts with {(lines or [''])[0][:20]!r}; expected an OFF header")
    rest = lines[0][header.end() :].strip()
    if rest.upper().startswith("BINARY"):
        raise InputError(f"{path}: is a binary OFF; expected an OFF in text")
    lines = ([rest] if rest else []) + lines[1:]
    vertex_count, face_count = (int(number) for number in lines[0].split()[:2])
    rows = lines[1 : 1 + vertex_count + face_count]
    if min(vertex_count, face_count) < 0 or len(rows) < vertex_count + face_count:
        raise InputError(
            f"{path}: announces {vertex_count} vertices and {face_count} faces but has {len(rows)} rows; "
            "expected as many"
        )
    vertices = np.array([row.split()[:3] for row in rows[:vertex_count]], dtype=np.float64).reshape(-1, 3)
    polygons = []
    for row in rows[vertex_count:]:
        numbers = row.split()
        corners = [int(number) for number in numbers[1 : 1 + int(numbers[0])]]
        if len(corners) != int(numbers[0]):
            raise InputError(f"{path}: has the face {row[:40]!r}; expected {numbers[0]} vertex numbers in it")
        polygons.append(corners)
    return Mesh(vertices, _fan(polygons))


# -------------------------------------------------------------------------------------------------------- PLY

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Property(NamedTuple):
    """One property of a PLY element; `length` is the type of a list's length, "" for a scalar. Types as numpy writes
    them.
    """

    name: str
    type: str
    length: str


class Element(NamedTuple):
    """One block of equal rows of a PLY file."""

    name: str
    rows: int
    properties: list[Property]


def read_ply(path: Path) -> Mesh:
    """PLY in text or binary of either byte order. Vertex properties may have any type and order; other elements are
    skipped.
    """
    data = path.read_bytes()
    order, elements, start = _ply_header(data, path)
    vertices, polygons = None, list[Any]()
    body: _TextBody | _BinaryBody = (
        _BinaryBody(data, start, order) if order else _TextBody(data[start:].decode("ascii", errors="replace"))
    )
    for element in elements:
        names = [column.name for column in element.properties]
        if element.name == "vertex" and not {"x", "y", "z"} <= set(names):
            raise InputError(f"{path}: its vertices have {', '.join(names)}; expected x, y and z")
        columns = body.take(element)
        if element.name == "vertex":
            vertices = np.stack([np.asarray(columns[axis], dtype=np.float64) for axis in "xyz"], axis=-1)  # v 3
        elif element.name == "face":
            key = next((name for name in ("vertex_indices", "vertex_index") if name in names), None)
            polygons = columns[key] if key else []
    if vertices is None:
        raise InputError(
            f"{path}: has no vertices, only {', '.join(element.name for element in elements) or 'a header'}; "
            "expected an element called vertex"
        )
    return Mesh(vertices, _fan([[int(corner) for corner in corners] for corners in polygons]))


def _ply_header(data: bytes, path: Path) -> tuple[str, list[Element], int]:
    """The byte order ("" for text), the elements in their order, and where the body starts."""
    end = re.search(rb"end_header[ \t]*\r?\n", data[:100_000])
    if not data.startswith(b"ply") or end is None:
        raise InputError(f"{path}: has no whole PLY header; expected ply ... end_header")
    order, elements = None, list[Element]()
    for line in data[: end.start()].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and words[1] in _PLY_ORDERS:
            order = _PLY_ORDERS[words[1]]
        elif words[0] == "element" and int(words[2]) >= 0:
            elements.append(Element(words[1], int(words[2]), []))
        elif words[0] == "property" and words[1] == "list" and elements:
            elements[-1].properties.append(Property(words[4], _PLY_TYPES[words[3]], _PLY_TYPES[words[2]]))
        elif words[0] == "property" and elements:
            elements[-1].properties.append(Property(words[2], _PLY_TYPES[words[1]], ""))
        else:
            raise InputError(f"{path}: its header says {line[:40]!r}; expected format, element or property")
    if order is None:
        raise InputError(f"{path}: its header names no format; expected one of {', '.join(_PLY_ORDERS)}")
    return order, elements, end.end()


class _TextBody:
    """Rows of a PLY in text."""

    def __init__(self, text: str) -> None:
        self.lines = [line for line in text.splitlines() if line.strip()]
        self.at = 0

    def take(self, element: Element) -> dict[str, Any]:
        rows = self.lines[self.at : self.at + element.rows]
        self.at += element.rows
        if len(rows) < element.rows:
            raise ValueError(f"{element.rows} rows of {element.name} are announced, {len(rows)} are there")
        columns: dict[str, list] = {column.name: [] for column in element.properties}
        for row in rows:
            numbers, at = [float(word) for word in row.split()], 0
            for column in element.properties:
                length = int(numbers[at]) if column.length else 1
                at += bool(column.length)
                if length < 0 or at + length > len(numbers):
                    raise ValueError(f"the row {row[:40]!r} of {element.name} is too short")
                columns[column.name].append(numbers[at : at + length] if column.length else numbers[at])
                at += length
        return columns


class _BinaryBody:
    """Rows of a binary PLY. Rows whose lists all have the length of the first row's are taken in one piece: nearly
    every mesh.
    """

    def __init__(self, data: bytes, start: int, order: str) -> None:
        self.data, self.at, self.order = data, start, order

    def take(self, element: Element) -> dict[str, Any]:
        start, left = self.at, len(self.data) - self.at
        if element.rows == 0:
            return {column.name: [] for column in element.properties}
        first, fields = self._row(element), list[Any]()
        for column in element.properties:
            if column.length:
                fields += [
                    (f"length of {column.name}", self.order + column.length),
                    (column.name, self.order + column.type, (len(first[column.name]),)),
                ]
            else:
                fields += [(column.name, self.order + column.type)]
        dtype = np.dtype(fields)
        lists = [column.name for column in element.properties if column.length]
        if element.rows * (1 if lists else dtype.itemsize) > left:
            raise ValueError(f"{element.rows} rows of {element.name} are announced, {left} bytes are left")
        if element.rows * dtype.itemsize <= left:
            block = np.frombuffer(self.data, dtype, count=element.rows, offset=start)
            if all((block[f"length of {name}"] == len(first[name])).all() for name in lists):
                self.at = start + element.rows * dtype.itemsize
                return {column.name: block[column.name] for column in element.properties}
        self.at = start
        rows = [self._row(element) for _ in range(element.rows)]
        return {column.name: [row[column.name] for row in rows] for column in element.properties}

    def _row(self, element: Element) -> dict[str, Any]:
        return {
            column.name: self._numbers(column.type, int(self._numbers(column.length, 1)[0]))
            if column.length
            else self._numbers(column.type, 1)[0]
            for column in element.properties
        }

    def _numbers(self, kind: str, count: int) -> np.ndarray:
        dtype = np.dtype(self.order + kind)
        if count < 0 or count * dtype.itemsize > len(self.data) - self.at:
            raise ValueError(f"{count} numbers are announced, {len(self.data) - self.at} bytes are left")
        numbers = np.frombuffer(self.data, dtype, count=count, offset=self.at)
        self.at += count * dtype.itemsize
        return numbers


def write_ply(xyz: Float[np.ndarray, "n 3"], path: Path) -> None:
    """A binary little-endian PLY of points: float32, exact."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(xyz)}\n" + "".join(
        f"property float {axis}\n" for axis in "xyz"
    )
    path.write_bytes(f"{header}end_header\n".encode() + np.ascontiguousarray(xyz, dtype="<f4").tobytes())
