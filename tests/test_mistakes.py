"""Typing mistakes: each is answered with the nearest right thing in one to three lines, exit code 2 or 3.

Every mistake runs twice in process, as it stands and with `--json`: the same words on stderr, and one JSON object on
stdout. Nothing may be left behind, neither a run folder nor a changed file.
"""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from netwright import cli

TOML = {
    "broken.toml": "seed = = 3\n[data\n",
    "table.toml": "[trainning]\nepochs = 3\n",
    "key.toml": "[training]\nepoch = 3\n",
    "type.toml": '[training]\nepochs = "three"\n',
    "nan.toml": '[optimizer]\nname = "sgd"\nlr = nan\n',
    "inf.toml": '[optimizer]\nname = "sgd"\nlr = inf\n',
    "top.toml": "epochs = 3\n",
    "flat.toml": "training = 3\n",
    "number.toml": "[network]\nname = 3\n",
    "twice.toml": "seed = 1\nseed = 2\n",
    "column.toml": '[data]\npath = "table.csv"\ntarget = "prise"\n',
    "layers.toml": '[network]\nname = "stack"\nlayers = "konv 8 3, linear out"\n',
}


def pictures(folder, classes, count=8, size=(12, 12, 3)):
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for place in range(count):
            Image.fromarray(random.integers(0, 255, size, dtype=np.uint8)).save(folder / name / f"{place}.png")


def table(path, names, rows=40):
    random = np.random.default_rng(1)
    kinds = {"kind": "ab", "sort": "xyz", "colour": ("red", "blue")}
    lines = [",".join(names)]
    for row in range(rows):
        cells = [kinds[name][row % len(kinds[name])] if name in kinds else f"{random.normal():.3f}" for name in names]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, recipes and finished runs to be mistaken about."""
    place = tmp_path_factory.mktemp("mistakes")
    pictures(place / "pets", ("cats", "dogs"))
    pictures(place / "birds", ("owls", "ducks"))
    pictures(place / "loose", ("heap",), 3)
    for file in (place / "loose" / "heap").iterdir():
        file.rename(place / "loose" / file.name)
    (place / "loose" / "heap").rmdir()
    (place / "empty").mkdir()
    (place / "letters").mkdir()
    (place / "letters" / "dear.doc").write_text("x")
    (place / "two.toml").mkdir()
    table(place / "table.csv", ("height", "width", "colour", "price", "kind"))
    table(place / "sorts.csv", ("height", "width", "colour", "price", "sort"))
    table(place / "narrow.csv", ("height", "kind"))
    np.savez(place / "steps.npz", x=np.zeros((30, 5, 3), np.float32), y=np.arange(30) % 2)
    for name, text in TOML.items():
        (place / name).write_text(text, encoding="utf-8")
    (place / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    trainings = {
        "digits-run": "digits network=mlp epochs=1",
        "iris-run": "iris epochs=1",
        "diabetes-run": "diabetes epochs=1",
        "table-run": f"{place / 'table.csv'} data.target=kind epochs=1",
        "pets-run": f"{place / 'pets'} network=mlp epochs=1",
    }
    for name, words in trainings.items():
        assert cli._run(["train", *words.split(), "--out", str(place / name), "--quiet"]) == 0
    return place


@pytest.fixture
def typed(place, monkeypatch, capsys):
    """Type a command line in `place`; gives exit code, stdout and stderr."""
    monkeypatch.chdir(place)

    def typed(words):
        capsys.readouterr()
        code = cli._run(shlex.split(words) if isinstance(words, str) else words)
        return code, *capsys.readouterr()

    return typed


COMMANDS = [
    ("lookk digits", 2, "Did you mean 'look'?"),
    ("trian digits", 2, "Did you mean 'train'?"),
    ("pridict digits-run x", 2, "Did you mean 'predict'?"),
    ("Train digits", 2, "Did you mean 'train'?"),
    ("look digits --jsom", 2, "Did you mean '--json'?"),
    ("--jsn look digits", 2, "Did you mean '--json'?"),
    ("train digits --ot x", 2, "Did you mean '--out'?"),
    ("train digits --requir accuracy>=1", 2, "Did you mean '--require'?"),
    ("evaluate digits-run --out x", 2, "there is no option '--out'"),
    ("--lang fr look digits", 2, "'fr'; it is one of: en, zh"),
    ("look digits --lang", 2, "it is one of: en, zh"),
    ("look", 2, "Missing argument"),
    ("predict digits-run", 2, "Missing argument 'INPUT...'"),
    ("resume", 2, "See: netwright resume --help"),
    ("anatomy convnet --outputs ten", 2, "'--outputs'"),
    ("anatomy convnet --input 1;28;28", 2, "it is 784, 28,28 or 1,28,28"),
    ("anatomy convnet --input 1,28", 2, "takes images"),
    ("anatomy convnet --input 0,28,28", 2, "channels,height,width"),
    ("anatomy convnet --outputs 0", 2, "a whole number above 0"),
    ("anatomy lenet5 --input 1,3,3", 2, "it takes 16x16 or more"),
]
FAMILIES = [
    ("list loses", 2, "Did you mean 'losses'?"),
    ("list network s", 2, "unexpected extra argument"),
    ("show losss mse", 2, "Did you mean 'losses'?"),
    ("show loss cross_entrop", 2, "Did you mean 'cross_entropy'?"),
    ("show loss", 2, "show loss wants a part's name. Known: cross_entropy"),
    ("show metric acuracy", 2, "Did you mean 'accuracy'?"),
    ("show network konvnet", 2, "Did you mean 'convnet'?"),
    ("show optimizer addam", 2, "Did you mean 'adam'?"),
    ("anatomy convnett", 2, "Did you mean 'convnet'?"),
    ("anatomy mlp hiden=[3]", 2, "Did you mean 'hidden'?"),
    ("anatomy mlp hidden=256", 2, "it is a list"),
]
DATA = [
    ("look digts", 3, "Did you mean 'digits'?"),
    ("look irris", 3, "Did you mean 'iris'?"),
    ("look diabets", 3, "Did you mean 'diabetes'?"),
    ("look qqq", 3, "Embedded sets: digits, iris"),
    ("look petss", 3, "Did you mean 'pets'?"),
    ("look tabel.csv", 3, "Did you mean 'table.csv'?"),
    ("look pets/catz", 3, "Did you mean 'pets/cats'?"),
    ("look pets/cats/0.pgn", 3, "Did you mean 'pets/cats/0.png'?"),
    ("look loose", 3, "put each class into its own folder"),
    ("look pets/cats", 3, "put each class into its own folder"),
    ("look empty", 3, "holds no files"),
    ("look letters", 3, "(.doc) are none of the data"),
    ("look ''", 3, "is no path to data"),
    ("look two.toml", 3, "holds no files"),
    ("train digits iris", 2, "is no override"),
    ("train epochs=3 digits", 2, "is no override"),
    ("train epochs=3 table.csv", 2, "one DATA or recipe.toml stands first"),
]
DATA_SETTINGS = [
    ("look digits data.normalise=unit", 2, "Did you mean 'normalize'?"),
    ("look digits dta.limit=3", 2, "Did you mean 'data'?"),
    ("look digits limit=3", 2, "Did you mean 'data.limit'?"),
    ("look digits data.test=2", 2, "it lies between 0 and 0.9"),
    ("look digits data.test=tset.csv", 3, "tset.csv does not exist"),
    ("look digits data.validation=-0.1", 2, "it lies between 0 and 0.9"),
    ("look digits data.batch_size=0", 2, "it lies between 1 and"),
    ("look digits data.batch_size=many", 2, "it is a whole number or 'auto'"),
    ("look digits data.limit=-1", 2, "it is at least 0"),
    ("look digits data.normalize=std", 2, "Did you mean 'standard'?"),
    ("look digits data.task=clasify", 2, "Did you mean 'classify'?"),
    ("look digits data.drop_duplicates=yes", 2, "it is true or false"),
    ("look digits data.header=true", 2, "has no setting 'header'"),
    ("look table.csv data.target=kind data.size=32", 2, "data (table) has no setting 'size'"),
    ("look pets data.size=abc", 2, "96"),
    ("look pets data.encoding=utf-8", 2, "has no setting 'encoding'"),
    ("look table.csv", 3, "the columns are: height, width, colour, price, kind"),
    ("look table.csv data.target=", 3, "the columns are: height, width, colour, price, kind"),
    ("look table.csv data.target=prise", 3, "Did you mean 'price'?"),
    ("look table.csv data.target=Kind", 3, "Did you mean 'kind'?"),
    ("look table.csv data.target=kind data.group=hight", 3, "Did you mean 'height'?"),
    ("look table.csv data.target=kind data.encoding=utf-9", 2, "Did you mean 'utf-8'?"),
    ("look pets data.target=cats", 2, "has none to choose"),
    ("look digits data.group=person", 2, "has no"),
    ("train digits data.augment=flp", 2, "Did you mean 'flip'?"),
    ("train digits 'data.augment=crop(2'", 2, "a bracket opens and is never closed"),
    ("train iris data.augment=flip", 2, "changes pictures"),
]
TASKS = [
    ("train digits network=mlp loss=mse", 2, "this task is classify: cross_entropy"),
    ("train diabetes loss=cross_entropy", 2, "this task is regress: mse"),
    ("train iris data.task=regress", 3, "data.task=classify?"),
    ("train table.csv data.target=kind data.task=regress", 3, "data.task=classify?"),
    ("train digits network=perceptron", 2, "Use network 'softmax'"),
    ("train digits network=logistic", 2, "Use network 'softmax'"),
    ("train iris network=lstm", 2, "Use network 'mlp'"),
    ("train table.csv data.target=kind network=convnet", 2, "Use network 'mlp'"),
    ("train diabetes class_weights=balanced", 2, "this task has no classes"),
    ("train diabetes network=softmax", 2, "class"),
]
PARTS = [
    ("train digits network=mpl", 2, "Did you mean 'mlp'?"),
    ("train digits netwrok=mlp", 2, "Did you mean 'network'?"),
    ("train digits network=mlp network.hidn=3", 2, "Did you mean 'hidden'?"),
    ("train digits network=mlp network.activation=rleu", 2, "Did you mean 'relu'?"),
    ("train digits network=mlp network.hidden=[16,-2]", 2, "each layer has 1 to"),
    ("train digits network=mlp network.dropout=1.5", 2, "it lies between 0 and 0.999"),
    ("train digits loss=cross_entrpy", 2, "Did you mean 'cross_entropy'?"),
    ("train digits loss.label_smothing=0.1", 2, "Did you mean 'label_smoothing'?"),
    ("train digits loss.label_smoothing=2", 2, "it lies between 0 and"),
    ("train digits optimizer=adm", 2, "Did you mean 'adam'?"),
    ("train digits optimizer=sgd optimizer.learning=1", 2, "Known: lr, weight_decay"),
    ("train digits optimizer.lr=-1", 2, "it lies between 0 and 1000"),
    ("train digits optimizer.lr=fast", 2, "lr = 'fast'; it is a finite number"),
    ("train digits optimizer.lr=nan", 2, "lr = nan; it is a finite number"),
    ("train digits optimizer.lr=inf", 2, "it lies between 0 and 1000"),
    ("train digits optimiser.lr=1", 2, "Did you mean 'optimizer'?"),
    ("train digits schedule=cosin", 2, "Did you mean 'cosine'?"),
    ("train digits schedule=step schedule.gama=3", 2, "Did you mean 'gamma'?"),
]
TRAINING = [
    ("train digits epoch=3", 2, "Did you mean 'epochs'?"),
    ("train digits epochs=0", 2, "it lies between 1 and"),
    ("train digits epochs=ten", 2, "it is a whole number or 'auto'"),
    ("train digits epochs=1.5", 2, "it is a whole number or 'auto'"),
    ("train digits epochs=", 2, "epochs = ''"),
    ("train digits epochs", 2, "one looks like epochs=3"),
    ("train digits =3", 2, "one looks like epochs=3"),
    ("train digits seed=-1", 2, "seed = -1; it lies between 0 and"),
    ("train digits seed=lucky", 2, "it is a whole number"),
    ("train digits precision=float31", 2, "Did you mean 'float32'?"),
    ("train digits until=accurcy>=0.9", 2, "Did you mean 'accuracy'?"),
    ("train digits until=accuracy=0.9", 2, "a condition looks like accuracy>=0.98"),
    ("train digits until=rmse<=1", 2, "there is no metric 'rmse' here"),
    ("train digits until=accuracy>=0.9 data.validation=0", 2, "looks at validation examples, and there are none"),
    ("train digits stop_after=-1", 2, "it lies between 0 and"),
    ("train digits stop_after=3 data.validation=0", 2, "looks at validation examples, and there are none"),
    ("train digits folds=1", 2, "it lies between 2 and"),
    ("train iris folds=900", 2, "it lies between 2 and 120 here"),
    ("train digits class_weights=[1,2]", 2, "it is 10 numbers, one a class"),
    ("train iris class_weights=[1,2,-3]", 2, "it is 3 numbers, one a class"),
    ("train digits class_weights=balance", 2, "Did you mean 'balanced'?"),
    ("train digits device=cudaa", 2, "it is auto, cpu, cuda or cuda:0"),
    ("train digits threads=0", 2, "it lies between 1 and 4096"),
    ("train digits clip_norm=-1", 2, "it is at least 0"),
    ("train digits save_seconds=soon", 2, "it is a finite number"),
    ("train digits --require acuracy>=0.9", 2, "Did you mean 'accuracy'?"),
    ("train digits --require rmse<=1", 2, "there is no metric 'rmse' here"),
    ("train digits --require accuracy=1", 2, "a condition looks like accuracy>=0.98"),
    ("train digits --fail-on E22", 2, "Did you mean 'E2'?"),
    ("train digits --out digits-run", 3, "already holds something; give another --out"),
    ("train digits --out table.csv", 3, "cannot be made"),
    ("train digits --out table.csv/run", 3, "cannot be made"),
]
RECIPES = [
    ("train nothere.toml", 3, "nothere.toml cannot be read: No such file"),
    ("train brokn.toml", 3, "Did you mean 'broken.toml'?"),
    ("train two.toml", 3, "is no regular file"),
    ("train bytes.toml", 2, "is not UTF-8 text (byte 0)"),
    ("train broken.toml", 2, "broken.toml is not TOML"),
    ("train twice.toml", 2, "twice.toml is not TOML"),
    ("train table.toml", 2, "Did you mean 'training'?"),
    ("train key.toml", 2, "Did you mean 'epochs'?"),
    ("train type.toml", 2, "epochs = 'three'"),
    ("train nan.toml", 2, "lr = nan"),
    ("train inf.toml", 2, "lr = inf"),
    ("train top.toml", 2, "It belongs below [training]"),
    ("train flat.toml", 2, "it is a table of settings"),
    ("train number.toml", 2, "it is a word"),
    ("train column.toml", 3, "Did you mean 'price'?"),
    ("train layers.toml", 2, "Did you mean 'conv'?"),
    ("train key.toml epochs=ten", 2, "Did you mean 'epochs'?"),
]
LAYERS = [
    ("", "needs layers, such as"),
    ("konv 16 5, linear out", "Did you mean 'conv'?"),
    ("dense 10", "Did you mean 'linear'?"),
    ("conv, linear out", "write `conv CHANNELS SIZE`"),
    ("conv 16, linear out", "missing size; write `conv CHANNELS SIZE`"),
    ("conv 16 5 6, linear out", "conv takes channels size"),
    ("conv 16 9, linear out", "height floor((8 + 2*0 - 9)/1) + 1 = 0"),
    ("conv 8 5, maxpool 2, conv 8 5, linear out", "height floor((2 + 2*0 - 5)/1) + 1 = -2"),
    ("maxpool 9, linear out", "height floor((8 + 2*0 - 9)/9) + 1 = 0"),
    ("conv 16 5 pad=sam, linear out", "it is valid, same, full"),
    ("conv 16 5 strid=2, linear out", "Did you mean 'stride'?"),
    ("conv 0 3, linear out", "channels = 0; it lies between 1 and"),
    ("conv 16 3 stride=0, linear out", "each 1 to 10000"),
    ("linear", "missing units; write `linear UNITS`"),
    ("linear 5", "gives 5 numbers; the data needs 10. End with `linear out`"),
    ("linear ten", "units = 'ten'; it is a whole number"),
    ("relu", "the data needs 10 numbers. End with `globalpool` or `linear out`"),
    ("conv 4 3", "gives 4x6x6; the data needs 10 numbers"),
    ("globalpool", "gives 1 numbers; the data needs 10"),
    ("residual(conv 16 3), linear out", "a sum of 1x8x8 and 16x6x6 is not possible"),
    ("residual(conv 16 3 pad=same, linear out", "a bracket opens and is never closed"),
    ("residual conv 3 3), linear out", "')' does not fit there"),
    ("parallel(conv 8 3 | conv 8 5), linear out", "its branches give 8x6x6, 8x4x4"),
    ("repeat (relu), linear out", "repeat takes a whole number from 1 to 1000"),
    ("lstm 8, linear out", "End with `last`, `mean` or `max`, then `linear out`"),
    ("linear 8, conv 4 3, linear out", "layer 2 'conv 4 3': conv wants maps"),
    ("linear 8, lstm 4, last, linear out", "layer 2 'lstm 4': lstm wants steps"),
    ("conv 4 3, groupnorm 3, linear out", "the nearest that fits is 2"),
    ("dropout 2, linear out", "it lies between 0 and 0.999"),
    ("linear out, softmax", "the loss applies the softmax. Leave it out"),
    ("linear out init=normal(sd=1)", "Did you mean 'std'?"),
    ("linear out init=he_norml", "Did you mean 'he_normal'?"),
    ("relu init=he_normal, linear out", "it has no weights that init could fill"),
    ("linear out bias=maybe", "it is true or false"),
    (",,", "an item is empty between commas"),
    ("linear out; rm", "';' is not understood"),
    ("embedding 8, mean, linear out", "embedding reads word numbers"),
]
RUNS = [
    ("resume digits-rnu", 3, "Did you mean 'digits-run'?"),
    ("resume nowhere/run", 3, "there is no run folder nowhere/run"),
    ("resume table.csv", 3, "table.csv is a file"),
    ("resume pets", 3, "is no run folder: recipe.toml is missing"),
    ("evaluate iris-rum", 3, "Did you mean 'iris-run'?"),
    ("report digit-run", 3, "Did you mean 'digits-run'?"),
    ("predict pets 1.png", 3, "is no run folder: recipe.toml is missing"),
    ("predict pets-run pets/cats/0.pgn", 3, "Did you mean 'pets/cats/0.png'?"),
    ("predict pets-run table.csv", 3, "table.csv holds table data (table); this run was trained on image data"),
    ("predict digits-run steps.npz", 3, "holds sequence data"),
    ("predict digits-run letters", 3, "none of the data"),
    ("predict digits-run empty", 3, "holds no files"),
    ("predict table-run narrow.csv", 3, "lack the column 'width'"),
    ("predict table-run pets", 3, "pets holds no table (.csv"),
    ("predict iris-run table.csv", 3, "lack the column"),
    ("predict table-run tabel.csv", 3, "Did you mean 'table.csv'?"),
    ("predict iris-run digits", 3, "digits holds image data (embedded); this run was trained on table data"),
    ("evaluate digits-run iris", 3, "iris holds table data (embedded); this run was trained on image data"),
    ("evaluate digits-run pets", 3, "class 'cats' is not one of the 10 known"),
    ("evaluate pets-run birds", 3, "is not one of the 2 known. Known: cats, dogs"),
    ("evaluate table-run sorts.csv", 3, "there is no column 'kind'"),
    ("evaluate table-run narrow.csv", 3, "lack the column 'width'"),
    ("evaluate diabetes-run iris", 3, "lack the column"),
    ("evaluate digits-run --require f2>=0.9", 2, "Did you mean 'f1'?"),
    ("evaluate diabetes-run --require accuracy>=0.9", 2, "there is no metric 'accuracy' here. Known: loss, mse"),
    ("compare digits-run", 2, "compare wants two runs or more, 1 came"),
    ("compare digits-run iris-run", 3, "were tested on different examples"),
    ("compare digits-run digits-rn", 3, "Did you mean 'digits-run'?"),
]
ROWS = [
    ("", "stdin held no rows"),
    ("setosa\n", "stdin line 1 is no JSON row"),
    ("5\n", "a row is an object or a list"),
    ("[5.1, 3.5, 1.4]\n", "row 1: 3 cells; there are 4 columns: sepal length (cm)"),
    ('{"sepal length (cm)": 5}\n', "lack the column 'sepal width (cm)'"),
    ("[5.1, 3.5, 1.4, 0.2]\n{bad\n", "stdin line 2 is no JSON row"),
    ("[5.1, 3.5, 1.4, [0.2]]\n", "'petal width (cm)' is a list"),
    ("[5.1, 3.5, 1.4, NaN]\n", "stdin line 1 is no JSON row: NaN"),
    ("[5.1, 3.5, 1.4, 1e999]\n", "the number 1e999... is too large"),
    ("[5.1, 3.5, 1.4, 1" + "0" * 5000 + "]\n", "is too large"),
    ('{"a": 1, "a": 2}\n', "a key stands twice"),
    ("[" * 100_000 + "\n", "nested too deeply"),
    ('["\\ud800", 3.5, 1.4, 0.2]\n', "it is not UTF-8 text"),
]
MISTAKES = [*COMMANDS, *FAMILIES, *DATA, *DATA_SETTINGS, *TASKS, *PARTS, *TRAINING, *RECIPES, *RUNS]


def answered(found, code, fragment):
    """Check what a mistake must look like: the code, words on stderr alone, one to three lines, no traceback."""
    assert found[0] == code, found
    assert found[1] == ""
    assert fragment in found[2]
    assert found[2].startswith("error: ")
    assert 1 <= len(found[2].splitlines()) <= 3
    assert "Traceback" not in found[2]
    assert not re.search(r"\bNone\b|<class|object at 0x", found[2])


def listing(place):
    """Names and sizes of all files below the folder."""
    return {str(file): file.stat().st_size for file in place.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("words", "code", "fragment"), MISTAKES, ids=[words for words, _, _ in MISTAKES])
def test_a_mistake_is_answered_with_the_nearest_right_thing(typed, place, words, code, fragment):
    before = listing(place)
    plain = typed(words)
    answered(plain, code, fragment)
    found, out, err = typed("--json " + words)
    told = json.loads(out)
    assert (found, err) == (code, plain[2])
    assert list(told) == ["error"]
    assert told["error"]["code"] == code
    assert f"error: {told['error']['message']}\n" == err
    assert listing(place) == before


@pytest.mark.parametrize(("layers", "fragment"), LAYERS, ids=[layers for layers, _ in LAYERS])
def test_a_stack_that_cannot_be_is_refused_with_layer_and_numbers(typed, place, layers, fragment):
    before = listing(place)
    answered(typed(["train", "digits", "network=stack", f"network.layers={layers}"]), 2, fragment)
    assert listing(place) == before


@pytest.mark.parametrize(("text", "fragment"), ROWS, ids=[text[:20] for text, _ in ROWS])
def test_bad_lines_on_stdin_are_refused_with_their_number(typed, monkeypatch, text, fragment):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    answered(typed("predict iris-run -"), 3, fragment)


def test_there_are_more_than_sixty_mistakes():
    assert len({words for words, _, _ in MISTAKES}) == len(MISTAKES) >= 70


def test_a_device_that_is_not_there_is_its_own_code(typed):
    import torch

    wanted = "cuda:99" if torch.cuda.is_available() else "cuda"
    code, _, err = typed(f"train digits device={wanted}")
    assert code == 5
    assert wanted in err


def test_the_answer_is_in_the_language_asked_for(typed):
    code, out, err = typed("--lang zh look digts")
    assert (code, out) == (3, "")
    assert "'digits'" in err
    assert re.search("[\u4e00-\u9fff]", err)
    assert "Did you mean" not in err


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        ("lookk digits", 2, "Did you mean 'look'?"),
        ("look digts", 3, "Did you mean 'digits'?"),
        ("train digits network=mpl", 2, "Did you mean 'mlp'?"),
        ("resume digits-rnu", 3, "Did you mean 'digits-run'?"),
    ],
)
def test_a_process_of_its_own_answers_alike(place, words, code, fragment):
    found = subprocess.run(
        [sys.executable, "-m", "netwright", *words.split()], cwd=place, capture_output=True, text=True, timeout=60
    )
    answered((found.returncode, found.stdout, found.stderr), code, fragment)
