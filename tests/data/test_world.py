"""The built-in world: what it promises of its bits, its splits and its values."""

import multiprocessing
import time
from dataclasses import astuple, is_dataclass

import numpy as np
import pytest

from ironbind.data import load_dataset
from ironbind.data.world.camera import SIDE
from ironbind.data.world.dataset import (
    CLASSES,
    HELD_OUT_CLASSES,
    HELD_OUT_MATERIAL,
    MODALITIES,
    SPLITS,
    World,
    caption,
    definition,
    load,
)
from ironbind.data.world.shapes import SHAPES, pool
from ironbind.types import Dataset, InputError


def bits(sample: object) -> bytes:
    return b"".join(np.asarray(one).tobytes() for one in (astuple(sample) if is_dataclass(sample) else [sample]))


def rendered(n: int) -> dict[str, list[bytes]]:
    return {
        modality: [bits(one) for one in samples] for modality, samples in load(n=n).render(MODALITIES, range(n)).items()
    }


@pytest.fixture(scope="module")
def world() -> World:
    return load(n=24)


def test_is_a_dataset(world: World) -> None:
    assert isinstance(load_dataset("world", n=3), Dataset)
    assert len(world) == len(world.ids) == len(world.labels) == len(world.captions) == 24
    assert world.ids[3] == "world/test/0/000003"
    assert len(set(world.ids)) == 24


@pytest.mark.bits
@pytest.mark.parametrize("modality", MODALITIES)
def test_bits_do_not_depend_on_batch_order_or_company(world: World, modality: str) -> None:
    together = [bits(one) for one in world.render(MODALITIES, range(24))[modality]]
    alone = [bits(world.decode(modality, [i])[0]) for i in range(24)]
    backwards = [bits(one) for one in world.decode(modality, range(23, -1, -1))][::-1]
    assert together == alone == backwards


def test_bits_do_not_depend_on_worker_processes(world: World) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        (there,) = workers.map(rendered, [6])
    assert there == rendered(6)


@pytest.mark.bits
def test_bits_do_not_depend_on_how_many_there_are() -> None:
    assert bits(load(n=5).decode("image", [4])[0]) == bits(load(n=500).decode("image", [4])[0])


def test_seeds_and_splits_are_disjoint() -> None:
    seeds = [World(split, 200, seed).thing(i).seed for split in SPLITS for seed in (0, 1) for i in range(200)]
    assert len(set(seeds)) == len(seeds)
    prints = {World(split, n, seed).fingerprint for split in SPLITS for seed in (0, 1) for n in (5, 6)}
    assert len(prints) == len(SPLITS) * 4


def test_nothing_held_out_is_trained_on(world: World) -> None:
    for split in ("train", "tune", "test"):
        part = world.split(split, 2000)
        things = [part.thing(i) for i in range(len(part))]
        assert {SHAPES[thing.shape].name for thing in things} == set(CLASSES)
        assert not any(HELD_OUT_MATERIAL[thing.shape] == thing.material for thing in things)
    combinations = world.split("held_out_combinations", 60)
    assert all(HELD_OUT_MATERIAL[combinations.thing(i).shape] == combinations.thing(i).material for i in range(60))
    classes = world.split("held_out_classes", 8)
    assert classes.classes == HELD_OUT_CLASSES
    assert not set(CLASSES) & set(HELD_OUT_CLASSES)
    assert all(SHAPES[classes.thing(i).shape].name == HELD_OUT_CLASSES[classes.labels[i]] for i in range(8))


def test_labels_name_the_shape_and_captions_tell_it(world: World) -> None:
    for i, label in enumerate(world.labels):
        thing = world.thing(i)
        assert SHAPES[thing.shape].name == world.classes[label]
        assert f" {world.classes[label]}" in world.captions[i]
        assert thing.material in world.captions[i]
    assert caption(world.thing(0), lambda part: False) == "a ball."
    assert definition("bell") == "round, open and bulging"


def test_values_survive_lossless_files(world: World) -> None:
    seen = world.render(MODALITIES, range(12))
    for image, video in zip(seen["image"], seen["video"], strict=True):
        assert image.pixels.dtype == np.uint8
        assert image.pixels.shape == (SIDE, SIDE, 3)
        assert video.frames.dtype == np.uint8
        assert video.frames.shape == (8, SIDE, SIDE, 3)
    for audio in seen["audio"]:
        whole = audio.waveform * 32768
        assert audio.waveform.shape == (1, 8000)
        assert (whole == np.round(whole)).all()
        assert whole.min() >= -32768
        assert whole.max() <= 32767
    for thermal in seen["thermal"]:
        steps = np.round(thermal.intensity.astype(np.float64) * 65535)
        assert (thermal.intensity == (steps / 65535).astype(np.float32)).all()
        assert steps.min() >= 0
        assert steps.max() <= 65535
    for cloud in seen["point"]:
        assert cloud.xyz.dtype == np.float32
        assert cloud.xyz.shape == (512, 3)
        assert np.isfinite(cloud.xyz).all()
    for events in seen["event"]:
        micro = np.round(events.t * 1e6)
        assert np.allclose(events.t * 1e6, micro, atol=1e-6)
        assert (np.diff(events.t) >= 0).all()
        assert events.t.min() >= 0
        assert events.t.max() < 1
        assert events.x.min() >= 0
        assert events.x.max() < events.width == SIDE
        assert events.y.max() < events.height
        assert set(events.p) <= {0, 1}


def test_what_is_warm_differs_from_its_surroundings() -> None:
    for i in range(40):
        world = load(n=40)
        thing = world.thing(i)
        assert abs(thing.warm) >= 0.2
        intensity = world.decode("thermal", [i])[0].intensity
        row, column = round((1 - thing.centre[1]) * SIDE / 2), round((1 + thing.centre[0]) * SIDE / 2)
        near = intensity[row - 6 : row + 6, column - 6 : column + 6]
        edge = np.median(np.concatenate([intensity[0], intensity[:, 0], intensity[:, -1]]))
        assert np.abs(near - edge).max() > 0.1


def test_pictures_of_one_shape_differ_and_shapes_lie_in_the_unit_sphere() -> None:
    world = load(n=400)
    assert len({bits(one) for one in world.decode("image", range(0, 400, 20))}) == 20
    for shape in range(len(SHAPES)):
        points, normals = pool(shape)
        assert np.sqrt((points**2).sum(0)).max() == pytest.approx(1, abs=1e-5)
        assert np.allclose((normals**2).sum(0), 1, atol=1e-4)


def test_normals_point_outwards() -> None:
    for name in (
        "ball",
        "cube",
        "cone",
        "barrel",
        "pyramid",
        "star",
        "heart",
        "diamond",
    ):  # star-shaped solids: outwards is away from the middle
        points, normals = pool([shape.name for shape in SHAPES].index(name))
        assert ((points * normals).sum(0) > -0.05).mean() > 0.97, name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "validation"}, "split 'validation'"),
        ({"n": 0}, "n=0"),
        ({"seed": -1}, "seed=-1"),
        ({"path": "somewhere"}, "'somewhere'"),
    ],
)
def test_wrong_options_are_one_line(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load(**options)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_an_unknown_modality_is_one_line(world: World) -> None:
    with pytest.raises(InputError, match="modality 'smell' does not exist"):
        world.decode("smell", [0])


@pytest.mark.slow
def test_renders_200_a_second() -> None:
    world = load(n=300)
    world.render(MODALITIES, range(60))
    start = time.process_time()
    world.render(MODALITIES, range(60, 300))
    assert (
        240 / (time.process_time() - start) > 100
    )  # 200 on an idle core; a shared one gets less done per second of its own time
