import numpy as np
import pytest

from ironbind.modalities import reading
from ironbind.modalities.imu import read
from ironbind.types import InputError

SIGNAL = np.random.default_rng(0).normal(size=(6, 50))


def csv(path, times, header=""):
    np.savetxt(path, np.column_stack([times, SIGNAL.T]), delimiter=",", header=header, comments="")
    return path


@pytest.mark.parametrize("header", ["", "t,ax,ay,az,gx,gy,gz"])
def test_csv_takes_its_rate_from_the_times(tmp_path, header):
    sample = read(csv(tmp_path / "a.csv", 3.0 + np.arange(50) / 200, header))
    assert sample.rate == pytest.approx(200)
    np.testing.assert_allclose(sample.signal, SIGNAL, atol=1e-6)


def test_a_byte_order_mark_is_no_header(tmp_path):
    plain = csv(tmp_path / "a.csv", np.arange(50) / 200)
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    (tmp_path / "c.csv").write_text("zeit in µs,ax,ay,az,gx,gy,gz\n" + plain.read_text(), encoding="utf-8")
    for name in ("b.csv", "c.csv"):
        np.testing.assert_array_equal(read(tmp_path / name).signal, read(plain).signal)


def test_uneven_or_backward_times_are_refused(tmp_path):
    for times in (np.arange(50) ** 1.1, -np.arange(50.0), np.full(50, np.nan)):
        with pytest.raises(InputError, match=r"a\.csv: has steps"):
            read(csv(tmp_path / "a.csv", times))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"signal": SIGNAL}, "expected signal and rate"),
        ({"signal": SIGNAL.T, "rate": 200.0}, "expected 6 channels"),
        ({"signal": SIGNAL, "rate": 0.0}, "expected steps per second"),
        ({"signal": SIGNAL * np.nan, "rate": 200.0}, "NaN"),
        ({"signal": SIGNAL * 1e300, "rate": 200.0}, "float32"),
        ({"signal": SIGNAL[:, :6], "rate": 200.0}, "6 by 6"),
    ],
)
def test_what_no_recording_can_be_is_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", signal=np.zeros((6, 10**5)), rate=200.0)
    monkeypatch.setattr(reading, "MAX_BYTES", 10**6)
    with pytest.raises(InputError, match=r"a\.npz: unpacks to 4,800,\d+ bytes"):
        read(tmp_path / "a.npz")


def test_stillness_and_milliseconds_taken_for_seconds_are_told(tmp_path):
    np.savez(tmp_path / "still.npz", signal=np.ones((6, 40)), rate=200.0)
    assert [str(remark) for remark in read(tmp_path / "still.npz").remarks] == ["does not move (40 equal steps)"]
    told = read(csv(tmp_path / "a.csv", 5.0 * np.arange(50))).remarks
    assert [str(remark) for remark in told] == ["has an unlikely rate of steps (0.2 Hz; times are read as seconds)"]
    assert read(csv(tmp_path / "b.csv", 0.005 * np.arange(50))).remarks == ()
