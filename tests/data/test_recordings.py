"""Folders and archives of recordings: which are recognised, what becomes target, split and problem, joined clips."""

import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from waves import chunk, fmt, riff, tone, wav

from netwright.data.files.opening import open_tree
from netwright.data.readers.recordings import recognises, recordings, unlabelled
from netwright.data.sounds import gathering
from netwright.errors import DataError, UsageError


def put(root, names, content=None):
    for place, name in enumerate(names.split() if isinstance(names, str) else names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        sound = name.lower().endswith((".wav", ".wave"))
        made = wav(tone(200 + 10 * place, 0.02)) if sound else b"some text"
        (root / name).write_bytes(made if content is None else content)
    return root


def read(root, **settings):
    return recordings(open_tree(root), **settings)


def told(source):
    return [f"{p.where}: {p.what} -> {p.action}" for p in source.problems]


DIGITS = [f"{d}_{who}_{n}.wav" for d in (0, 1, 2) for who in ("anna", "otto") for n in range(5)]


@pytest.mark.parametrize(
    ("names", "known"),
    [
        ("a_1.wav b_1.WAV", True),
        ("yes/1.wav no/2.wav", True),
        ("one.wav", True),
        ("a.wav b.wav transcripts.txt metadata.csv", True),
        ("a.wav a.txt b.wav b.txt README.md", True),
        ("a.wav x.csv y.csv", False),
        ("a.wav x/1.png y/2.png", False),
        ("a.txt b.mp3", False),
        ("notes.md", False),
    ],
)
def test_what_is_recognised(tmp_path, names, known):
    assert recognises(open_tree(put(tmp_path, names))) is known


def test_names_tell_label_speaker_and_number(tmp_path):
    found = read(put(tmp_path / "digits", DIGITS))
    assert found.kind == "recording"
    assert (len(found.examples), found.examples.rate) == (30, 8000)
    assert found.targets.tolist() == [name[0] for name in sorted(DIGITS)]
    assert found.facts["fields"]["speaker"].tolist() == [name.split("_")[1] for name in sorted(DIGITS)]
    assert found.given == {}
    assert found.task == ""
    assert found.classes is None
    assert found.ids[0] == "0_anna_0.wav"
    assert told(found) == [
        "digits: names read as {label}_{speaker}_{n} -> the first field is the label (data.label=PATTERN decides)"
    ]
    np.testing.assert_array_equal(found.examples.waves[0], tone(200, 0.02))


def test_targets_and_groups_by_field(tmp_path):
    put(tmp_path, DIGITS)
    assert set(read(tmp_path, target="speaker").targets) == {"anna", "otto"}
    assert set(read(tmp_path, task="verify").targets) == {"anna", "otto"}
    assert read(tmp_path, group="speaker").groups.tolist() == [name.split("_")[1] for name in sorted(DIGITS)]
    assert set(read(tmp_path, label="{word}_{who}_{take}").targets) == {"0", "1", "2"}
    assert set(read(tmp_path, label="{word}_{label}_{take}").targets) == {"anna", "otto"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target": "speeker"}, "data.target: the recordings have no field 'speeker'. Did you mean 'speaker'?"),
        ({"group": "spaeker"}, "data.group: the recordings have no field 'spaeker'. Did you mean 'speaker'?"),
        ({"test_fields": "m=0"}, "data.test_fields: the recordings have no field 'm'."),
        ({"task": "tag"}, "data.task = 'tag'; recordings are for: auto, classify"),
        ({"join": 2, "task": "classify"}, "data.join = 2 makes strings to transcribe; data.task = 'classify'"),
        ({"join": 2, "test": "other"}, "data.join divides the recordings itself"),
        ({"label": "{a}{b}"}, "nothing stands between 'a' and 'b'"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings, reason):
    with pytest.raises(UsageError) as caught:
        read(put(tmp_path, DIGITS), **settings)
    assert reason in str(caught.value)


def test_a_test_set_by_fields(tmp_path):
    found = read(put(tmp_path, DIGITS), test_fields="n=0-1")
    assert [found.ids[row] for row in found.given["test"]] == [n for n in sorted(DIGITS) if n[-5] in "01"]
    assert sorted(np.concatenate(list(found.given.values())).tolist()) == list(range(30))


def test_class_folders_and_splits(tmp_path):
    found = read(put(tmp_path / "a", "yes/1.wav no/2.wav no/3.wav"))
    assert (found.targets.tolist(), found.classes) == (["no", "no", "yes"], ["no", "yes"])
    names = "set/train/yes/1.wav set/train/no/2.wav set/test/yes/3.wav set/Dev/no/4.wav"
    found = read(put(tmp_path / "b", names))
    assert {name: [found.ids[row] for row in rows] for name, rows in found.given.items()} == {
        "train": ["set/train/no/2.wav", "set/train/yes/1.wav"],
        "validation": ["set/Dev/no/4.wav"],
        "test": ["set/test/yes/3.wav"],
    }
    flat = read(put(tmp_path / "c", "train/7_a_1.wav train/8_a_1.wav test/7_b_2.wav"))
    assert (flat.targets.tolist(), flat.given["test"].tolist()) == (["7", "7", "8"], [0])
    with pytest.raises(UsageError, match="but folders divide"):
        read(tmp_path / "c", test_fields="label=7")


def test_fields_below_class_folders(tmp_path):
    put(tmp_path, "yes/0a_nohash_1.wav no/1b_nohash_2.wav")
    found = read(tmp_path, label="{speaker}_nohash_{n}", group="speaker")
    assert found.targets.tolist() == ["no", "yes"]
    assert found.groups.tolist() == ["1b", "0a"]
    by_path = read(tmp_path, label="{word}/{speaker}_nohash_{n}", target="word")
    assert by_path.targets.tolist() == ["no", "yes"]


def test_names_that_say_nothing_are_refused_with_the_ways_out(tmp_path):
    with pytest.raises(DataError, match=r"nothing says what is heard") as caught:
        read(put(tmp_path, "hello.wav world.wav"))
    assert "{label}_{speaker}_{n}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(DataError, match=r"fits none of the names, such as hello\.wav"):
        read(tmp_path, label="{a}+{b}")


def test_names_that_do_not_fit_are_left_out(tmp_path):
    found = read(put(tmp_path, [*DIGITS, "readme.wav"]))
    assert len(found.examples) == 30
    assert "readme.wav: nothing says its 'label' -> left out" in told(found)


def test_names_of_undecodable_bytes_can_be_shown(tmp_path):
    put(tmp_path, DIGITS)
    (tmp_path / "0_\udcff_9.wav").write_bytes(wav(tone()))
    found = read(tmp_path, target="speaker")
    assert {name.isprintable() for name in [*found.targets, *found.ids]} == {True}
    assert "\\udcff" in found.targets.tolist()


def test_texts_beside_make_it_transcription(tmp_path):
    put(tmp_path, "a.wav b.wav c.wav")
    (tmp_path / "transcripts.txt").write_text("a\tyes, sir\nb\tno\n")
    found = read(tmp_path)
    assert found.task == "transcribe"
    assert found.targets.tolist() == ["yes, sir", "no"]
    assert "c.wav: nothing says its 'text' -> left out" in told(found)
    (tmp_path / "transcripts.txt").unlink()
    (tmp_path / "labels.csv").write_text("file,label,speaker\na.wav,x,anna\nb.wav,y,otto\nc.wav,x,otto\n")
    found = read(tmp_path)
    assert (found.task, found.targets.tolist()) == ("", ["x", "y", "x"])
    assert read(tmp_path, target="speaker").targets.tolist() == ["anna", "otto", "otto"]


def test_a_table_may_add_fields_to_class_folders(tmp_path):
    put(tmp_path, "yes/1.wav no/2.wav")
    (tmp_path / "metadata.csv").write_text("file,speaker,age\n1.wav,anna,7\n2.wav,otto,8\n")
    found = read(tmp_path, group="speaker")
    assert (found.targets.tolist(), found.groups.tolist()) == (["no", "yes"], ["otto", "anna"])


def test_a_table_of_names_alone_says_nothing(tmp_path):
    put(tmp_path, "a.wav b.wav")
    (tmp_path / "transcripts.txt").write_text("a.wav\nb.wav\n")
    with pytest.raises(DataError, match="nothing says what is heard"):
        read(tmp_path)


def test_labels_are_texts_when_asked(tmp_path):
    found = read(put(tmp_path, DIGITS), task="transcribe")
    assert found.task == "transcribe"
    assert found.targets[0] == "0"


def test_broken_recordings_are_told_and_left_out(tmp_path):
    put(tmp_path, DIGITS)
    put(tmp_path, "0_anna_7.wav", b"RIFF")
    put(tmp_path, "0_anna_8.wav", riff(chunk(b"fmt ", fmt(rate=0)), chunk(b"data", b"\0\0")))
    put(tmp_path, "1_anna_9.mp3", b"ID3")
    (tmp_path / "0_anna_6.wav").symlink_to(tmp_path / "0_anna_0.wav")
    found = read(tmp_path)
    assert len(found.examples) == 30
    assert len(found.targets) == len(found.ids) == len(found.facts["fields"]["n"]) == 30
    problems = told(found)
    assert "1_anna_9.mp3: a recording that is no WAVE file: .mp3 -> left out" in problems
    assert any(p.startswith("0_anna_7.wav: cannot be read: it ends after 4 bytes") for p in problems)
    assert any(p.startswith("0_anna_8.wav: cannot be read: its header states 0 samples a second") for p in problems)
    bad = put(tmp_path / "bad", "0_a_1.wav 1_b_1.wav", b"nothing")
    with pytest.raises(DataError, match=r"none of its recordings can be read\. 0_a_1\.wav: it does not begin"):
        read(bad)


def test_one_rate_for_all(tmp_path):
    put(tmp_path, [name for name in DIGITS if name != "2_otto_4.wav"])
    (tmp_path / "2_otto_4.wav").write_bytes(wav(tone(300, 0.1, 16000), 16000))
    found = read(tmp_path)
    assert found.examples.rate == 8000
    assert len(found.examples.waves[29]) == 800
    assert "1 recordings have 16,000" not in told(found)
    assert any("1 recordings have 16000 samples a second -> resampled to 8000" in line for line in told(found))
    there = read(tmp_path, rate=16000)
    assert (there.examples.rate, len(there.examples.waves[0])) == (16000, 320)


def test_the_rate_is_that_of_the_training_recordings(tmp_path):
    put(tmp_path, DIGITS)
    for name in DIGITS:
        if name[-5] in "01234" and name[-5] != "4":
            (tmp_path / name).write_bytes(wav(tone(300, 0.02, 16000), 16000))
    assert read(tmp_path).examples.rate == 16000
    assert read(tmp_path, test_fields="n=0-3").examples.rate == 8000


def test_stereo_and_silence_are_told(tmp_path):
    put(tmp_path, DIGITS)
    (tmp_path / "0_anna_0.wav").write_bytes(wav(np.stack([tone(), -tone()], 1), channels=2))
    found = read(tmp_path)
    assert any("recordings of several channels: 1 -> averaged" in line for line in told(found))
    assert any("recordings that are silent throughout: 1 -> kept" in line for line in told(found))


def test_memory_is_bounded(tmp_path, monkeypatch):
    put(tmp_path, "a_1.wav b_1.wav", wav(np.zeros(300_000)))
    with pytest.raises(DataError, match=r"take more than 1 MiB; data\.memory=MiB allows more"):
        read(tmp_path, memory=1)
    put(tmp_path, "a_1.wav b_1.wav", wav(np.zeros(100_000), 100))
    with pytest.raises(DataError, match="at 384000 samples a second its recordings take more than"):
        read(tmp_path, rate=384_000, memory=16)


def test_archives_and_folders_give_the_same(tmp_path):
    root = put(tmp_path / "digits", DIGITS)
    shutil.make_archive(str(tmp_path / "digits"), "gztar", tmp_path, "digits")
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
        for name in DIGITS:
            archive.write(root / name, name)
    wanted = read(root)
    for path in (tmp_path / "digits.tar.gz", tmp_path / "digits.zip"):
        found = read(path)
        assert found.name == "digits"
        assert found.targets.tolist() == wanted.targets.tolist()
        assert all(np.array_equal(a, b) for a, b in zip(found.examples.waves, wanted.examples.waves, strict=True))


def parts(source, split):
    return [source.ids[row].split(" + ") for row in source.given[split]]


@pytest.mark.parametrize("settings", [{}, {"test_fields": "n=0"}, {"group": "speaker"}])
def test_joined_recordings_never_cross_a_split(tmp_path, settings):
    names = [f"{d}_{who}_{n}.wav" for d in range(4) for who in "abcdefghij" for n in range(2)]
    found = read(put(tmp_path, names), join=3, **settings)
    assert found.task == "transcribe"
    heard = {split: {clip for row in parts(found, split) for clip in row} for split in ("train", "validation", "test")}
    assert sum(map(len, heard.values())) == len(set().union(*heard.values())) == 80
    assert {split: len(rows) for split, rows in found.given.items()} == {s: len(c) for s, c in heard.items()}
    if "test_fields" in settings:
        assert all(clip.endswith("_0.wav") for clip in heard["test"])
    if "group" in settings:
        assert not {c.split("_")[1] for c in heard["test"]} & {c.split("_")[1] for c in heard["train"]}


def test_a_joined_wave_is_its_clips_end_to_end(tmp_path):
    put(tmp_path, DIGITS)
    one, found = read(tmp_path), read(tmp_path, join=4, joined=7)
    assert len(found.given["train"]) == 7
    clip = dict(zip(one.ids, one.examples.waves, strict=True))
    for row, name in enumerate(found.ids):
        names = name.split(" + ")
        np.testing.assert_array_equal(found.examples.waves[row], np.concatenate([clip[each] for each in names]))
        assert found.targets[row] == " ".join(each[0] for each in names)
    assert found.examples.waves[0].dtype == np.int16


def test_joining_is_drawn_by_the_split_seed_alone(tmp_path):
    put(tmp_path, DIGITS)
    assert read(tmp_path, join=3).ids == read(tmp_path, join=3).ids
    assert read(tmp_path, join=3).ids != read(tmp_path, join=3, split_seed=1).ids
    long = read(tmp_path, join=50)  # more than there are: clips come again
    assert {len(clips) for clips in parts(long, "validation")} == {50}


def test_joining_without_a_test_or_validation_split_says_so(tmp_path):
    put(tmp_path, DIGITS)
    with pytest.raises(DataError, match=r"none of 30 recordings is left for the validation split"):
        read(tmp_path, join=2, group="speaker")  # of two groups one is the test, the other is needed to train on
    with pytest.raises(DataError, match=r"left for the validation split; data\.validation=0"):
        read(tmp_path, join=2, group="speaker", test=0.5)
    found = read(tmp_path, join=2, group="speaker", test=0.5, validation=0.0)
    assert {clip.split("_")[1] for row in parts(found, "test") for clip in row} in ({"anna"}, {"otto"})


def test_recordings_to_predict_need_no_labels(tmp_path):
    put(tmp_path, "hello.wav world.wav")
    found = unlabelled(open_tree(tmp_path))
    assert (found.targets, found.ids, found.examples.rate) == (None, ["hello.wav", "world.wav"], 8000)
    alone = unlabelled(open_tree(tmp_path / "hello.wav"))
    assert (alone.name, len(alone.examples)) == ("hello", 1)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no recordings"):
        unlabelled(open_tree(tmp_path / "none"))


@pytest.mark.shared_data
def test_the_spoken_digits(shared_data):
    found = read(shared_data / "fsdd" / "fsdd-recordings.tar.gz", test_fields="n=0-4")
    assert {name: len(rows) for name, rows in found.given.items()} == {"train": 2700, "test": 300}
    assert found.examples.rate == 8000
    assert all(wave.dtype == np.int16 for wave in found.examples.waves)
    values, counts = np.unique(found.targets.astype(str), return_counts=True)
    assert (values.tolist(), set(counts)) == (list("0123456789"), {300})
    assert len(set(found.facts["fields"]["speaker"])) == 6
    with tarfile.open(shared_data / "fsdd" / "fsdd-recordings.tar.gz") as archive:
        raw = archive.extractfile("fsdd/recordings/7_jackson_32.wav").read()
    row = next(row for row, name in enumerate(found.ids) if name.endswith("/7_jackson_32.wav"))
    np.testing.assert_array_equal(found.examples.waves[row], np.frombuffer(raw[44:], "<i2"))


def test_files_that_are_too_large_are_never_opened(tmp_path, monkeypatch):
    put(tmp_path, DIGITS)
    (tmp_path / "0_anna_0.wav").write_bytes(wav(np.zeros(2000)))
    monkeypatch.setattr(gathering, "FILE_LIMIT", 3000)
    found = read(tmp_path)
    assert len(found.examples) == 29
    assert "0_anna_0.wav: cannot be read: it is larger than 1 GiB -> left out" in told(found)
