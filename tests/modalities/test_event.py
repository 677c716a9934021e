import numpy as np
import pytest

from ironbind.modalities import reading
from ironbind.modalities.event import read, write
from ironbind.types import Events

RNG = np.random.default_rng(0)
N = 300
X, Y, P = RNG.integers(0, 34, N), RNG.integers(0, 30, N), RNG.integers(0, 2, N)
MICRO = np.sort(RNG.integers(0, 300_000, N))


def nmnist_twin(path):
    """The plain loop of the format's description (Orchard et al. 2015), row by row."""
    rows, offset = [], 0
    data = path.read_bytes()
    for i in range(0, len(data), 5):
        x, y, a, b, c = data[i : i + 5]
        if y == 240:
            offset += 2**13
        else:
            rows.append((x, y, ((a & 127) << 16) + (b << 8) + c + offset, a >> 7))
    return np.array(rows)


def test_five_byte_bin_with_overflow_rows(tmp_path):
    x, y, p = X.copy(), Y.copy(), P.copy()
    y[[50, 120, 121]] = 240
    high, middle, low = (p << 7) | (MICRO >> 16), MICRO >> 8 & 255, MICRO & 255
    path = tmp_path / "image_0001.bin"
    np.stack([x, y, high, middle, low], -1).astype(np.uint8).tofile(path)
    events, twin = read(path), nmnist_twin(path)
    order = np.argsort(twin[:, 2], kind="stable")
    np.testing.assert_array_equal(np.stack([events.x, events.y, np.round(events.t * 1e6), events.p], -1), twin[order])
    assert len(events.t) == N - 3
    assert (np.diff(events.t) >= 0).all()
    assert (events.width, events.height) == (twin[:, 0].max() + 1, twin[:, 1].max() + 1)


def test_bin_refusals(tmp_path, refused):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(12))
    refused(read, path, "12 bytes")
    path.write_bytes(bytes([3, 240, 0, 0, 0]) * 4)
    refused(read, path, "no event")


def test_n_imagenet(tmp_path):
    rows = np.zeros(N, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "?")])
    rows["x"], rows["y"], rows["t"], rows["p"] = X, Y, MICRO, P
    np.savez_compressed(tmp_path / "a.npz", event_data=rows)
    events = read(tmp_path / "a.npz")
    assert (events.width, events.height) == (640, 480)
    for column, expected in [(events.x, X), (events.y, Y), (events.p, P), (events.t, MICRO / 1e6)]:
        np.testing.assert_array_equal(column, expected)


def test_written_times_are_whole_microseconds_or_as_fine_as_given(tmp_path):
    for name, t, kind in [("us", MICRO / 1e6, "i"), ("fine", np.sort(RNG.uniform(0, 1, N)), "f")]:
        write(Events(X, Y, t, P, 34, 30), tmp_path / f"{name}.npz")
        assert np.load(tmp_path / f"{name}.npz")["t"].dtype.kind == kind
        np.testing.assert_array_equal(read(tmp_path / f"{name}.npz").t, t)


def test_polarity_of_minus_one_is_zero_and_times_are_sorted(tmp_path):
    shuffled = RNG.permutation(N)
    np.savez(
        tmp_path / "a.npz",
        x=X[shuffled],
        y=Y[shuffled],
        t=MICRO[shuffled],
        p=(2 * P - 1)[shuffled],
        width=34,
        height=30,
    )
    events = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(events.t, MICRO / 1e6)
    assert sorted(zip(events.t, events.x, events.y, events.p, strict=True)) == sorted(
        zip(MICRO / 1e6, X, Y, P, strict=True)
    )


@pytest.mark.parametrize(("change", "words"), [
    ({"x": X + 34}, "34 x 30 sensor"), ({"y": Y - 30}, "34 x 30 sensor"), ({"p": P + 1}, "polarities"),
    ({"p": P * 0.5}, "fractions"),
    ({"x": X[:-1]}, "shapes"), ({"t": np.where(MICRO > 5, np.nan, 0.5)}, "NaN"),
    ({"t": MICRO.astype(str)}, "expected numbers"),
    ({"x": X[:0], "y": Y[:0], "t": MICRO[:0], "p": P[:0]}, "no event"),
    ({"width": None}, "t, p, width"), ({"t": None}, "expected x, y"),
    ({"x": X + 0.25}, "fractions"),
])  # fmt: skip
def test_bad_columns_are_refused(tmp_path, refused, change, words):
    columns = {"x": X, "y": Y, "t": MICRO, "p": P, "width": 34, "height": 30, **change}
    np.savez(tmp_path / "a.npz", **{name: column for name, column in columns.items() if column is not None})
    refused(read, tmp_path / "a.npz", words)


def test_pickles_bombs_and_plain_arrays_are_refused(tmp_path, refused, monkeypatch):
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object), y=Y, t=MICRO, p=P, width=34, height=30)
    refused(read, tmp_path / "pickle.npz", "cannot be read")
    np.savez(tmp_path / "plain.npz", event_data=X)
    refused(read, tmp_path / "plain.npz", "no fields")
    np.savez_compressed(tmp_path / "bomb.npz", x=X, y=Y, t=np.zeros(10**6), p=P, width=34, height=30)
    monkeypatch.setattr(reading, "MAX_BYTES", 10**6)
    refused(read, tmp_path / "bomb.npz", "unpacks to")


def test_cut_npz_is_refused(tmp_path, refused):
    write(Events(X, Y, MICRO / 1e6, P, 34, 30), tmp_path / "a.npz")
    data = (tmp_path / "a.npz").read_bytes()
    for keep in (10, len(data) // 2, len(data) - 20):
        (tmp_path / "a.npz").write_bytes(data[:keep])
        refused(read, tmp_path / "a.npz", "cannot be read")


def test_a_sensor_that_no_memory_holds_is_refused(tmp_path, refused):
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=Y, t=MICRO, p=P, width=10**9, height=10**9)
    refused(read, path, "1000000000 x 1000000000 pixels")


def test_recordings_of_next_to_nothing_say_so(tmp_path):
    zeros = np.zeros(12, int)
    np.savez(tmp_path / "instant.npz", x=np.arange(12), y=zeros, t=zeros + 500_000, p=zeros, width=34, height=30)
    np.savez(tmp_path / "pixel.npz", x=zeros + 3, y=zeros, t=np.arange(12), p=zeros, width=34, height=30)
    np.savez(tmp_path / "few.npz", x=np.arange(2), y=zeros[:2], t=np.arange(2), p=zeros[:2], width=34, height=30)
    told = {
        name: [str(remark) for remark in read(tmp_path / f"{name}.npz").remarks] for name in ("instant", "pixel", "few")
    }
    assert told == {
        "instant": ["holds events of one instant (12 events at 0.5 s)"],
        "pixel": ["holds events of one pixel (12 events at x 3, y 0)"],
        "few": ["holds less than 10 events (2 events)"],
    }
