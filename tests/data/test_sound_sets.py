import unicodedata

import numpy as np
import soundfile

from ironbind.data import load_dataset
from layouts.tiny_sounds import (
    CLOTHO,
    URBAN,
    audiocaps,
    audioset,
    clotho,
    esc50,
    sound,
    table,
    text,
    urbansound8k,
    vggsound,
)


def replace_in(path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- ESC-50


def test_esc50_says_which_folds_and_numbers_classes_by_target(tmp_path):
    esc50(tmp_path)
    data = load_dataset("esc50", tmp_path)
    assert (len(data), data.classes, data.modalities) == (9, ("dog", "chirping birds", "vacuum cleaner"), ("audio",))
    assert data.notes[0] == "all folds, 9 clips"
    assert [data.classes[label] for label in data.labels[:4]] == ["vacuum cleaner"] * 3 + ["dog"]
    one = load_dataset("esc50", tmp_path, fold=1)
    assert list(one.ids) == ["1-1036-A-36", "1-1000-A-0", "1-1014-A-14"]
    assert one.classes == data.classes
    assert one.notes[0] == "fold 1 alone, 3 of 9 clips"
    written, rate = soundfile.read(tmp_path / "audio" / "1-1036-A-36.wav", dtype="float32")
    decoded = one.decode("audio", [0])[0]
    assert decoded.rate == rate == 44100
    np.testing.assert_array_equal(decoded.waveform[0], written)


def test_esc50_as_languagebind_publishes_it(tmp_path, refused):
    for name in ("chirping_birds", "dog"):
        for number in (1, 2):
            sound(tmp_path / "test" / name / f"{number}.wav")
    data = load_dataset("esc50", tmp_path)
    assert (data.name, len(data), data.classes) == ("esc50", 4, ("chirping birds", "dog"))
    assert any("LanguageBind" in note for note in data.notes)
    refused("esc50", "fold 1 is not known", fold=1)
    refused("esc50", "neither meta/esc50.csv nor a folder train", split="train")


def test_esc50_refusals(tmp_path, refused):
    refused("esc50", "neither meta/esc50.csv nor a folder test")
    esc50(tmp_path)
    refused("esc50", "fold 6 does not exist in esc50; expected 1 to 5", fold=6)
    refused("esc50", "lists no clip of fold 3", fold=3)
    refused("esc50", "split 'test' does not exist", split="test")
    listed = tmp_path / "meta" / "esc50.csv"
    whole = listed.read_text()
    first, rest = "1-1036-A-36.wav,1,36,", whole[whole.index("\n") + 1 :]
    for old, new, words in [
        ("vacuum_cleaner", "dog", "several numbers to one class name"),
        (first, "1-1036-A-36.wav,1,0,", "calls class 0 both"),
        (first, "1-1036-A-36.wav,1,x,", "column target says 'x'"),
        (first, "1-1036-A-36.wav,1,-1,", "column target says '-1'"),
        (first, "1-1036-A-36.wav,", "line 2 has 5 columns of 7"), ("filename", "file", "not filename"),
        (rest, "", "lists nothing"),
        (first, '"' + first, "cannot be read"),
    ]:  # fmt: skip
        listed.write_text(whole.replace(old, new))
        assert str(listed) in refused("esc50", words)
    listed.write_bytes(b"filename,fold,target,category\n\xff\xfe")
    refused("esc50", "is not UTF-8")
    listed.write_bytes(b"")
    refused("esc50", "has 0 bytes")


def test_missing_and_damaged_clips_are_counted_and_named(tmp_path, refused):
    esc50(tmp_path)
    (tmp_path / "audio" / "1-1000-A-0.wav").unlink()
    path = tmp_path / "audio" / "2-1000-A-0.wav"
    path.write_bytes(path.read_bytes()[:100])
    refused("esc50", r"1-1000-A-0\.wav: is missing; .*meta/esc50\.csv .*1 of 9")
    data = load_dataset("esc50", tmp_path, skip_unreadable=True)
    assert len(data) == 7
    assert len(data.problems) == 2
    assert "1-1000-A-0.wav: is missing" in data.problems[0]
    assert "2-1000-A-0.wav: is cut short" in data.problems[1]
    assert data.classes == ("dog", "chirping birds", "vacuum cleaner")


# -------------------------------------------------------------------------------------------------- UrbanSound8K


def test_urbansound8k_keeps_rates_widths_and_channels(tmp_path):
    urbansound8k(tmp_path)
    data = load_dataset("urbansound8k", tmp_path)
    assert data.classes == ("children playing", "dog bark")
    assert [data.classes[label].replace(" ", "_") for label in data.labels] == [name for _, _, _, name, *_ in URBAN]
    assert any("1653" in note for note in data.notes)
    for row, (file, fold, _, _, rate, channels, _) in enumerate(URBAN):
        decoded = data.decode("audio", [row])[0]
        written, _ = soundfile.read(tmp_path / "audio" / f"fold{fold}" / file, dtype="float32", always_2d=True)
        assert (decoded.rate, decoded.waveform.shape) == (rate, (channels, 160))
        np.testing.assert_array_equal(decoded.waveform.T, written)
    part = load_dataset("urbansound8k", tmp_path, fold=10)
    assert (len(part), part.notes[0]) == (1, "fold 10 alone, 1 of 4 clips")
    assert part.classes == data.classes


def test_24_bits_are_not_cut_to_16(tmp_path):
    urbansound8k(tmp_path)
    decoded = load_dataset("urbansound8k", tmp_path).decode("audio", [1])[0]
    sixteen = np.round(decoded.waveform * 2**15) / 2**15
    assert 0 < np.abs(decoded.waveform - sixteen).max() < 2**-15
    np.testing.assert_array_equal(decoded.waveform, np.round(decoded.waveform.astype(np.float64) * 2**23) / 2**23)


def test_urbansound8k_refusals(tmp_path, refused):
    refused("urbansound8k", "UrbanSound8K.csv: no such file")
    urbansound8k(tmp_path)
    refused("urbansound8k", "expected 1 to 10", fold=0)
    refused("urbansound8k", "split 'test' does not exist", split="test")


# ------------------------------------------------------------------------------------------------------ AudioSet


def test_audioset_takes_clips_with_one_label_or_the_first(tmp_path):
    audioset(tmp_path)
    data = load_dataset("audioset", tmp_path)
    assert data.classes == ("Speech", "Domestic animals, pets", "Squeak")
    assert list(data.ids) == ["-BfyT_1FqE4_30000", "a0b1c2d3e4F_21500", "zzzzzzzzzz0_100000", "zzzzzzzzzz1_0"]
    assert [data.classes[label] for label in data.labels] == ["Squeak", "Speech", "Squeak", "Speech"]
    assert any("the 2 of 7 with several are left out" in note for note in data.notes)
    assert any("n = 4 of the 5" in note for note in data.notes)
    assert len(data.problems) == 1
    assert "gone_clip_1" in data.problems[0]
    every = load_dataset("audioset", tmp_path, labels="first")
    assert len(every) == 6
    assert every.all_labels[:2] == [(1, 2), (2,)]
    assert every.labels[0] == 1
    assert any("2 of 7 clips have several labels" in note for note in every.notes)


def test_audioset_clips_are_found_under_the_names_of_several_tools(tmp_path):
    audioset(tmp_path)
    data = load_dataset("audioset", tmp_path, labels="first")
    files = {one: data.sources["audio"].place(row) for row, one in enumerate(data.ids)}
    assert files == {
        "--4gqARaEJE_0": "eval_segments/--4gqARaEJE.wav",
        "-BfyT_1FqE4_30000": "eval_segments/-BfyT_1FqE4_30000_40000.flac",
        "-BfyT_1FqE4_50000": "eval_segments/-BfyT_1FqE4_50.000_60.000.flac",
        "a0b1c2d3e4F_21500": "eval_segments/part1/Ya0b1c2d3e4F.wav",
        "zzzzzzzzzz0_100000": "eval_segments/part2/zzzzzzzzzz0_000100.ogg",
        "zzzzzzzzzz1_0": "eval_segments/part2/zzzzzzzzzz1_0_10.WAV",
    }
    assert len(data.decode("audio", range(6))) == 6


def test_a_file_named_by_the_video_alone_is_not_taken_for_two_clips_of_it(tmp_path):
    audioset(tmp_path)
    for path in (tmp_path / "eval_segments").glob("-BfyT*"):
        path.unlink()
    sound(tmp_path / "eval_segments" / "-BfyT_1FqE4.wav")
    assert not any(one.startswith("-BfyT") for one in load_dataset("audioset", tmp_path, labels="first").ids)


def test_audioset_without_comments_and_in_a_folder_of_ones_own(tmp_path, refused):
    audioset(tmp_path)
    listed = tmp_path / "eval_segments.csv"
    listed.write_text(
        "".join(line for line in listed.read_text().splitlines(keepends=True) if not line.startswith("#"))
    )
    (tmp_path / "eval_segments").rename(tmp_path / "mine")
    assert len(load_dataset("audioset", tmp_path, audio="mine")) == 4
    assert len(load_dataset("audioset", tmp_path)) == 4, "found anywhere"
    refused("audioset", "theirs: no such folder", audio="theirs")


def test_audioset_refusals(tmp_path, refused):
    audioset(tmp_path)
    refused("audioset", "split 'test' does not exist", split="test")
    refused("audioset", "labels 'all' is not known", labels="all")
    refused("audioset", "balanced_train_segments.csv: no such file", split="balanced_train")
    listed = tmp_path / "eval_segments.csv"
    whole = listed.read_text()
    for old, new, words in [
        ("21.500", "nan", "column start_seconds says 'nan'"), ("31.500", "-1", "column end_seconds says '-1'"),
        ('"/m/07q6cd_"', '"/m/unheard"', "'/m/unheard'"),
        ('"/m/07q6cd_"', "/m/07q6cd_,/m/09x0r", "line 5 has 5 columns of 4"),
    ]:  # fmt: skip
        listed.write_text(whole.replace(old, new, 1))
        assert str(listed) in refused("audioset", words)
    listed.write_text('a, 0.0, 10.0, "/m/09x0r,/m/068hy"\n')
    refused("audioset", "all 1 clips have several labels")
    listed.write_text(whole)
    replace_in(tmp_path / "class_labels_indices.csv", "\n1,", "\n2,")
    refused("audioset", "indices are not 0 to 2 in order")


def test_audioset_without_any_clip_is_refused(tmp_path, refused):
    audioset(tmp_path)
    for path in (tmp_path / "eval_segments").rglob("*.*"):
        path.unlink()
    refused("audioset", "5 of 5 samples")


# ------------------------------------------------------------------------------------------------------ VGGSound


def test_vggsound_labels_hold_commas(tmp_path):
    vggsound(tmp_path)
    data = load_dataset("vggsound", tmp_path)
    assert data.classes == ("people marching", "vehicle horn, car horn, honking", "waterfall burbling")
    assert list(data.ids) == ["---g-f_I2yQ_000001", "xyz_-12345a_000150", "xyz_-12345b_000000", "---g-f_I2yQ_000061"]
    assert list(data.labels) == [0, 1, 1, 0]
    assert len(data.problems) == 1
    assert "missing_one_000007" in data.problems[0]
    assert list(load_dataset("vggsound", tmp_path, split="train").ids) == ["--0PQM4-hqg_000030"]


def test_vggsound_as_languagebind_publishes_it_and_refusals(tmp_path, refused):
    refused("vggsound", "neither vggsound.csv nor a folder test")
    for name in ("people marching", "vehicle horn, car horn, honking"):
        sound(tmp_path / "test" / name / "a.wav")
    assert load_dataset("vggsound", tmp_path).classes == ("people marching", "vehicle horn, car horn, honking")
    text(tmp_path / "vggsound.csv", "a,1,people marching,test\nb,1,vehicle horn, car horn,test\n")
    refused("vggsound", "line 2 has 5 columns of 4")
    text(tmp_path / "vggsound.csv", "a,1,people marching,test\n")
    refused("vggsound", "split 'val' does not exist", split="val")
    refused("vggsound", "1 of 1 samples")
    text(tmp_path / "vggsound.csv", "a,1.5,people marching,test\n")
    refused("vggsound", "column start says '1.5'")


# ----------------------------------------------------------------------------------------------------- captions


def test_clotho_has_five_captions_and_names_beyond_ascii(tmp_path):
    clotho(tmp_path)
    data = load_dataset("clotho", tmp_path)
    assert list(data.ids) == [file[:-4] for file in CLOTHO]
    assert data.all_captions[1] == tuple(f'Café, "take" {number}' for number in range(1, 6))
    assert data.captions[1] == 'Café, "take" 1'
    assert len(data.decode("audio", range(3))) == 3
    assert any("retrieval" in note for note in data.notes)


def test_names_match_whichever_way_an_archive_wrote_its_accents(tmp_path):
    clotho(tmp_path)
    composed = tmp_path / "evaluation" / CLOTHO[1]
    composed.rename(composed.with_name(unicodedata.normalize("NFD", CLOTHO[1])))
    data = load_dataset("clotho", tmp_path)
    assert list(data.ids) == [file[:-4] for file in CLOTHO]
    assert len(data.decode("audio", [1])) == 1


def test_clotho_refusals(tmp_path, refused):
    clotho(tmp_path)
    refused("clotho", "split 'test' does not exist in clotho; expected one of development", split="test")
    refused("clotho", "has no clotho_captions_validation.csv", split="validation")
    (tmp_path / "evaluation" / CLOTHO[0]).unlink()
    refused("clotho", "1 of 3 samples")
    assert len(load_dataset("clotho", tmp_path, skip_unreadable=True)) == 2
    listed = tmp_path / "clotho_captions_evaluation.csv"
    table(listed, [["file_name", *(f"caption_{n}" for n in range(1, 6))], ["a.wav", "", "", "", "", ""]])
    refused("clotho", "has no caption for 'a'")
    table(listed, [["file_name", "caption_1"], ["a.wav", "b"]])
    refused("clotho", "not caption_2")


def test_audiocaps_gathers_the_captions_of_a_clip(tmp_path, refused):
    audiocaps(tmp_path)
    data = load_dataset("audiocaps", tmp_path)
    assert list(data.ids) == ["rqfQRErjfk8_170", "6cS0FsUM-cQ_10"]
    assert data.all_captions == [
        ("A large crowd cheers, then applauds", 'Someone says "cheers"'),
        ("A cat meows — twice",),
    ]
    assert len(data.problems) == 1
    assert "notFetched_" in data.problems[0]
    sound(tmp_path / "test" / "109999.wav")
    assert len(load_dataset("audiocaps", tmp_path)) == 3, "named by the caption's number"
    refused("audiocaps", "split 'validation' does not exist", split="validation")
    refused("audiocaps", "has no train.csv", split="train")
    replace_in(tmp_path / "dataset" / "test.csv", ",170,", ",170.5,")
    refused("audiocaps", "column start_time says '170.5'")


def test_audiocaps_as_languagebind_lists_it(tmp_path):
    text(
        tmp_path / "audiocaps_test.tsv",
        "id\tpath\tcaption\n1\taudio/x y.wav\tOne, two\n2\taudio/x y.wav\tThree\n3\tz.wav\tFour\n",
    )
    sound(tmp_path / "audio" / "x y.wav")
    sound(tmp_path / "audio" / "z.wav")
    data = load_dataset("audiocaps", tmp_path)
    assert list(data.ids) == ["x y", "z"]
    assert data.all_captions == [("One, two", "Three"), ("Four",)]
