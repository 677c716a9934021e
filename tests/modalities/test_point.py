import numpy as np
import pytest

from ironbind.modalities.meshes import Mesh
from ironbind.modalities.point import SURFACE_POINTS, read, sample_surface, write
from ironbind.types import Points

XYZ = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


def save(path, text: str):
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("header", [
    "OFF\n4 1 0\n", "OFF4 1 0\n", "OFF 4 1 0\n", "# made by hand\nOFF\n# counts\n4 1 0\n\n", "OFF\r\n4 1 0\r\n",
    "STOFF\n4 1 0\n",
])  # fmt: skip
def test_off_headers(tmp_path, header):
    points = read(save(tmp_path / "a.off", header + SQUARE + "4 0 1 2 3\n")).xyz
    assert (points.shape, points.dtype) == ((SURFACE_POINTS, 3), np.float32)
    assert (points[:, 2] == 0).all()
    assert np.abs(points[:, :2].mean(0) - 0.5).max() < 0.02


def test_off_without_faces_gives_its_vertices_and_ignores_colours(tmp_path):
    rows = "".join(f"{x:.9g} {y:.9g} {z:.9g} 255 0 0 255\n" for x, y, z in XYZ)
    np.testing.assert_array_equal(read(save(tmp_path / "a.off", f"COFF\n20 0 0\n{rows}")).xyz, XYZ)


def test_faces_are_sampled_by_area(tmp_path):
    # Two squares, one of nine times the other's area: nine tenths of the points must lie on it, spread evenly over it.
    big = SQUARE.replace("1", "3").replace(" 0\n", " 5\n")
    text = "OFF\n8 2 0\n" + SQUARE + big + "4 0 1 2 3\n4 4 5 6 7 0.5 0.5 0.5\n"
    points = read(save(tmp_path / "a.off", text)).xyz
    upper = points[points[:, 2] == 5]
    assert abs(len(upper) / len(points) - 0.9) < 4 * np.sqrt(0.09 / SURFACE_POINTS)
    counts, _, _ = np.histogram2d(upper[:, 0], upper[:, 1], bins=3, range=[[0, 3], [0, 3]])
    expected = len(upper) / 9
    assert (((counts - expected) ** 2) / expected).sum() < 26.1  # chi-square, 8 degrees of freedom, p = 0.001
    np.testing.assert_array_equal(points, read(tmp_path / "a.off").xyz)


def test_points_inside_one_triangle_are_uniform():
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    points = sample_surface(mesh, 40_000, np.random.default_rng(3))
    assert (points >= 0).all()
    assert (points.sum(-1) <= 1).all()
    np.testing.assert_allclose(points.mean(0), [1 / 3, 1 / 3, 0], atol=0.006)  # the centroid
    assert (points[:, :2].sum(-1) < 0.5).mean() == pytest.approx(
        0.25, abs=0.01
    )  # a quarter of the area lies below x + y = 1/2


def test_a_mesh_without_area_gives_its_vertices(tmp_path):
    points = read(save(tmp_path / "a.off", "OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n")).xyz
    np.testing.assert_array_equal(points, [[0, 0, 0], [1, 1, 1], [2, 2, 2]])


@pytest.mark.parametrize(("text", "words"), [
    ("OFF\n4 1 0\n0 0 0\n", "announces 4 vertices"),
    ("OFF\n4000000000 1 0\n0 0 0\n", "announces 4000000000"),
    ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n", "face"),
    ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "name vertices 0 to 7"),
    ("OFF\n3 0 0\n0 0 0\nnan 0 0\n0 1 0\n", "NaN"),
    ("OFF\n3 1 0\n0 0 0\ninf 0 0\n0 1 0\n3 0 1 2\n", "NaN or infinite"),
    ("OFF\n1 0 0\n1e300 0 0\n", "up to 1e\\+300"),
    ("OFF\n0 0 0\n", "no point"),
    ("OFF\n2 0 0\n0 0\n1 1\n", "cannot be read"),
    ("OFF BINARY\n\x00\x00", "binary OFF"),
    ("OFFAL\n1 0 0\n0 0 0\n", "expected an OFF header"),
    ("OFF\n", "cannot be read"),
    ("solid cube\n", "expected an OFF header"),
])  # fmt: skip
def test_bad_off_is_refused(tmp_path, refused, text, words):
    refused(read, save(tmp_path / "a.off", text), words)


# -------------------------------------------------------------------------------------------------------- PLY


def ply(
    order: str,
    vertex_fields: list[tuple[str, str]],
    columns: dict[str, np.ndarray],
    faces=(),
    extra_first: bool = False,
) -> bytes:
    """A PLY as other programs write them, straight from the format's description."""
    types = {"float": "f4", "double": "f8", "uchar": "u1", "int": "i4", "short": "i2"}
    count = len(next(iter(columns.values())))
    mark = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[order]
    head = f"ply\nformat {order} 1.0\ncomment by hand\nobj_info none\n"
    camera = "element camera 2\nproperty list uchar int ids\nproperty float f\n"
    head += camera if extra_first else ""
    head += f"element vertex {count}\n" + "".join(f"property {kind} {name}\n" for kind, name in vertex_fields)
    head += (
        f"element face {len(faces)}\nproperty uchar flags\nproperty list uchar int vertex_indices\n" if faces else ""
    )
    body = b""
    cameras = [([7], 0.5), ([1, 2, 3], 1.5)] if extra_first else []
    if mark:
        for ids, focal in cameras:
            body += (
                np.uint8(len(ids)).tobytes()
                + np.array(ids, f"{mark}i4").tobytes()
                + np.array(focal, f"{mark}f4").tobytes()
            )
        rows = np.zeros(count, [(name, mark + types[kind]) for kind, name in vertex_fields])
        for _, name in vertex_fields:
            rows[name] = columns.get(name, 9)
        body += rows.tobytes()
        for corners in faces:
            body += b"\x01" + np.uint8(len(corners)).tobytes() + np.array(corners, f"{mark}i4").tobytes()
    else:
        lines = [" ".join(map(str, [len(ids), *ids, focal])) for ids, focal in cameras]
        lines += [
            " ".join(str(columns[name][i]) if name in columns else "9" for _, name in vertex_fields)
            for i in range(count)
        ]
        lines += [" ".join(map(str, [1, len(corners), *corners])) for corners in faces]
        body = ("\n".join(lines) + "\n").encode()
    return (head + "end_header\n").encode() + body


ORDERS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("extra_first", [False, True])
@pytest.mark.parametrize("fields", [
    [("float", "x"), ("float", "y"), ("float", "z")],
    [("uchar", "red"), ("double", "z"), ("short", "quality"), ("double", "x"), ("float", "nx"), ("double", "y")],
])  # fmt: skip
def test_ply_of_any_order_types_and_properties(tmp_path, order, extra_first, fields):
    path = tmp_path / "a.ply"
    path.write_bytes(ply(order, fields, dict(zip("xyz", XYZ.T, strict=True)), extra_first=extra_first))
    np.testing.assert_array_equal(read(path).xyz, XYZ)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("faces", "mean"), [
    # the last: lengths differ, half the square twice
    ([(0, 1, 2), (0, 2, 3)], 1 / 2), ([(0, 1, 2, 3)], 1 / 2), ([(0, 1, 2), (0, 1, 2, 3)], 5 / 9),
])  # fmt: skip
def test_ply_meshes_are_sampled(tmp_path, order, faces, mean):
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    fields = [("float", axis) for axis in "xyz"]
    path = tmp_path / "a.ply"
    path.write_bytes(ply(order, fields, dict(zip("xyz", corners.T, strict=True)), faces=faces))
    points = read(path).xyz
    assert points.shape == (SURFACE_POINTS, 3)
    assert points[:, 0].mean() == pytest.approx(mean, abs=0.015)  # 4 standard errors


def test_ply_writing_is_exact(tmp_path):
    extreme = np.array([[1e-38, -9.9e17, 0.1], [np.float32(np.pi), -0.0, 1]], np.float32)
    write(Points(extreme), tmp_path / "a.ply")
    np.testing.assert_array_equal(read(tmp_path / "a.ply").xyz, extreme)


@pytest.mark.parametrize("order", ORDERS)
def test_bad_ply_is_refused(tmp_path, refused, order):
    fields = [("float", axis) for axis in "xyz"]
    columns = dict(zip("xyz", XYZ.T, strict=True))
    good = ply(order, fields, columns)
    path = tmp_path / "a.ply"
    for data, words in [
        (good[: len(good) - 30], "announced|too short|without|row"),
        (good.replace(b"vertex 20", b"vertex 4000000000"), "4000000000 rows"),
        (good.replace(b"property float y", b"property float w"), "expected x, y and z"),
        (good.replace(b"vertex", b"vortex"), "no vertices"),
        (good.replace(b"end_header", b"end_heeder"), "no whole PLY header"),
        (good.replace(b"format", b"fromat"), "fromat"),
        (good.replace(b"float y", b"quaternion y"), "quaternion"),
        (ply(order, fields, {**columns, "y": np.full(20, np.nan, np.float32)}), "NaN"),
        (ply(order, fields, {axis: np.zeros(0) for axis in "xyz"}), "no point"),
    ]:
        path.write_bytes(data)
        refused(read, path, words)


# ---------------------------------------------------------------------------------------------- arrays and rows


def test_npy(tmp_path, refused):
    for name, array in {
        "f4": XYZ,
        "f8": XYZ.astype(np.float64),
        "wide": np.concatenate([XYZ, XYZ], -1),
        "fortran": np.asfortranarray(XYZ),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.npy").xyz, XYZ)
    np.save(tmp_path / "transposed.npy", XYZ.T[:2])
    np.save(tmp_path / "flat.npy", XYZ.ravel())
    np.save(tmp_path / "words.npy", np.array([["a", "b", "c"]]))
    np.save(tmp_path / "objects.npy", np.array([[{}, 1, 2]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "none.npy", XYZ[:0])
    np.save(tmp_path / "nan.npy", np.where(XYZ > 1, np.nan, XYZ))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "f4.npy").read_bytes()[:-5])
    refused(read, tmp_path / "flat.npy", r"shape \(60,\)")
    refused(read, tmp_path / "words.npy", "<U1")
    for name in ("objects", "none", "cut"):
        refused(read, tmp_path / f"{name}.npy", "cannot be read|no point")
    refused(read, tmp_path / "nan.npy", "NaN")


@pytest.mark.parametrize("suffix", [".txt", ".xyz", ".pts"])
@pytest.mark.parametrize("separator", [" ", ",", "\t", ", "])
def test_rows(tmp_path, suffix, separator):
    rows = "".join(
        separator.join(f"{number:.9g}" for number in [*row, 0, 0, 1]) + "\n" for row in XYZ
    )  # modelnet40_normal_resampled
    np.testing.assert_array_equal(read(save(tmp_path / f"a{suffix}", rows)).xyz, XYZ)
    np.testing.assert_array_equal(read(save(tmp_path / f"b{suffix}", "# x y z\n20\n" + rows)).xyz, XYZ)


@pytest.mark.parametrize(("text", "words"), [
    ("1 2 3\n4 5\n", "row '4 5'"), ("1 2\n3 4\n", "row '1 2'"), ("5\n1 2 3\n", "announces 5 points but has 1 rows"),
    ("a b c\n", "cannot be read"), ("1.234,5 2,0 3,1\n", "may divide numbers or be decimal"),
    ("1e-9 0 0\n0 0 0\n", "spans 1e-09"),
    ("1 2 nan\n", "NaN"), ("# nothing\n\n", "no point"), ("0\n", "no point"), ("1 2 3\n1 2 3 4\n", "row '1 2 3 4'"),
])  # fmt: skip
def test_bad_rows_are_refused(tmp_path, refused, text, words):
    refused(read, save(tmp_path / "a.xyz", text), words)


# ---------------------------------------------------------------------- arrays on their side, far off, commas

CLOUD = np.random.default_rng(4).random((200, 3)).astype(np.float32)


@pytest.mark.parametrize("more", [0, 3, 7])  # normals, colours and a label below the coordinates
def test_arrays_on_their_side_are_turned(tmp_path, more):
    on_side = np.concatenate([CLOUD.T, np.ones((more, 200), np.float32)])
    np.save(tmp_path / "a.npy", on_side)
    np.savetxt(tmp_path / "a.xyz", on_side, fmt="%.9g")
    for name in ("a.npy", "a.xyz"):
        sample = read(tmp_path / name)
        np.testing.assert_array_equal(sample.xyz, CLOUD)
        assert str(*sample.remarks) == f"is read with rows and columns exchanged (shape ({3 + more}, 200))"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 6), "3 points or 6"),
        ((3, 16), "3 points or 16"),
        ((20, 40), r"shape \(20, 40\)"),
        ((2, 200), r"\(2, 200\)"),
    ],
)
def test_arrays_that_may_be_read_either_way_are_refused(tmp_path, refused, shape, words):
    numbers = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "a.npy", numbers)
    refused(read, tmp_path / "a.npy", words)
    if shape[0] == 3:
        np.savetxt(tmp_path / "a.txt", numbers)
        refused(read, tmp_path / "a.txt", words)


@pytest.mark.parametrize("name", ["a.npy", "a.xyz", "a.ply", "a.off"])
def test_a_survey_keeps_its_shape(tmp_path, name):
    offset = np.array([455_000.0, 5_411_000.0, 250.0])
    survey = CLOUD.astype(np.float64) + offset
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, survey)
    elif name == "a.ply":
        path.write_bytes(
            ply("binary_little_endian", [("double", axis) for axis in "xyz"], dict(zip("xyz", survey.T, strict=True)))
        )
    else:
        head = f"OFF\n{len(survey)} 0 0\n" if name == "a.off" else ""
        path.write_text(head + "\n".join(" ".join(f"{number:.8f}" for number in row) for row in survey))
    sample = read(path)
    middle = (survey.max(0) + survey.min(0)) / 2
    np.testing.assert_allclose(sample.xyz, CLOUD + offset - middle, atol=1e-7)
    assert len(np.unique(sample.xyz[:, 1])) > 190
    assert [remark.kind for remark in sample.remarks] == ["centred before its cast to float32, far from its origin"]


@pytest.mark.parametrize("name", ["a.npy", "a.ply"])
def test_a_survey_that_was_stored_in_float32_says_what_is_lost(tmp_path, name):
    survey = (CLOUD.astype(np.float64) + [455_000.0, 5_411_000.0, 250.0]).astype(np.float32)
    if name == "a.npy":
        np.save(tmp_path / name, survey)
    else:
        write(Points(survey), tmp_path / name)
    told = [str(remark) for remark in read(tmp_path / name).remarks]
    assert len(told) == 2
    assert told[1].startswith(
        "was rounded to float32 far from its origin before it was stored (float32 in steps of 0.5"
    )


def test_a_cloud_near_its_origin_is_not_moved(tmp_path):
    moved = CLOUD.astype(np.float64) * 3 + [20.0, -900.0, 5.0]
    np.save(tmp_path / "a.npy", moved)
    np.testing.assert_array_equal(read(tmp_path / "a.npy").xyz, moved.astype(np.float32))
    assert read(tmp_path / "a.npy").remarks == ()


@pytest.mark.parametrize("separator", [" ", "\t", ";", "; "])
@pytest.mark.parametrize("count", ["", "20\n"])
def test_decimal_commas(tmp_path, separator, count):
    rows = "".join(separator.join(f"{number:.9f}" for number in [*row, 7]).replace(".", ",") + "\n" for row in XYZ)
    sample = read(save(tmp_path / "a.xyz", count + rows))
    np.testing.assert_allclose(sample.xyz, XYZ, atol=1e-7)
    assert "decimal commas are read as decimal points" in {remark.kind for remark in sample.remarks}


@pytest.mark.parametrize(
    "rows", ["0.5, 1.5, 2.5", "0.5,1.5,2.5", "0.5 , 1.5 , 2.5", "0.5;1.5;2.5", "0.5,1.5,2.5 255,0,0"]
)
def test_commas_that_separate_are_no_decimal_ones(tmp_path, rows):
    sample = read(save(tmp_path / "a.xyz", "\n".join([rows] * 40)))
    np.testing.assert_array_equal(sample.xyz, np.tile([0.5, 1.5, 2.5], (40, 1)))
    assert [str(remark) for remark in sample.remarks] == ["is one point (written 40 times)"]


def test_few_points_say_so(tmp_path):
    np.save(tmp_path / "a.npy", CLOUD[:3])
    np.save(tmp_path / "b.npy", CLOUD[:4])
    assert [str(remark) for remark in read(tmp_path / "a.npy").remarks] == ["holds less than 4 points (3 points)"]
    assert read(tmp_path / "b.npy").remarks == ()
