"""Settings of `[data]`: each is refused, with the nearest right one, where it does not apply."""

import json

import pytest
from waves import wav

import netwright as nw
from netwright.catalogue import READERS, settings_of
from netwright.cli import _run
from netwright.data.embedded import EMBEDDED
from netwright.errors import UsageError
from netwright.recipe import DATA, data_settings, schema

READS = {
    "text": "labelled_text", "corpus": "corpus", "tags": "conll", "pairs": "pairs", "series": "series",
    "sounds": "recordings", "poems": "poems", "rows": "table",
}  # fmt: skip
SETS = ("iris", "reverse", "adding")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    home = tmp_path_factory.mktemp("kinds")
    found = {name: home / f"{name}.{ending}" for name, ending in (
        ("text", "tsv"), ("corpus", "txt"), ("tags", "conll"), ("pairs", "tsv"), ("series", "csv"), ("rows", "csv"),
    )}  # fmt: skip
    labelled = [f"{'spam' if i % 3 else 'ham'}\tsee you at home {i} or {i * i} times" for i in range(60)]
    found["text"].write_text("label\ttext\n" + "\n".join(labelled) + "\n")
    found["corpus"].write_text("\n".join(f"the cat sat on mat {i % 7} and went home" for i in range(300)))
    found["tags"].write_text("".join(f"w{i % 5} B-PER\nv{i % 7} O\n\n" for i in range(60)))
    found["pairs"].write_text("".join(f"one {i} of a kind here\tein {i} von einer Art da\n" for i in range(60)))
    found["series"].write_text(
        "date,value\n" + "".join(f"20{10 + i // 12}-{i % 12 + 1:02}-01,{i}\n" for i in range(90))
    )
    found["rows"].write_text("x,y,target\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(60)))
    found["sounds"], found["poems"] = home / "sounds", home / "poems"
    found["sounds"].mkdir()
    found["poems"].mkdir()
    for i in range(24):
        (found["sounds"] / f"{i % 2}_ann_{i}.wav").write_bytes(wav([(i * 37 + t * t) % 999 for t in range(900)]))
    poem = {"title": "x", "paragraphs": ["\u6625\u98ce\u5439\u8349\uff0c\u79cb\u6708\u7167\u6c5f\u3002"]}
    (found["poems"] / "poems.json").write_text(json.dumps([poem] * 20, ensure_ascii=False))
    return found


def a_value(setting):
    """Some value of its type that is not its default."""
    others = [choice for choice in setting.choices if choice != setting.default]
    if others:
        return others[-1]
    if bool in setting.kinds:
        return True
    if int in setting.kinds or float in setting.kinds:
        return int(setting.range.low) + 1 if setting.range else 1
    return "zz"


def special(own):
    """Settings that no general one of `[data]` is, and that are none of its own."""
    return [name for name in data_settings() if name not in DATA and name not in own]


@pytest.mark.parametrize("kind", READS)
def test_settings_of_other_readers_are_refused(places, kind):
    own = READERS[READS[kind]].settings
    foreign = [name for name in special(own) if (kind, name) != ("rows", "source")]  # that makes pairs of a table
    assert len(foreign) > 10
    for name in foreign:
        with pytest.raises(UsageError, match=rf"has no setting '{name}'\. (Did you mean|Known)"):
            nw.read(places[kind], **{name: a_value(data_settings()[name])})


@pytest.mark.parametrize("name", SETS)
def test_settings_of_readers_are_refused_for_made_sets(name):
    for setting in special(settings_of(EMBEDDED[name])):
        with pytest.raises(UsageError, match=rf"has no setting '{setting}'\. (Did you mean|Known)"):
            nw.read(name, **{setting: a_value(data_settings()[setting])})


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("text", {"window": 5}, "data.window = 5 cuts running text or a series"),
        ("tags", {"length": 5}, "data.length cuts texts, and would part tokens from their tags"),
        ("tags", {"tokens": "bpe"}, "data.tokens = 'bpe': the data divide these texts into tokens already"),
        ("pairs", {"classes": 3}, "data.classes: this task has no classes"),
        ("corpus", {"group": "x"}, "data.group = 'x' names a column, and .*corpus.txt has none"),
        ("corpus", {"task": "verify"}, "data.task = 'verify'; corpus holds data for: generate"),
        ("series", {"task": "tag"}, "data.task = 'tag'; series holds data for: forecast"),
        ("series", {"test": 0}, "a forecast needs data.test and data.validation above 0"),
        ("sounds", {"task": "transcribe", "window": 4}, "data.window = 4 cuts running text or a series"),
        ("text", {"augment": "flip"}, "data.augment = 'flip': these data are no pictures"),
        ("sounds", {"augment": "flip"}, "data.augment = 'flip': these data are no pictures"),
        ("text", {"vocabulary": 3}, "data.vocabulary = 3 leaves no token"),
        ("text", {"encoding": "utf8x"}, "data.encoding = 'utf8x' is not known. Did you mean|data.encoding"),
    ],
)  # fmt: skip
def test_general_settings_say_where_they_do_not_apply(places, kind, settings, words):
    with pytest.raises(UsageError, match=words):
        nw.read(places[kind], **settings)


def test_mistyped_settings_of_sequences_get_the_nearest(places, capsys):
    for kind, wrong, right in (("text", "tokns", "tokens"), ("series", "horizn", "horizon"), ("sounds", "mel", "mels")):
        code = _run(["look", str(places[kind]), f"data.{wrong}=3", "--quiet"])
        told = capsys.readouterr().err
        assert code == 2
        assert f"'{right}'" in told
        assert len(told.splitlines()) <= 3


def test_the_schema_and_the_cards_hold_every_setting(capsys):
    known = schema()["properties"]["data"]["properties"]
    for reader in READERS:
        assert _run(["show", "reader", reader, "--json", "--quiet"]) == 0
        card = json.loads(capsys.readouterr().out)
        assert card["settings"].keys() == READERS[reader].settings.keys() <= known.keys()
    assert known["tokens"]["enum"] == ["auto", "character", "word", "bpe"]
    assert _run(["show", "recipe", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["data"]["properties"] == known
    assert _run(["list", "readers", "--json", "--quiet"]) == 0
    assert {part["name"] for part in json.loads(capsys.readouterr().out)["parts"]} == set(READERS)
