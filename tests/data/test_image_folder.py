"""Folders of pictures: which shapes are recognised, what is read, and what is reported."""

import io
import shutil
import tarfile
import time
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.files.tree import SHOWN
from netwright.data.pictures.decode import decode, fit
from netwright.data.pictures.lazily import LazyPictures
from netwright.data.readers.image_folder import flat_pictures, image_folder, recognises
from netwright.data.source import InMemory
from netwright.errors import DataError, UsageError


def png(level=7, size=(8, 8), colour=True):
    file = io.BytesIO()
    Image.new("RGB" if colour else "L", size[::-1], (level, 0, 0) if colour else level).save(file, "PNG")
    return file.getvalue()


def put(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png() if content is None else content)
    return root


def layout(names):
    return dict.fromkeys(names.split())


RECOGNISED = [
    "train/ants/1.png train/bees/2.png val/ants/3.png val/bees/4.png",
    "ants/1.png bees/2.png",
    "wrap/ants/1.png wrap/bees/2.png",
    "wrap/train/ants/1.png wrap/train/bees/2.png wrap/test/ants/3.png README.txt",
    "Training/a/1.png TESTING/a/2.png Dev/a/3.png",
    "train/a/1.png train/b/1.png",
    "train/1.png plane/2.png boat/3.png",
    "a/deep/1.png b/2.png",
    "train/a/1.png test/a/2.png sample.png extra/3.png",
]
NOT_RECOGNISED = [
    "1.png 2.png",
    "only/1.png only/2.png",
    "train/1.png test/2.png",
    "train/1.png trainannot/1.png test/2.png testannot/2.png",
    "train/image/1.png train/label/1.png test/2.png",
    "x/train/images/1.png x/test/images/2.png x/questions.json",
    "images/1.png masks/1.png",
    "a/1.txt b/2.txt",
    "BCCD/JPEGImages/1.jpg BCCD/Annotations/1.xml",
    "readme.md",
]


@pytest.mark.parametrize("names", RECOGNISED)
def test_class_folders_are_recognised(tmp_path, names):
    with open_tree(put(tmp_path, layout(names))) as tree:
        assert recognises(tree)
        assert flat_pictures(tree) == 0
        assert READERS["image_folder"].facts["recognises"] is recognises
        assert len(image_folder(tree).examples) > 1


@pytest.mark.parametrize("names", NOT_RECOGNISED)
def test_what_has_no_class_folders_is_not(tmp_path, names):
    with open_tree(put(tmp_path, layout(names))) as tree:
        assert not recognises(tree)
        assert flat_pictures(tree) == sum(name.endswith((".png", ".jpg")) for name in names.split())
        with pytest.raises(DataError, match="holds no class folders of pictures"):
            image_folder(tree)


SPLIT = {
    "train/ants/1.png": png(1), "train/ants/2.png": png(2), "train/bees/3.png": png(3), "val/ants/4.png": png(4),
    "val/bees/5.png": png(5), "test/bees/6.png": png(6),
}  # fmt: skip


def test_splits_classes_targets_and_ids(tmp_path):
    source = image_folder(open_tree(put(tmp_path / "set", SPLIT)))
    assert (source.kind, source.name, source.classes) == ("image", "set", ["ants", "bees"])
    assert isinstance(source.examples, InMemory)
    tensor = source.examples.tensor
    assert tensor.dtype == torch.uint8
    assert tensor.shape == (6, 3, 8, 8)
    for place, name in enumerate(source.ids):
        level, folder = int(name[-5]), name.split("/")[1]
        assert (tensor[place, 0] == level).all()
        assert source.targets[place] == folder
    assert {split: [source.ids[p] for p in places] for split, places in source.given.items()} == {
        "train": ["train/ants/1.png", "train/ants/2.png", "train/bees/3.png"],
        "validation": ["val/ants/4.png", "val/bees/5.png"],
        "test": ["test/bees/6.png"],
    }
    assert [(p.where, p.what) for p in source.problems] == [("ants", "a class without pictures in test")]


def test_val_without_test_is_the_test_set(tmp_path):
    files = {name: data for name, data in SPLIT.items() if not name.startswith("test")}
    source = image_folder(open_tree(put(tmp_path, files)))
    assert sorted(source.given) == ["test", "train"]
    assert [source.ids[p] for p in source.given["test"]] == ["val/ants/4.png", "val/bees/5.png"]
    assert source.problems == []


def test_class_folders_alone_give_no_splits(tmp_path):
    source = image_folder(open_tree(put(tmp_path, {"b/1.png": png(1), "a/2.png": png(2)})))
    assert source.given == {}
    assert source.ids == ["a/2.png", "b/1.png"]
    assert source.targets.tolist() == ["a", "b"]


@pytest.mark.parametrize("kind", ["set.tar", "set.tar.gz", "set.zip"])
def test_archives_equal_folders(tmp_path, kind):
    folder = put(tmp_path / "set", {f"set/{name}": data for name, data in SPLIT.items()})
    if kind == "set.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as out:
            for name, data in reversed(SPLIT.items()):
                out.writestr(f"set/{name}", data)
    else:
        with tarfile.open(tmp_path / kind, "w:gz" if kind.endswith("gz") else "w") as out:
            out.add(folder / "set", "set")
    ours, reference = image_folder(open_tree(tmp_path / kind)), image_folder(open_tree(folder))
    assert ours.ids == reference.ids
    assert ours.name == "set"
    assert torch.equal(ours.examples.tensor, reference.examples.tensor)
    assert ours.targets.tolist() == reference.targets.tolist()


def test_sizes_and_channels(tmp_path):
    root = put(tmp_path, {"a/1.png": png(1, (10, 12)), "b/2.png": png(2, (10, 12))})

    def shape(**settings):
        return tuple(READERS["image_folder"](open_tree(root), **settings).examples.tensor.shape[1:])

    assert shape() == (3, 10, 12)
    assert shape(size="6x5", channels=1) == (1, 6, 5)
    assert shape(size=[4, 7]) == (3, 4, 7)
    assert shape(size=9) == shape(size="9") == (3, 9, 9)
    put(tmp_path, {"b/3.png": png(3, (30, 20), colour=False)})
    assert shape() == (3, 96, 96)
    for name in ("a/1.png", "b/2.png"):
        (root / name).write_bytes(png(1, (30, 20), colour=False))
    assert shape() == (1, 30, 20)
    assert shape(channels=3) == (3, 30, 20)


@pytest.mark.parametrize(
    "size", ["big", "96x", "1x2x3", [1], [1, 2, 3], [0, 5], [5000, 5], 0, -3, "6x-5", [True, 3], [2.5, 3]]
)
def test_a_wrong_size_is_refused(tmp_path, size):
    tree = open_tree(put(tmp_path, layout("a/1.png b/2.png")))
    if size == [1]:
        assert image_folder(tree, size=size).examples.tensor.shape[2:] == (1, 1)
        return
    with pytest.raises(UsageError, match=r'it is "auto", 96, "96x96" or \[96, 96\]'):
        image_folder(tree, size=size)


def test_other_settings_are_checked(tmp_path):
    tree = open_tree(put(tmp_path, layout("a/1.png b/2.png")))
    for wrong in ({"channels": 2}, {"channels": "grey"}, {"memory": 0}, {"sise": 3}, {"size": 2.5}):
        with pytest.raises(UsageError):
            READERS["image_folder"](tree, **wrong)


def test_a_picture_lying_on_its_side_has_its_upright_size(tmp_path):
    block = Image.Exif()
    block[274] = 6
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "PNG", exif=block.tobytes())
    source = image_folder(open_tree(put(tmp_path, {"a/1.png": png(1, (20, 10)), "b/2.png": file.getvalue()})))
    assert source.examples.tensor.shape == (2, 3, 20, 10)


def cut_jpeg(size):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()[:-200]


def test_broken_pictures_are_left_out_and_do_not_decide_the_size(tmp_path):
    files = {
        "a/1.png": png(1, colour=False), "a/empty.png": b"", "a/notes.txt": b"notes", "b/2.png": png(2, colour=False),
        "b/cut.jpg": cut_jpeg((50, 40)), "b/photo.tif": b"II*\0", "b/really.jpg": png(3, colour=False),
        "loose.png": png(4),
    }  # fmt: skip
    (tmp_path / "link").symlink_to(tmp_path)
    tree = open_tree(put(tmp_path, files))
    source = image_folder(tree)
    assert source.ids == ["a/1.png", "b/2.png", "b/really.jpg"]
    assert source.examples.tensor.shape == (3, 1, 8, 8)
    assert source.examples.tensor[:, 0, 0, 0].tolist() == [1, 2, 3]
    found = {p.where: (p.what, p.action) for p in source.problems}
    assert found["loose.png"] == ("a picture in no class folder", "left out")
    assert found["a/empty.png"] == ("unreadable picture: it is empty", "left out")
    assert found["a/notes.txt"][0].startswith("unreadable picture: it is no picture")
    assert found["b/photo.tif"][0].startswith("unreadable picture: TIFF is not read")
    assert found["b/cut.jpg"][0].startswith("unreadable picture: its content is broken (image file is truncated")
    assert found["b/really.jpg"] == ("named like JPEG, but it is PNG", "kept")
    assert len(found) == len(source.problems) == 6
    assert [p.where for p in tree.problems] == ["link"]


def test_class_folders_without_readable_pictures(tmp_path):
    (tmp_path / "void").mkdir()
    files = {"a/1.png": None, "b/2.png": None, "c/x.png": b"broken"}
    source = image_folder(open_tree(put(tmp_path, files)))
    assert source.classes == ["a", "b"]
    what = "a class folder with no readable picture"
    assert sorted(p.where for p in source.problems if p.what == what) == ["c", "void"]


def test_nothing_readable_is_refused_with_the_first_reason(tmp_path):
    with pytest.raises(DataError, match=r"none of its pictures can be read.*a/1.png: unreadable picture: it is empty"):
        image_folder(open_tree(put(tmp_path, {"a/1.png": b"", "b/2.png": b"x"})))


def test_many_problems_are_counted(tmp_path):
    files = {f"a/{number:03}.png": b"broken" for number in range(150)} | {"a/x.png": None, "b/x.png": None}
    source = image_folder(open_tree(put(tmp_path, files)))
    assert len(source.problems) == SHOWN + 1
    assert (source.problems[-1].where, source.problems[-1].what) == ("130 more", "unreadable picture (150 in all)")


def test_odd_names_are_shown_and_read(tmp_path):
    files = {"\udcff/1.png": png(1), "\U0001f41c/" + "x" * 251 + ".png": png(2), "a\nb/3.png": png(3)}
    source = image_folder(open_tree(put(tmp_path, files)))
    assert len(source.ids) == 3
    assert sorted(source.classes) == sorted(["\\udcff", "\U0001f41c", "a\\nb"])
    "".join(source.ids).encode("utf-8")


@pytest.mark.parametrize("kind", ["folder", "set.tar.gz", "set.zip"])
def test_over_the_memory_budget_without_a_cache_pictures_are_decoded_on_demand(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0")
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    for number in range(12):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(file, "PNG", compress_level=0)
        put(folder, {f"{'ab'[number % 2]}/{number:02}.png": file.getvalue()})
    put(folder, {"a/00.png": b"broken"})
    place = folder
    if kind == "set.zip":
        place = shutil.make_archive(str(folder), "zip", folder)
    elif kind == "set.tar.gz":
        place = shutil.make_archive(str(folder), "gztar", folder)
    whole, lazy = image_folder(open_tree(place)), image_folder(open_tree(place), memory=1)
    assert isinstance(whole.examples, InMemory)
    assert isinstance(lazy.examples, LazyPictures)
    assert (len(lazy.examples), lazy.ids, lazy.problems) == (11, whole.ids, whole.problems)
    for positions in ([3, 0, 3, 10], np.array([7]), torch.tensor([1, 2]), []):
        expected = whole.examples.take(torch.as_tensor(positions, dtype=torch.int64))
        assert torch.equal(lazy.examples.take(positions), expected)
    if kind == "folder":
        (folder / lazy.ids[0]).unlink()
        with pytest.raises(DataError, match=r"a/02\.png cannot be read: No such file"):
            lazy.examples.take([0])


def test_files_that_vanish_between_the_passes(tmp_path):
    tree = open_tree(put(tmp_path, layout("a/1.png a/2.png b/3.png")))
    (tmp_path / "a/1.png").unlink()
    source = image_folder(tree)
    assert source.ids == ["a/2.png", "b/3.png"]
    assert [p.where for p in tree.problems] == ["a/1.png"]


def test_small_pictures_are_read_fast(tmp_path):
    file = io.BytesIO()
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(photo).save(file, "JPEG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for number in range(3000):
            out.writestr(f"{number % 10}/{number}.jpg", file.getvalue())
    started = time.monotonic()
    assert len(image_folder(open_tree(tmp_path / "a.zip")).examples) == 3000
    assert time.monotonic() - started < 6  # about 0.5 on two idle cores


@pytest.mark.shared_data
def test_hymenoptera(shared_data):
    tree = open_tree(shared_data / "hymenoptera/hymenoptera-130.tar")
    source = image_folder(tree)
    assert source.examples.tensor.shape == (130, 3, 96, 96)
    assert {split: len(places) for split, places in source.given.items()} == {"train": 80, "test": 50}
    assert source.classes == ["ants", "bees"]
    assert source.problems == tree.problems == []
    for place in (0, 64, 129):
        picture = decode(tree.read(source.ids[place]), source.ids[place])
        difference = fit(picture, (96, 96), 3).float() - source.examples.tensor[place].float()
        assert difference.abs().mean() < 1  # libjpeg's reduced decoding against the whole one


@pytest.mark.shared_data
def test_cifar10_is_class_folders_of_60000(shared_data):
    with open_tree(shared_data / "cifar10/cifar10-images.tar.gz") as tree:
        assert recognises(tree)
        assert len(tree.entries) == 60_000
        name = "cifar10/train/cat/0000.jpg"
        reference = np.asarray(Image.open(io.BytesIO(tree.read(name))))
        assert np.array_equal(decode(tree.read(name), name).pixels, reference)


@pytest.mark.shared_data
def test_other_shared_picture_sets_are_not_taken_for_class_folders(shared_data):
    for name in ("face-landmarks/faces.tar", "bccd/bccd-voc.tar.gz", "easy-vqa/easy-vqa.tar.gz", "camvid/camvid-48.tar",
                 "membrane/isbi-membrane.tar", "flickr8k-600/flickr8k-600.tar"):  # fmt: skip
        with open_tree(shared_data / name) as tree:
            assert not recognises(tree), name
            assert flat_pictures(tree) > 30
