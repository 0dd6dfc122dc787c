"""Predictions, evaluation and writing of runs on texts, tags, pairs, series and recordings."""

import io
import json

import numpy as np
import pytest
import torch
from waves import wav

import netwright as nw
from netwright.deploy.generate import Manner, Writer, chat, generate, poem_plan
from netwright.errors import DataError, UsageError
from netwright.randomness import seed_of

TEXTS = [f"{word} {number}" for number in range(40) for word in ("good film", "bad film", "fine day", "awful day")]
LABELS = np.array([["yes", "no", "yes", "no"][place % 4] for place in range(len(TEXTS))], object)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("sequence-runs")


@pytest.fixture(scope="module")
def classes(home):
    rows = "\n".join(f"{label}\t{text}" for label, text in zip(LABELS, TEXTS, strict=True))
    (home / "films.tsv").write_text("label\ttext\n" + rows + "\n", encoding="utf-8")
    small = {"name": "lstm", "hidden": 16, "embedding": 8}
    return nw.train(home / "films.tsv", small, epochs=25, out=home / "classes", quiet=True)


@pytest.fixture(scope="module")
def tags(home):
    lines = [f"{word}\t{tag}" for word, tag in (("we", "O"), ("saw", "O"), ("Ann", "B-PER"), ("Lee", "I-PER"))]
    (home / "train.conll").write_text(("\n".join(lines) + "\n\n") * 30, encoding="utf-8")
    small = {"name": "tagger_crf", "hidden": 8, "embedding": 8, "dropout": 0.0}
    return nw.train(home / "train.conll", small, epochs=60, out=home / "tags", quiet=True)


@pytest.fixture(scope="module")
def writer(home):
    verses = [
        "\u6625\u98ce\u5439\u8349\uff0c\u79cb\u6708\u7167\u6c5f\u3002",
        "\u5c71\u9ad8\u6c34\u957f\uff0c\u4eba\u8fdc\u5929\u6e05\u3002",
    ]
    poems = [{"title": str(place), "paragraphs": [verses[place % 2]]} for place in range(60)]
    (home / "poems").mkdir()
    (home / "poems" / "poems.json").write_text(json.dumps(poems, ensure_ascii=False), encoding="utf-8")
    small = {"name": "char_lm", "hidden": 16, "embedding": 8, "layers": 1, "dropout": 0.0}
    return nw.train(home / "poems", small, epochs=10, out=home / "writer", quiet=True)


@pytest.fixture(scope="module")
def translator(home):
    data = nw.read("reverse", examples=300)
    small = {"name": "seq2seq_attention", "hidden": 16, "embedding": 8, "dropout": 0.0}
    return nw.train(data, small, epochs=2, out=home / "translator", quiet=True)


def test_texts_files_and_lines_are_answered_alike(classes, home, tmp_path):
    (tmp_path / "new.txt").write_text("good film 7\nawful day 3\n", encoding="utf-8")
    found = classes.predict("good film 7", "awful day 3")
    assert [row["prediction"] for row in found] == ["yes", "no"]
    assert [row["input"] for row in found] == ["good film 7", "awful day 3"]
    of_file = classes.predict(tmp_path / "new.txt")
    assert [row["probabilities"] for row in of_file] == [pytest.approx(row["probabilities"]) for row in found]
    lines = classes.predictor().predict_lines(io.StringIO('"good film 7"\nawful day 3\n\n'))
    assert [row["prediction"] for row in lines] == ["yes", "no"]
    rows = classes.predictor().predict_lines(
        io.StringIO('{"text": "good film 7", "id": "a"}\n{"review": "awful day 3"}\n')
    )
    assert [row["prediction"] for row in rows] == ["yes", "no"]
    with pytest.raises(DataError, match="which cell is the text"):
        classes.predictor().predict_lines(io.StringIO('{"a": "good", "b": "film"}\n'))
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1)


def test_a_file_that_is_not_there_is_no_text(classes):
    with pytest.raises(DataError, match="there is no file"):
        classes.predict("mesages.txt")
    with pytest.raises(DataError, match="no rows"):
        classes.predictor().predict_lines(io.StringIO("\n"))


def test_evaluation_on_the_same_file_repeats_the_test(classes, home):
    own = classes.evaluate()
    assert own["metrics"]["accuracy"]["value"] == classes.test["accuracy"]
    other = classes.evaluate(home / "films.tsv")
    assert other["examples"] == len(TEXTS)
    assert {"value", "low", "high"} <= other["metrics"]["accuracy"].keys()


def test_one_tag_a_token(tags):
    found = tags.predictor().predict_lines(io.StringIO('["we", "saw", "Ann", "Lee"]\nwe saw Ann Lee\n'))
    assert [row["prediction"] for row in found] == [["O", "O", "B-PER", "I-PER"]] * 2
    assert found[1]["tokens"] == ["we", "saw", "Ann", "Lee"]
    assert tags.test["entity_f1"] == 1.0


def test_a_poem_holds_its_form_at_any_temperature(writer):
    trained = writer.predictor()
    for temperature in (0.0, 0.7, 2.0):
        found = generate(
            trained.forward, trained.targets, trained.encoder, form="4x5", manner=Manner(temperature), count=3
        )
        for row in found:
            lines = row["text"].split("\n")
            assert [len(line) for line in lines] == [12, 12]
            assert all(line[5] == "\uff0c" and line[11] == "\u3002" for line in lines)
            assert all(sign.isalpha() for line in lines for place, sign in enumerate(line) if place not in (5, 11))


def test_the_plan_of_a_poem():
    assert "".join(sign or "x" for sign in poem_plan(3, 2)) == "xx\uff0cxx\u3002\nxx\u3002"


def test_a_form_or_prompt_that_cannot_be_is_refused(writer):
    trained = writer.predictor()
    with pytest.raises(UsageError, match="verses x characters"):
        generate(trained.forward, trained.targets, trained.encoder, form="seven")
    with pytest.raises(UsageError, match="does not begin a poem"):
        generate(trained.forward, trained.targets, trained.encoder, "\u6625\uff0c", form="4x5")
    with pytest.raises(UsageError, match="whole numbers above 0"):
        generate(trained.forward, trained.targets, trained.encoder, count=0)


def test_temperature_nought_takes_the_likeliest_token_and_a_seed_repeats(writer):
    trained = writer.predictor()
    model, tokenizer = trained.forward.model, trained.encoder.tokenizer
    prompt = "\u6625\u98ce"
    tokens = [3, *tokenizer.encode(prompt)]
    for _ in range(6):
        scores = model(torch.tensor([tokens]))[0, -1].detach().clone()
        scores[[0, 1, 3]] = -torch.inf
        tokens.append(int(scores.argmax()))
    cold = Writer(trained.forward, trained.targets, Manner(0.0)).write(prompt, 6)
    wanted = tokens[3:]
    wanted = wanted[: wanted.index(2)] if 2 in wanted else wanted
    assert cold == prompt + tokenizer.decode(wanted)
    warm = [Writer(trained.forward, trained.targets, Manner(1.0, seed=seed)).write("", 20) for seed in (1, 1, 2)]
    assert warm[0] == warm[1]
    assert seed_of(1, "sample", 0) != seed_of(2, "sample", 0)


def test_predictions_of_a_language_model_are_continuations(writer):
    (row,) = writer.predict("\u6625\u98ce")
    cold = Writer(writer.predictor().forward, writer.predictor().targets, Manner(0.0)).write("\u6625\u98ce", 100)
    assert "\u6625\u98ce" + row["prediction"] == cold


def test_every_line_gets_a_reply(translator, classes):
    trained = translator.predictor()
    turns = list(chat(trained.forward, trained.targets, trained.encoder, ["abc", "", "hello "]))
    assert [turn["prompt"] for turn in turns] == ["abc", "hello"]
    (answer,) = translator.predict("abc")
    assert turns[0]["text"] == answer["prediction"]
    other = classes.predictor()
    with pytest.raises(UsageError, match="cannot talk"):
        chat(other.forward, other.targets, other.encoder, [])
    with pytest.raises(UsageError, match="writes nothing"):
        generate(other.forward, other.targets, other.encoder)


def test_a_series_is_continued_behind_its_last_row(home, tmp_path):
    rows = [f"{2000 + month // 12}-{month % 12 + 1:02d},{100 + month + 20 * np.sin(month / 2)}" for month in range(150)]
    (home / "sales.csv").write_text("month,sales\n" + "\n".join(rows) + "\n", encoding="utf-8")
    small = {"name": "forecaster", "hidden": 8, "dropout": 0.0}
    run = nw.train(home / "sales.csv", small, epochs=2, out=home / "sales", quiet=True)
    (row,) = run.predict(home / "sales.csv")
    assert len(row["prediction"]) == 12
    assert all(np.isfinite(row["prediction"]))
    (tmp_path / "short.csv").write_text("month,sales\n" + "\n".join(rows[:-30]) + "\n", encoding="utf-8")
    (earlier,) = run.predict(tmp_path / "short.csv")
    assert earlier["prediction"] != row["prediction"]
    changed = [*rows[:100], *(row.split(",")[0] + ",5" for row in rows[100:])]
    (tmp_path / "future.csv").write_text("month,sales\n" + "\n".join(changed[:120]) + "\n", encoding="utf-8")
    (tmp_path / "cut.csv").write_text("month,sales\n" + "\n".join(changed[:100]) + "\n", encoding="utf-8")
    (tmp_path / "real.csv").write_text("month,sales\n" + "\n".join(rows[:100]) + "\n", encoding="utf-8")
    assert run.predict(tmp_path / "cut.csv")[0]["prediction"] == run.predict(tmp_path / "real.csv")[0]["prediction"]
    (tmp_path / "few.csv").write_text("month,sales\n" + "\n".join(rows[:10]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="steps without a gap are needed"):
        run.predict(tmp_path / "few.csv")


def test_recordings_are_compared_two_by_two(home):
    folder = home / "voices"
    folder.mkdir()
    time = np.arange(2000) / 8000
    for speaker, pitch in (("ann", 300), ("bob", 900)):
        for number in range(40):
            wave = 0.3 * np.sin(2 * np.pi * (pitch + 5 * number) * time)
            (folder / f"{number}_{speaker}_{number}.wav").write_bytes(wav((32767 * wave).astype(int), 8000))
    data = nw.read(folder, task="verify", target="speaker")
    small = {"name": "speaker", "channels": 8, "embedding": 4}
    run = nw.train(data, small, epochs=3, out=home / "speakers", quiet=True)
    same, other = run.predict(
        folder / "0_ann_0.wav", folder / "1_ann_1.wav", folder / "0_ann_0.wav", folder / "1_bob_1.wav"
    )
    assert -1 <= other["value"] < same["value"] <= 1
    with pytest.raises(UsageError, match="two by two"):
        run.predict(folder / "0_ann_0.wav")


def test_too_few_recordings_to_make_pairs_are_judged_by_the_loss(tmp_path):
    time = np.arange(1600) / 8000
    for speaker, pitch in (("ann", 300), ("bob", 900), ("eve", 600)):
        for number in range(8):
            wave = 0.3 * np.sin(2 * np.pi * (pitch + 5 * number) * time)
            (tmp_path / f"{number}_{speaker}_{number}.wav").write_bytes(wav((32767 * wave).astype(int), 8000))
    data = nw.read(tmp_path, task="verify", target="speaker")
    run = nw.train(data, {"name": "speaker", "channels": 8, "embedding": 4}, epochs=2, out=tmp_path / "run", quiet=True)
    assert run.best_epoch in (1, 2)
    assert run.test["eer"] is not None
