"""Hostile input through the command line: no traceback, no hang, bounded memory, each bad thing refused or named.

The cases run in a few child processes, many in each: a child types every command line, with an alarm around it, and
tells code, words and time of each, and its own peak memory at the end.
"""

import gzip
import io
import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright import cli

CHILD = """
import contextlib, io, json, os, resource, signal, sys, time

resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
out_of_here = os.dup(1)
from netwright import cli
import netwright.run

class Hung(Exception):
    pass

def alarm(number, frame):
    raise Hung

signal.signal(signal.SIGALRM, alarm)
found = []
for words, stdin, limit in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.StringIO(stdin)
    started = time.monotonic()
    signal.alarm(limit)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli._run([os.fsdecode(word.encode("utf-8", "surrogateescape")) for word in words])
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"
    signal.alarm(0)
    sys.stdin = before
    found.append([code, out.getvalue(), err.getvalue(), time.monotonic() - started])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if os.path.exists("/proc/self/status"):  # getrusage counts what the parent held when it started this process
    lines = open("/proc/self/status").read().splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
os.write(out_of_here, json.dumps([found, peak]).encode())
"""
MOST_MEMORY = 2**30
WHOLE_PIXELS = ("empty_ancillary_chunks.png", "png_decompression_dos.png")
"""Their pixels are whole: what Pillow objects to lies in chunks of colours and texts, which are never decoded."""
LONGEST_S = 20


def type_all(folder, lines, stdin=""):
    """Type every command line in one child; returns [(code, stdout, stderr, seconds)] and checks what holds for all."""
    cases = [[[str(word) for word in words], stdin, LONGEST_S] for words in lines]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8:surrogateescape"}
    environment["NETWRIGHT_LANG"] = "en"
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        input=json.dumps(cases), capture_output=True, text=True, timeout=300, cwd=folder, env=environment,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    found, peak = json.loads(child.stdout)
    assert peak < MOST_MEMORY, f"{peak / 2**20:.0f} MiB"
    for words, (code, out, err, _) in zip(lines, found, strict=True):
        assert code in (0, 2, 3), (words, code, err[-600:])
        assert "Traceback" not in out + err
        if code:
            assert out == "" or ("--json" in words and list(json.loads(out)) == ["error"]), words
            refusal = err[err.index("error: ") :]
            assert 1 <= len(refusal.splitlines()) <= 3, (words, err)
    return found


def png(width, height, rows=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def classes(root, count=5, names="ab", size=(8, 8, 3)):
    """Class folders of small pictures that differ."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture = np.full(size, 100 * place + 10 * number + 5, np.uint8)
            picture[0, 0] = 0
            Image.fromarray(picture).save(root / name / f"{number}.png")
    return root


def unpacked(shared_data, name, folder):
    with tarfile.open(shared_data / "bad-inputs" / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return sorted(path for path in folder.rglob("*") if path.is_file())


# the shared folder of bad inputs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad_pictures(shared_data, tmp_path_factory):
    """What is said of each picture beside ten good ones, of all together, and of each by a run trained on all."""
    folder = tmp_path_factory.mktemp("pictures")
    origin = [p for name in ("bad-images", "odd-images") for p in unpacked(shared_data, name, folder / name)]
    for place, path in enumerate(origin):
        classes(folder / str(place))
        shutil.copy(path, folder / str(place) / "b" / f"x{path.suffix}")
        target = folder / "all" / ("even", "odd")[place % 2]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / f"{place}{path.suffix}")
    lines = [["look", str(place), "--json"] for place in range(len(origin))]
    lines += [["train", "all", "network=mlp", "epochs=1", "data.size=16", "--out", "run", "--json"]]
    lines += [["predict", "run", path, "--json"] for path in origin[::3]]
    lines += [["predict", "run", "all", "--json"], ["evaluate", "run", "all", "--json"]]
    found = iter(type_all(folder, lines))
    looked = {path: next(found) for path in origin}
    trained = next(found)
    predicted = {path: next(found) for path in origin[::3]}
    return looked, trained, predicted, *found


@pytest.mark.shared_data
def test_every_odd_picture_is_read_or_reported_by_name(bad_pictures):
    looked, _, predicted, *_ = bad_pictures
    assert len(looked) == 259
    left_out = []
    for path, (code, out, err, seconds) in looked.items():
        assert (code, err) == (0, ""), path
        assert seconds < 2, path
        told = json.loads(out)
        counts = {one["name"]: one["count"] for one in told["classes"]}
        named = [one for one in told["problems"] if one["where"] == f"b/x{path.suffix}" and one["action"] == "left out"]
        assert counts == {"a": 5, "b": 5 if named else 6}, (path, told["problems"])
        assert path not in predicted or (predicted[path][0] == 3) == bool(named), path
        left_out += [path] * bool(named)
    for path in set(looked) - set(left_out):  # nothing is taken that Pillow refuses
        if path.name not in WHOLE_PIXELS:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
                picture.load()
            assert picture.width * picture.height <= 25_000_000
            assert picture.format in ("PNG", "JPEG", "BMP", "WEBP", "GIF", "MPO")
    assert 60 < len(left_out) < 130


@pytest.mark.shared_data
def test_training_and_prediction_pass_over_the_broken_pictures(bad_pictures):
    _, trained, predicted, together, judged = bad_pictures
    assert trained[0] == 0
    assert "unreadable picture" in trained[2]  # the person hears of it before the training
    for path, (code, out, err, seconds) in predicted.items():
        assert seconds < 2, path
        assert path.name in (err if code else out)
        assert code == 0 or "no picture could be read" in err or path.suffix == ".bin"
    predictions = json.loads(together[1])["predictions"]
    assert 120 < len(predictions) < 200
    assert "left out" in together[2]
    assert json.loads(judged[1])["examples"] == len(predictions)


@pytest.fixture(scope="module")
def bad_files(shared_data, tmp_path_factory):
    """What `look` says of every text under several endings, and of every archive."""
    folder = tmp_path_factory.mktemp("files")
    origin = []
    for name in ("csv-cases", "json-cases", "text-encodings", "wav-cases"):
        for place, path in enumerate(unpacked(shared_data, name, folder / name)):
            for ending in sorted({path.suffix, ".csv", ".tsv", ".jsonl"}):
                copy = folder / f"{name}-{place}{ending}"
                shutil.copy(path, copy)
                origin.append((path, copy))
    archives = unpacked(shared_data, "unsafe-archives", folder / "unsafe") + sorted(
        (shared_data / "bad-inputs").iterdir()
    )
    before = sorted(folder.rglob("*"))
    found = type_all(folder, [["look", copy] for _, copy in origin] + [["look", file] for file in archives])
    assert sorted(folder.rglob("*")) == before
    assert not list(folder.parent.rglob("evil*"))
    texts = [(*pair, one) for pair, one in zip(origin, found, strict=False)]
    return texts, list(zip(archives, found[len(origin) :], strict=True))


@pytest.mark.shared_data
def test_every_odd_text_is_refused_or_read_as_a_table_or_a_text(bad_files):
    texts, _ = bad_files
    assert len(texts) > 1300
    for path, copy, (code, out, err, seconds) in texts:
        assert seconds < 2, path
        assert code == 3 or copy.suffix in (".csv", ".tsv", ".jsonl", ".txt"), path
        if path.name.startswith("n_") and copy.suffix == ".jsonl":  # no JSON at all: never read as far as its columns
            assert "which column" not in err, path
        assert (out == "") == bool(code)


@pytest.mark.shared_data
def test_unsafe_archives_are_refused(bad_files):
    _, archives = bad_files
    assert len(archives) == 16
    for file, (code, _, err, seconds) in archives:
        assert seconds < 10
        if file.suffix in (".zip", ".tar"):
            assert (code, "refused for its member" in err) == (3, True), (file, err)
        if file.suffix in (".npy", ".npz"):
            assert code == 3
            assert "Python objects" in err or "pickle" in err or "no array" in err or "x, y" in err, (file, err)


# made here: files ---------------------------------------------------------------------------------------------------


def bomb_pictures(root):
    classes(root)
    (root / "a" / "wide.png").write_bytes(png(50_000, 50_000, b"\0" * 1000))
    (root / "a" / "wider.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    (root / "b" / "full.png").write_bytes(png(2500, 2500, bytes(2500 * 7501)))  # 6 million pixels in 6 KB are legal
    (root / "b" / "empty.png").touch()
    (root / "b" / "text.png").write_text("no picture")


def odd_entries(root):
    classes(root)
    os.mkfifo(root / "a" / "pipe.png")
    os.symlink("..", root / "a" / "up")
    os.symlink("me", root / "me")
    os.symlink("/etc/passwd", root / "b" / "out.png")
    (root / "b" / "folder.png").mkdir()
    shutil.copy(root / "a" / "0.png", os.fsencode(root / "a") + b"/\xff\xfe.png")
    shutil.copy(root / "a" / "1.png", root / "a" / "two\nlines\x1b[31m.png")


def identical(root):
    for name in "ab":
        (root / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(np.full((8, 8), 7, np.uint8)).save(root / name / f"{number}.png")


def many_classes(root):
    for number in range(600):
        (root / f"c{number}").mkdir(parents=True)
        Image.fromarray(np.full((8, 8), number % 256, np.uint8)).save(root / f"c{number}" / "0.png")


def nothing_to_decode(root):
    for name in "ab":
        (root / name).mkdir(parents=True)
        (root / name / "1.png").touch()


def one_class(root):
    classes(root, names="a")


def slip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.png", b"x")
        archive.writestr("a/1.png", b"x")


def link_member(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("a/link.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)


def device_member(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("a/device.png")
        member.type = tarfile.CHRTYPE
        archive.addfile(member)


def inflating(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("table.csv", "w") as member:
        for _ in range(30):
            member.write(b"0" * 10_000_000)


def nested(path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a/1.png", b"x")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.zip", inner.getvalue())
        archive.writestr("2.zip", inner.getvalue())


def growing_idx(root):
    root.mkdir()
    with gzip.open(root / "train-images-idx3-ubyte.gz", "wb", 1) as file:
        file.write(struct.pack(">IIII", 2051, 60_000, 28, 28))
        for _ in range(60):
            file.write(bytes(10_000_000))
    with gzip.open(root / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">II", 2049, 60_000) + bytes(60_000))


def lying_idx(root):
    root.mkdir()
    (root / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 2**31 - 1, 2**31 - 1, 28))
    (root / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2**31 - 1))


def growing_csv(path):
    with gzip.open(path, "wb", 1) as file:
        file.write(b"a,label\n")
        for _ in range(40):
            file.write(b"1,2\n" * 2_500_000)


def pickled(path):
    np.savez(path, x=np.array([{}, 1], dtype=object), y=np.arange(2))


def arrays(**made):
    return lambda path: np.savez(path, **made)


def text(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def rows(line, count=20, head="a,b,label"):
    return text(head + "\n" + "".join(line(number) + "\n" for number in range(count)))


def huge_line(path):
    with path.open("wb") as file:
        file.write(b"a,label\n" + b"1" * 50_000_000 + b",x\n2,y\n")


def wide(path):
    cells = ",".join("1" * 100_000)
    head = ",".join(f"c{number}" for number in range(100_000))
    path.write_text(head + ",label\n" + "".join(f"{cells},{'xy'[row % 2]}\n" for row in range(4)))


def folder(path):
    path.mkdir()


TEN = np.linspace(0, 1, 40).reshape(10, 4)
FLAGS = np.arange(10) % 2
REFUSED = {
    "one-class": (one_class, "no class folders"),
    "undecodable": (nothing_to_decode, "none of its pictures can be read"),
    "slip.zip": (slip, "climbs out with '..'"),
    "link.tar": (link_member, "a link"),
    "device.tar": (device_member, "a device or FIFO"),
    "inflating.zip": (inflating, "200 times its size"),
    "nested.zip": (nested, "none of the data"),
    "growing-idx": (growing_idx, "more than the 47,040,016 bytes"),
    "lying-idx": (lying_idx, "the file has 16"),
    "growing.csv.gz": (growing_csv, "unpacks to more than"),
    "pickled.npz": (pickled, "holds Python objects"),
    "mismatch.npz": (arrays(x=TEN, y=FLAGS[:9]), "x holds 10 examples, its y 9 targets"),
    "empty.npz": (arrays(x=TEN[:0], y=FLAGS[:0]), "no examples"),
    "no-features.npz": (arrays(x=TEN[:, :0], y=FLAGS), "no examples"),
    "scalar.npz": (arrays(x=np.float64(3), y=FLAGS), "no examples"),
    "complex.npz": (arrays(x=TEN.astype(complex), y=FLAGS), "complex numbers"),
    "words.npz": (arrays(x=TEN.astype(str), y=FLAGS), "examples are numbers"),
    "five-axes.npz": (arrays(x=np.zeros((10, 2, 2, 2, 2)), y=FLAGS), "up to 3 axes"),
    "nul.csv": (text("a,label\n1,x\n2\0,y\n3,x\n"), "line 3: a NUL character"),
    "huge-line.csv": (huge_line, "line 2: a cell longer than 131072 characters"),
    "open-quote.csv": (text('a,label\n"' + "1,2\n" * 3_000_000), "A quote opened on line 2 may never close"),
    "wide.csv": (wide, "larger than a table may be"),
    "zero.csv": (text(""), "no rows"),
    "header.csv": (text("a,b,label\n"), "a header (a, b, label) and no rows"),
    "one-row.csv": (text("a,b,label\n1,2,x\n"), "one class only (x)"),
    "one-class.csv": (rows(lambda n: f"{n},{n},x"), "one class only (x)"),
    "same.csv": (rows(lambda n: f"1,1,{'xy'[n % 2]}"), "no column is left to learn from"),
    "all-missing.csv": (rows(lambda n: f",,{'xy'[n % 2]}"), "no column is left to learn from"),
    "no-targets.csv": (rows(lambda n: f"{n},{n},"), "every cell of the target column 'label' is empty"),
    "half-words.csv": (rows(lambda n: f"{n},{n},{n * 1.37 if n % 4 else 'off'}", 60), "data.task=regress leaves those"),
    "names.csv": (rows(lambda n: f"{n},{n},name{n}", 60), "60 classes for 60 examples"),
    "train.csv": (folder, "holds no files"),
    "pipe.csv": (os.mkfifo, "neither a folder nor a regular file: a FIFO"),
    "self.csv": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "nowhere.csv": (lambda path: path.symlink_to("gone"), "a link to a place that does not exist"),
    "deep.jsonl": (text("[" * 100_000), "nested too deeply"),
    "mixed.jsonl": (text('{"a": 1, "label": "x"}\n[1]\n'), "line 2: each line is one object"),
    "nan.jsonl": (text('{"a": NaN, "label": "x"}\n'), "NaN is no JSON number"),
    "half.jsonl": (text('{"a": 1, "label": "\\ud800"}\n'), "a lone surrogate"),
    "huge.jsonl": (text('{"a": ' + "9" * 5000 + ', "label": "x"}\n'), "is too large"),
    "inner.jsonl": (text('{"a": {"b": 1}, "label": "x"}\n'), "'a' is an object"),
    "bad.parquet": (text("PAR1xxxxPAR1"), "Parquet"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What `look` and `train` say of each."""
    place = tmp_path_factory.mktemp("refused")
    for name, (make, _) in REFUSED.items():
        make(place / name)
    looked = type_all(place, [["look", name] for name in REFUSED] + [["train", name, "epochs=1"] for name in REFUSED])
    assert not (place / "runs").exists()
    return {name: (looked[number], looked[number + len(REFUSED)]) for number, name in enumerate(REFUSED)}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_data_is_refused_in_one_clear_message(refused, name):
    for code, _, err, seconds in refused[name]:  # by `look` and by `train`, which leaves no run folder
        assert code == 3
        assert REFUSED[name][1] in err
        assert name.split(".")[0] in err or "-idx" in err or "x " in err or "no column is left" in err
        assert seconds < 6


READ = {
    "bombs": (bomb_pictures, ["50000x50000 pixels", "2147483647x2147483647 pixels", "b/empty.png", "b/text.png"]),
    "entries": (odd_entries, ["a FIFO", "a link", "two\\\\nlines\\\\x1b[31m.png"]),
    "identical": (identical, ["examples repeat"]),
    "many": (many_classes, []),
    "tiny": (lambda root: classes(root, size=(1, 1)), []),
    "flat": (lambda root: classes(root, size=(1, 3000)), []),
    "one-each": (lambda root: classes(root, 1), []),
    "two-rows.csv": (text("a,b,label\n1,2,x\n2,3,y\n"), []),
    "three-rows.csv": (text("a,b,label\n1,2,1.5\n2,3,2.5\n3,4,3.5\n"), []),
    "constant.csv": (rows(lambda n: f"{n},{n % 3},2.5"), []),
    "half-missing.csv": (rows(lambda n: f",{n},{'xy'[n % 2]}"), ["every cell is missing"]),
    "words.csv": (rows(lambda n: f"{n},{n % 7},{n * 1.37 if n != 7 else 'off'}", 60), ["1 targets are missing"]),
    "not-finite.csv": (rows(lambda n: f"{('inf', '-inf', 'nan', '1e999', '1', '2')[n % 6]},{n},{'xy'[n % 2]}"), []),
    "latin.csv": (text("a,label\n" + "1,é\n2,x\n".encode("latin-1").decode("latin-1") * 9), []),
    "nan.npz": (arrays(x=np.where(TEN < 0.1, np.nan, TEN), y=FLAGS), ["4 values are NaN or infinite"]),
    "huge.npz": (arrays(x=TEN * 1e300, y=FLAGS), []),
    "nan-target.npz": (arrays(x=TEN, y=np.where(TEN[:, 0] < 0.2, np.nan, TEN[:, 0] + 0.5)), []),
}


def test_odd_but_readable_data_is_reported_and_trains(tmp_path):
    for name, (make, _) in READ.items():
        make(tmp_path / name)
    lines = []
    for name in READ:
        run = f"run-{name.split('.')[0]}"
        lines += [["look", name, "--json"], ["train", name, "epochs=1", "--out", run, "--json"]]
        lines += [["predict", run, name, "--json"], ["evaluate", run, "--json"], ["report", run]]
    found = iter(type_all(tmp_path, lines))
    for name, (_, fragments) in READ.items():
        looked, trained, predicted, judged, told = (next(found) for _ in range(5))
        assert [one[0] for one in (looked, trained, predicted, judged, told)] == [0] * 5, name
        problems = json.dumps(json.loads(looked[1])["problems"])
        assert all(fragment in problems for fragment in fragments), (name, problems)
        assert sum(json.loads(looked[1])["examples"].values()) > 0
        assert json.loads(trained[1])["task"] in ("classify", "regress")
        assert json.loads(predicted[1])["predictions"]
        assert all(one[3] < 60 for one in (looked, trained, predicted, judged, told)), name


# made here: names and places ----------------------------------------------------------------------------------------

LONG = "x" * 5000
PLACES = [
    "a\0b",
    LONG,
    "x/" * 3000,
    "~nobody-of-that-name/x",
    "",
    " ",
    "a\nb",
    "\udcff\udcfe",
    "/dev/zero",
    "/dev/null",
]


RECIPES = {
    "pipe.toml": (os.mkfifo, 3),
    "zero.toml": (lambda path: path.symlink_to("/dev/zero"), 3),
    "deep.toml": (text("x = " + "[" * 50_000), 2),
    "long.toml": (text("#" * 2**25), 3),
    "words.toml": (text('seed = "' + "9" * 100_000 + '"'), 2),
}
OUTS = ["file", "file/run", "/proc/run", "/dev/null", "/dev/null/run", "\udcff", "a\0b", LONG]


def test_names_and_places_that_cannot_be_are_refused(tmp_path):
    classes(tmp_path / "pets")
    (tmp_path / "file").touch()
    for name, (make, _) in RECIPES.items():
        make(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    lines = [["train", name] for name in RECIPES]
    lines += [["train", "iris", "epochs=1", "--out", place] for place in OUTS]
    for place in PLACES:
        lines += [[verb, place] for verb in ("look", "resume", "report", "evaluate")]
        lines += [["train", place or " ", "epochs=1"], ["predict", "run", place], ["evaluate", "run", place]]
        lines += [["train", f"{place}.toml"], ["compare", "run", place]]
    found = type_all(tmp_path, [["train", "pets", "network=mlp", "epochs=1", "--out", "run"], *lines])
    assert found[0][0] == 0
    for words, (code, _, err, seconds) in zip(lines, found[1:], strict=True):
        assert code in (2, 3), (words, err)
        assert seconds < 3
        assert len(err) < 4000
        assert err.replace("\n", "").isprintable(), (words, err)
    assert [one[0] for one in found[1:6]] == [code for _, code in RECIPES.values()]
    assert all("run folder" in one[2] or "--out" in one[2] for one in found[6 : 6 + len(OUTS)])
    assert [path for path in sorted(tmp_path.rglob("*")) if "run" not in path.relative_to(tmp_path).parts[0]] == before


# made here: run folders ---------------------------------------------------------------------------------------------

SPOILT = {
    "missing": None,
    "empty": b"",
    "pickle": pickle.dumps(OSError),
    "deep": b"[" * 100_000,
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "number": b"5",
    "half": b'{"id": "\\ud800"}',
    "huge header": struct.pack("<Q", 2**62) + b"{}",
}


def spoil(path, how):
    """Put something else in the place of a file."""
    if path.is_file():
        path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif SPOILT[how] is not None:
        path.write_bytes(SPOILT[how])


def spoilt_runs(tmp_path, chosen):
    """Spoil copies of a finished run, one file and one way each, and let every verb loose on each of them."""
    assert cli._run(["train", "iris", "epochs=1", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    verbs = [["evaluate", "{}", "--json"], ["predict", "{}", "-", "--json"], ["compare", "{}", "run"]]
    verbs += [["report", "{}"], ["resume", "{}"]]
    files = sorted(path.relative_to(tmp_path / "run") for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert {"best.json", "data.json", "recipe.toml", "run.json"} <= {str(file) for file in files}
    lines, spoilt = [[word.format("run") for word in words] for words in verbs], []
    ways = [*SPOILT, "folder", "pipe"]
    for place, file in enumerate(files):
        for number, how in enumerate(ways):
            copy = tmp_path / f"{place}-{how}"
            for words in verbs[: 5 if file.name != "report.html" else 3]:
                if chosen(5 * (place + number) + verbs.index(words)):
                    if not copy.exists():
                        shutil.copytree(tmp_path / "run", copy)
                        spoil(copy / file, how)
                    lines.append([word.format(copy.name) for word in words])
                    spoilt.append((str(file), how, words[0]))
    found = type_all(tmp_path, lines, "[5.1, 3.5, 1.4, 0.2]\n")
    right = {words[0]: one for words, one in zip(verbs, found[:5], strict=True)}
    refusals = 0
    for (file, how, verb), (code, out, err, _) in zip(spoilt, found[5:], strict=True):
        refusals += code != 0
        if code:
            assert code == 3, (file, how, verb, err)
            assert file.split("/")[-1] in err or "is no run folder" in err, (file, how, verb, err)
        elif verb == "predict":
            assert json.loads(out) == json.loads(right["predict"][1])
        elif verb == "evaluate":
            assert json.loads(out)["metrics"] == json.loads(right["evaluate"][1])["metrics"]
        if file in ("best.safetensors", "best.json", "data.json", "recipe.toml") and verb in ("predict", "evaluate"):
            assert code == 3, (file, how, verb)  # the sealed files: nothing is said from them
    return len(spoilt), refusals


def test_a_spoilt_run_folder_is_refused_by_name_or_still_right(tmp_path):
    cases, refusals = spoilt_runs(tmp_path, lambda number: number % 11 == 0)
    assert cases > 60
    assert refusals > 12


@pytest.mark.slow
def test_every_file_of_a_run_spoilt_in_every_way(tmp_path):
    """Every file replaced by twelve other things: each verb refuses, or answers as before."""
    cases, refusals = spoilt_runs(tmp_path, lambda number: True)
    assert cases > 800
    assert refusals > 200


def test_nothing_of_a_hostile_folder_is_executed(tmp_path):
    """Pickles in every place where a file is read: the canary that they would make stays away."""

    class Canary:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/canary",)

    payload = pickle.dumps(Canary())
    for name in (
        "x.npy",
        "x.npz",
        "x.csv",
        "x.jsonl",
        "x.parquet",
        "x.zip",
        "x.tar",
        "data_batch_1",
        "x.png",
        "x.toml",
    ):
        (tmp_path / name).write_bytes(payload)
    classes(tmp_path / "pets")
    (tmp_path / "pets" / "a" / "p.png").write_bytes(payload)
    (tmp_path / "batches").mkdir()
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (tmp_path / "batches" / name).write_bytes(payload)
    names = sorted(path.name for path in tmp_path.iterdir())
    found = type_all(tmp_path, [[verb, name] for name in names for verb in ("look", "train", "resume")])
    assert sum(one[0] == 0 for one in found) == 2  # the pictures beside the one that is a pickle
    assert not (tmp_path / "canary").exists()
    assert stat.S_ISREG(Path(tmp_path / "x.npy").stat().st_mode)
