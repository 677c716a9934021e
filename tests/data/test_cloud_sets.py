import pickle
import sys

import h5py
import numpy as np
import pytest

from ironbind.data import load_dataset
from ironbind.data.names.class_names import SHAPENET_SYNSETS as SHAPENET
from ironbind.modalities.point import SURFACE_POINTS
from ironbind.types import InputError
from layouts.tiny_clouds import SYNSETS, clouds, modelnet40_h5, modelnet40_off, modelnet40_txt, scanobjectnn, shapenet
from layouts.tiny_sounds import text

# ---------------------------------------------------------------------------------------------------- ModelNet40


def test_modelnet40_meshes_with_glued_headers(tmp_path):
    modelnet40_off(tmp_path)
    assert (tmp_path / "night_stand" / "test" / "night_stand_0003.off").read_text().startswith("OFF4 4 6\n")
    data = load_dataset("modelnet40", tmp_path)
    assert (data.classes, list(data.labels)) == (("airplane", "night stand"), [0, 0, 1, 1])
    assert list(data.ids) == ["airplane_0003", "airplane_0004", "night_stand_0003", "night_stand_0004"]
    assert list(load_dataset("modelnet40", tmp_path, split="train").ids)[0] == "airplane_0001"
    for row, cloud in enumerate(data.decode("point", range(4))):
        assert cloud.xyz.shape == (SURFACE_POINTS, 3)
        height = int(data.ids[row][-1])
        assert 0.95 * height < cloud.xyz[:, 2].max() <= height


def test_points_of_a_mesh_are_drawn_by_area_and_by_its_name(tmp_path):
    modelnet40_off(tmp_path)
    data = load_dataset("modelnet40", tmp_path)
    first, other = data.decode("point", [0, 2])  # the same mesh under two names
    np.testing.assert_array_equal(
        first.xyz, load_dataset("modelnet40", tmp_path, limit=4, seed=5).decode("point", [0])[0].xyz
    )
    assert not np.array_equal(first.xyz, other.xyz)
    # faces of the tetrahedron (0,0,0) (1,0,0) (0,1,0) (0,0,h): the floor has area 1/2, two walls h/2, the last one
    # sqrt(1/4 + h^2/2)
    floor = (first.xyz[:, 2] == 0).mean()
    share = 0.5 / (0.5 + 3 + np.sqrt(0.25 + 9 / 2))
    assert abs(floor - share) < 4 * np.sqrt(share * (1 - share) / SURFACE_POINTS)


def test_modelnet40_text_rows(tmp_path, refused):
    modelnet40_txt(tmp_path)
    data = load_dataset("modelnet40", tmp_path)
    assert (data.classes, list(data.labels)) == (("airplane", "night stand"), [0, 0, 1, 1])
    assert list(data.ids) == ["airplane_0003", "airplane_0004", "night_stand_0003", "night_stand_0004"]
    written = np.loadtxt(tmp_path / "night_stand" / "night_stand_0004.txt", delimiter=",")
    np.testing.assert_allclose(data.decode("point", [3])[0].xyz, written[:, :3], rtol=1e-6)
    (tmp_path / "airplane" / "airplane_0004.txt").unlink()
    refused("modelnet40", r"airplane/airplane_0004\.txt: is missing; .*modelnet40_test\.txt.*1 of 4")
    kept = load_dataset("modelnet40", tmp_path, skip_unreadable=True)
    assert (len(kept), len(kept.problems)) == (3, 1)
    text(tmp_path / "modelnet40_test.txt", "airplane_0003\nsofa_0001\n")
    refused("modelnet40", "lists 'sofa_0001'")
    (tmp_path / "modelnet40_test.txt").unlink()
    refused("modelnet40", "modelnet40_test.txt: no such file")
    text(tmp_path / "modelnet40_shape_names.txt", "airplane\nairplane\n")
    refused("modelnet40", "lists a class twice", split="train")


def test_modelnet40_hdf5_under_its_authors_paths(tmp_path, refused):
    modelnet40_h5(tmp_path)
    data = load_dataset("modelnet40", tmp_path)
    assert data.classes == ("airplane", "bathtub", "night stand")
    assert list(data.labels) == [2, 0, 1, 2, 0, 1]
    assert data.ids[4] == "ply_data_test1/1"
    with h5py.File(tmp_path / "ply_data_test1.h5") as file:
        np.testing.assert_array_equal(data.decode("point", [4])[0].xyz, file["data"][1])
    assert len(load_dataset("modelnet40", tmp_path, split="train")) == 3
    refused("modelnet40", "holds no|no class folders|no point file", form="off")
    refused("modelnet40", "form 'ply' is not known", form="ply")
    refused("modelnet40", "split 'val' does not exist", split="val")
    (tmp_path / "ply_data_test1.h5").unlink()
    refused("modelnet40", r"lacks ply_data_test1\.h5; expected the 2 files that test_files\.txt lists")


@pytest.mark.parametrize(("change", "words"), [
    ({"label": np.array([[0], [3], [1]])}, "cloud 1 has the label 3; expected 0 to 2"),
    ({"label": None}, "no array label"),
    ({"label": np.array([0, 1])}, "label of shape"), ({"label": np.array([0.0, 1, 2])}, "float64 label"),
    ({"data": np.zeros((3, 8))}, "data of shape"), ({"data": np.zeros((3, 8, 2))}, "data of shape"),
    ({"data": None}, "no array data"),
])  # fmt: skip
def test_hdf5_arrays_that_do_not_fit(tmp_path, refused, change, words):
    modelnet40_h5(tmp_path)
    with h5py.File(tmp_path / "ply_data_test0.h5", "a") as file:
        for key, value in change.items():
            del file[key]
            if value is not None:
                file[key] = value
    assert "ply_data_test0.h5" in refused("modelnet40", words)


def test_damaged_hdf5_files_are_refused(tmp_path, refused):
    modelnet40_h5(tmp_path)
    path = tmp_path / "ply_data_test0.h5"
    whole = path.read_bytes()
    for damaged in (whole[:100], whole[: len(whole) // 2], b"text", b"", whole[:8] + bytes(200) + whole[208:]):
        path.write_bytes(damaged)
        assert str(path) in refused("modelnet40", "cannot be read|is empty")
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        file["data"][1, 5, 0] = np.nan
    data = load_dataset("modelnet40", tmp_path)
    with pytest.raises(InputError, match=r"ply_data_test0\.h5:data\[1\]: holds NaN"):
        data.decode("point", [1])
    kept = load_dataset("modelnet40", tmp_path, skip_unreadable=True)
    assert (len(kept), len(kept.problems)) == (5, 1)


def test_without_h5py_the_user_is_told_what_to_install(tmp_path, refused, monkeypatch):
    modelnet40_h5(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    line = refused("modelnet40", "needs h5py")
    assert "pip install 'ironbind[data]'" in line


def test_a_loaded_set_can_be_sent_to_another_process_after_it_was_read(tmp_path):
    modelnet40_h5(tmp_path)
    data = load_dataset("modelnet40", tmp_path)
    before = data.decode("point", [0])[0].xyz
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy.decode("point", [0])[0].xyz, before)
    assert copy.fingerprint == data.fingerprint


# -------------------------------------------------------------------------------------------------- ScanObjectNN


def test_scanobjectnn_names_its_variant(tmp_path, refused):
    scanobjectnn(tmp_path)
    seen = set()
    for variant, file in {
        "obj_bg": "main_split/test_objectdataset.h5", "obj_only": "main_split_nobg/test_objectdataset.h5",
        "pb_t50_rs": "main_split/test_objectdataset_augmentedrot_scale75.h5",
        "pb_t50_rs_nobg": "main_split_nobg/test_objectdataset_augmentedrot_scale75.h5",
    }.items():  # fmt: skip
        data = load_dataset("scanobjectnn", tmp_path, variant=variant)
        assert data.name == f"scanobjectnn-{variant}"
        assert variant in data.notes[0]
        assert [data.classes[label] for label in data.labels] == ["toilet", "bag", "door", "bag", "toilet", "door"]
        with h5py.File(tmp_path / file) as opened:
            np.testing.assert_array_equal(data.decode("point", [2])[0].xyz, opened["data"][2])
        seen.add(data.fingerprint)
    assert len(seen) == 4
    assert load_dataset("scanobjectnn", tmp_path).name == "scanobjectnn-pb_t50_rs"
    assert load_dataset("scanobjectnn", tmp_path, split="train").fingerprint not in seen
    refused("scanobjectnn", "variant 'hard' is not known", variant="hard")
    refused("scanobjectnn", "split 'val' does not exist", split="val")
    (tmp_path / "main_split" / "test_objectdataset.h5").unlink()  # h5py does not overwrite a file that it has open
    clouds(tmp_path / "main_split" / "test_objectdataset.h5", 8, [3, 15])
    refused("scanobjectnn", "cloud 1 has the label 15; expected 0 to 14", variant="obj_bg")
    (tmp_path / "main_split" / "test_objectdataset.h5").unlink()
    refused("scanobjectnn", "test_objectdataset.h5: no such file", variant="obj_bg")


def test_scanobjectnn_below_the_folder_of_its_archive(tmp_path):
    scanobjectnn(tmp_path / "h5_files")
    assert len(load_dataset("scanobjectnn", tmp_path, variant="obj_bg")) == 6


# ------------------------------------------------------------------------------------------------------ ShapeNet


def test_shapenet_has_all_55_classes(tmp_path, refused):
    assert len(SHAPENET) == len(set(SHAPENET.values())) == 55
    assert list(SHAPENET) == sorted(SHAPENET)
    shapenet(tmp_path)
    data = load_dataset("shapenet", tmp_path)
    assert len(data.classes) == 55
    assert [data.classes[label] for label in data.labels] == ["airplane"] * 2 + ["chair"] * 2 + ["table"] * 2
    np.testing.assert_array_equal(
        data.decode("point", [1])[0].xyz, np.load(tmp_path / "shapenet_pc" / f"{data.ids[1]}.npy")
    )
    assert not set(load_dataset("shapenet", tmp_path, split="train").ids) & set(data.ids)
    (tmp_path / "shapenet_pc" / f"{data.ids[0]}.npy").unlink()
    refused("shapenet", r"is missing; .*ShapeNet-55/test\.txt.*1 of 6")
    text(tmp_path / "ShapeNet-55" / "test.txt", f"{SYNSETS[0]}-a.npy\n00000000-a.npy\n")
    refused("shapenet", "lists '00000000-a'")
    (tmp_path / "ShapeNet-55" / "test.txt").unlink()
    refused("shapenet", "has no ShapeNet-55/test.txt or test.txt")
    refused("shapenet", "split 'val' does not exist", split="val")
