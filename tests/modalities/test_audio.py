import numpy as np
import pytest
import soundfile

from ironbind.modalities.audio import read, write
from ironbind.types import Audio

RATE = 8000
STEREO = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 3000)).astype(np.float32)
SIXTEEN = np.round(STEREO * 32768).astype(np.int16)


@pytest.mark.parametrize(("suffix", "subtype", "step"), [
    (".wav", "PCM_U8", 1 / 128), (".wav", "PCM_16", 1 / 32768), (".wav", "PCM_24", 2**-23), (".wav", "PCM_32", 2**-24),
    (".wav", "FLOAT", 0), (".wav", "DOUBLE", 0), (".flac", "PCM_16", 1 / 32768), (".flac", "PCM_24", 2**-23),
    (".wav", "ULAW", 0.04),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_sample_types_and_channels(tmp_path, suffix, subtype, step, channels):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, STEREO[:channels].T, RATE, subtype=subtype)
    audio = read(path)
    assert (audio.rate, audio.waveform.dtype, audio.waveform.shape) == (RATE, np.float32, (channels, 3000))
    assert np.abs(audio.waveform - STEREO[:channels]).max() <= 1.01 * step


def test_ogg_sounds_alike(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "a.ogg", tone, RATE)
    audio = read(tmp_path / "a.ogg")
    assert audio.waveform.shape == (1, RATE)
    assert np.sqrt(((audio.waveform[0] - tone) ** 2).mean()) < 0.02


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_sixteen_bits_are_divided_by_32768_exactly(tmp_path, suffix):
    values = np.array([-32768, -32767, -1, 0, 1, 32766, 32767], np.int16)
    soundfile.write(tmp_path / f"a{suffix}", values, RATE)
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}").waveform[0], values.astype(np.float32) / 32768)


def test_writing_is_exact_and_takes_sixteen_bits_where_they_do(tmp_path):
    for name, waveform, subtype in [
        ("int16", SIXTEEN.astype(np.float32) / 32768, "PCM_16"),
        ("float", STEREO, "FLOAT"),
        ("full scale", np.array([[1, -1, 0.5]], np.float32), "FLOAT"),  # +1 is one step beyond what 16 bits hold
    ]:
        path = tmp_path / f"{name}.wav"
        write(Audio(waveform, RATE), path)
        assert soundfile.info(path).subtype == subtype
        np.testing.assert_array_equal(read(path).waveform, waveform)


def test_a_little_overshoot_is_clipped_and_much_is_refused(tmp_path, refused):
    soundfile.write(tmp_path / "a.wav", np.array([0.2, 1.2, -1.9]), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav").waveform, np.array([[0.2, 1, -1]], np.float32))
    soundfile.write(tmp_path / "b.wav", np.array([0.2, -20000.0]), RATE, subtype="FLOAT")
    refused(read, tmp_path / "b.wav", "20000 times full scale")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path, refused, bad):
    samples = STEREO.T.copy()
    samples[1234, 1] = bad
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    refused(read, tmp_path / "a.wav", "NaN or infinite")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_no_sample_is_refused(tmp_path, refused, suffix):
    soundfile.write(tmp_path / f"a{suffix}", np.zeros((0, 1)), RATE)
    refused(read, tmp_path / f"a{suffix}", "no sample|is empty|cut short")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.95])
def test_cut_recordings_are_refused(tmp_path, refused, suffix, keep):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.9, 0.9, 40_000), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    refused(read, path, "cut short|cannot be read|ends after")


def test_a_wav_of_unknown_length_and_one_with_further_chunks_are_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", SIXTEEN.T, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = b"\xff\xff\xff\xff"  # as recorders write into a pipe
    (tmp_path / "piped.wav").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "piped.wav").waveform, SIXTEEN / np.float32(32768))
    whole = bytearray((tmp_path / "a.wav").read_bytes())
    whole[at:at] = b"LIST\x04\x00\x00\x00INFO"
    whole += b"id3 \x02\x00\x00\x00ab"
    whole[4:8] = (len(whole) - 8).to_bytes(4, "little")
    (tmp_path / "chunks.wav").write_bytes(whole)
    np.testing.assert_array_equal(read(tmp_path / "chunks.wav").waveform, SIXTEEN / np.float32(32768))


def test_other_contents_are_refused_and_named(tmp_path, refused):
    (tmp_path / "a.wav").write_bytes(b"ID3\x04" + bytes(100))
    refused(read, tmp_path / "a.wav", "MP3 data")
    (tmp_path / "b.wav").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    refused(read, tmp_path / "b.wav", "JPEG data")


def test_an_absurd_length_is_refused_before_memory_is_taken(tmp_path, refused):
    soundfile.write(tmp_path / "a.flac", SIXTEEN[0], RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # STREAMINFO: the top bits of the 36-bit number of samples
    data[22:26] = b"\xff" * 4
    (tmp_path / "b.flac").write_bytes(data)
    refused(read, tmp_path / "b.flac", "announces|ends after|cannot be read")


TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "rate", "remarks"),
    [
        (0 * TONE, RATE, ["is silent (peak 0 of full scale)"]),
        (TONE / 20_000, RATE, ["is silent (peak 2.5e-05 of full scale)"]),
        (TONE, RATE, []),
        (np.stack([TONE, -TONE], 1), RATE,
         ["cancels when its channels are averaged (nothing beside the loudest channel)"]),
        (np.stack([TONE, -0.99 * TONE], 1), RATE,
         ["cancels when its channels are averaged (-46 dB against the loudest channel)"]),
        (np.stack([0 * TONE, TONE], 1), RATE,
         ["has next to nothing in its first channel (nothing beside the loudest channel)"]),
        (np.stack([TONE, 0 * TONE], 1), RATE, []),
        (TONE, 1, ["has an unlikely sampling rate (1 Hz, 8000 s in all)"]),
    ],
)  # fmt: skip
def test_a_sound_of_nothing_says_so(tmp_path, samples, rate, remarks):
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    assert [str(remark) for remark in read(tmp_path / "a.wav").remarks] == remarks


def test_the_same_sound_is_the_same_file(tmp_path):
    """libsndfile notes in a file of floats when it was written: the note is cleared."""
    sound = Audio(np.array([[0.1, -0.3, 1 / 3]], np.float32), RATE)
    write(sound, tmp_path / "a.wav")
    content = (tmp_path / "a.wav").read_bytes()
    at = content.index(b"PEAK")
    assert content[at + 12 : at + 16] == bytes(4)
    assert np.array_equal(read(tmp_path / "a.wav").waveform, sound.waveform)
