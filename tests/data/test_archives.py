"""Archives: read in place, equal to the standard library where they are sound, refused whole where they are not."""

import gzip
import io
import os
import random
import struct
import tarfile
import time
import zipfile
import zlib

import pytest

from netwright.data.files import archives
from netwright.data.files.opening import open_tree
from netwright.data.files.tree import FileTree
from netwright.errors import DataError

FILES = {"top/a/1.txt": b"one", "top/a/2.bin": bytes(range(256)) * 40, "top/b/empty": b"", "top/b/é.txt": b"accent"}


def make_tar(path, files, mode="w", form=tarfile.PAX_FORMAT, change=None):
    with tarfile.open(path, mode, format=form) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if change:
                change(member)
            out.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


def make_zip(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as out:
        for name, content in files.items():
            out.writestr(zipfile.ZipInfo(name) if method == 0 else name, content)
    return path


def content(path):
    with open_tree(path) as tree:
        names = [entry.name for entry in tree.entries]
        assert names == sorted(names)
        walked = dict(tree.walk(names))
        assert walked == {name: tree.read(name) for name in names}
        assert {entry.name: entry.size for entry in tree.entries} == {name: len(data) for name, data in walked.items()}
        return walked


def refused(path, match=None):
    started = time.monotonic()
    with pytest.raises(DataError, match=match) as caught, open_tree(path) as tree:
        list(tree.walk([entry.name for entry in tree.entries]))
    assert time.monotonic() - started < 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_of_every_form_equals_what_went_in(tmp_path, form, mode):
    files = {**FILES, "/".join(["long" * 10] * 4) + "/x.txt": b"a long name"}
    assert content(make_tar(tmp_path / ("a.tar" if mode == "w" else "a.tgz"), files, mode, form)) == files


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_equals_what_went_in(tmp_path, method):
    assert content(make_zip(tmp_path / "a.zip", FILES, method)) == FILES


def test_zip_written_as_a_stream_and_with_zip64_fields(tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with open(tmp_path / "stream.zip", "wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in FILES.items():
            out.writestr(name, data)
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as out:
        for name, data in FILES.items():
            with out.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert content(tmp_path / "stream.zip") == FILES
    assert content(tmp_path / "large.zip") == FILES


def test_the_content_decides_not_the_name(tmp_path):
    made = make_tar(tmp_path / "a.tar", FILES)
    made.rename(tmp_path / "wrong.zip")
    assert content(tmp_path / "wrong.zip") == FILES
    make_zip(tmp_path / "a.zip", FILES).rename(tmp_path / "nameless")
    assert content(tmp_path / "nameless") == FILES
    (tmp_path / "t.gz").write_bytes(gzip.compress((tmp_path / "wrong.zip").read_bytes()))
    assert content(tmp_path / "t.gz") == FILES


def test_what_is_packed_but_no_archive_stays_one_file(tmp_path):
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"some text " * 100))
    make_zip(tmp_path / "arrays.npz", FILES)
    for name in ("text.gz", "arrays.npz"):
        with open_tree(tmp_path / name) as tree:
            assert isinstance(tree, FileTree)
            assert tree.read(name) == (tmp_path / name).read_bytes()


def test_folders_hidden_files_and_dots(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        for name in (".", "./a", "./void"):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            out.addfile(folder)
        for name in ("./a/1.txt", "./a/.DS_Store", "__MACOSX/._a"):
            out.addfile(tarfile.TarInfo(name), io.BytesIO())
    with open_tree(tmp_path / "a.tar") as tree:
        assert [entry.name for entry in tree.entries] == ["a/1.txt"]
        assert tree.folders == ["a", "void"]


def test_empty_archives(tmp_path):
    make_tar(tmp_path / "a.tar", {})
    make_tar(tmp_path / "a.tar.gz", {}, "w:gz")
    make_zip(tmp_path / "a.zip", {})
    for name in ("a.tar", "a.tar.gz", "a.zip"):
        assert content(tmp_path / name) == {}
    for name in ("b.tar", "b.tar.gz", "b.zip"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, "it is empty")
        (tmp_path / name).write_bytes(b"this is no archive at all " * 40)
        refused(tmp_path / name, "no sound archive")


NAMES = [
    ("../evil.txt", "climbs out"), ("a/../../evil.txt", "climbs out"), ("/etc/passwd", "absolute"),
    ("C:/evil.txt", "absolute"), ("..\\evil.txt", "backslash"), ("\\\\host\\share\\x", "backslash"),
    ("a" * 300, "too long"), ("a/" * 600 + "x", "too long"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "why"), NAMES)
@pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.zip"])
def test_unsafe_names_refuse_the_archive(tmp_path, name, why, kind):
    files = {"good.txt": b"good", name: b"evil"}
    if kind == "a.zip":
        make_zip(tmp_path / kind, files)
    else:
        make_tar(tmp_path / kind, files, "w" if kind == "a.tar" else "w:gz")
    text = refused(tmp_path / kind, why)
    assert name[-10:] in text


def test_nul_in_names(tmp_path):
    make_zip(tmp_path / "a.zip", {"aXb.txt": b"x"})
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"aXb.txt", b"a\0b.txt"))
    refused(tmp_path / "a.zip", "NUL")
    make_tar(tmp_path / "a.tar", {"é" * 60 + "X.txt": b"x"})  # the name stands in an extended header
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes().replace(b"X.txt", b"\0.txt", 1))
    refused(tmp_path / "a.tar", "NUL")


@pytest.mark.parametrize(
    ("type_", "why"),
    [
        (tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"), (tarfile.FIFOTYPE, "FIFO"), (tarfile.GNUTYPE_SPARSE, "sparse"),
        (b"V", "unknown kind"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_devices_and_sparse_entries_refuse_a_tar(tmp_path, type_, why, mode):
    def change(member):
        if member.name == "bad":
            member.type, member.linkname = type_, "/etc/passwd"

    path = make_tar(tmp_path / ("a.tar" if mode == "w" else "a.tgz"), {"good": b"1", "bad": b""}, mode, change=change)
    assert "'bad'" in refused(path, why)


def test_sparse_in_extended_headers_and_global_paths(tmp_path):
    def sparse(member):
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}

    refused(make_tar(tmp_path / "a.tar", {"bad": b"1"}, change=sparse), "sparse")
    with tarfile.open(tmp_path / "b.tar", "w", pax_headers={"path": "../evil"}) as out:
        out.addfile(tarfile.TarInfo("a"), io.BytesIO())
    refused(tmp_path / "b.tar", "for all members")
    with tarfile.open(tmp_path / "c.tar", "w", pax_headers={"comment": "a commit's hash"}) as out:
        out.addfile(tarfile.TarInfo("a"), io.BytesIO())
    assert content(tmp_path / "c.tar") == {"a": b""}


def test_links_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        out.writestr(link, "/etc/passwd")
    refused(tmp_path / "a.zip", "'link': a link")


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("a/x.txt", "a/x.txt", "stands there twice"), ("a/x.txt", "./a//x.txt", "stands there twice"),
        ("a/x.txt", "a/X.txt", "in case only"), ("a/straße", "a/STRASSE", "in case only"),
        ("a/é", "a/e\u0301", "in case only"), ("a", "a/b", "both a file and a folder"),
        ("a/b", "a", "both a file and a folder"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_clash(tmp_path, first, second, why, kind):
    if kind == "tar":
        with tarfile.open(tmp_path / "a", "w") as out:
            for name in (first, second):
                out.addfile(tarfile.TarInfo(name), io.BytesIO())
    else:
        with zipfile.ZipFile(tmp_path / "a", "w") as out:
            out.writestr(first, b"")
            if first == second:
                with pytest.warns(UserWarning, match="Duplicate"):
                    out.writestr(second, b"")
            else:
                out.writestr(second, b"")
    refused(tmp_path / "a", why)


def overlap_bomb(path, members, kernel):
    """Every directory entry points at the same local header (the overlap bomb of D. Fifield, 2019)."""
    stream = zlib.compressobj(9, wbits=-15)
    packed = stream.compress(kernel) + stream.flush()
    numbers = (zlib.crc32(kernel), len(packed), len(kernel))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, *numbers, 1, 0) + b"a" + packed
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, *numbers, 1, 0, 0, 0, 0, 0, 0) + bytes([65 + i])
        for i in range(members)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, members, members, len(directory), len(local), 0)
    path.write_bytes(local + directory + end)


def test_overlapping_members(tmp_path):
    overlap_bomb(tmp_path / "a.zip", 20, random.Random(0).randbytes(5000))
    refused(tmp_path / "a.zip", "overlaps|differ")


def test_header_and_directory_must_agree(tmp_path):
    make_zip(tmp_path / "a.zip", {"name1.txt": b"some text"}, zipfile.ZIP_STORED)
    sound = (tmp_path / "a.zip").read_bytes()
    directory = sound.index(b"PK\1\2")
    changes = [
        sound.replace(b"name1", b"name2", 1),
        sound[:8] + b"\x08" + sound[9:],  # method
        sound[:22] + b"\x05" + sound[23:],  # size
        sound[:14] + b"\0\0\0\1" + sound[18:],  # checksum
        sound[: directory + 42] + b"\x05" + sound[directory + 43 :],  # the directory points elsewhere
        sound[: directory + 42] + b"\xff" + sound[directory + 43 :],
    ]
    for changed in changes:
        (tmp_path / "b.zip").write_bytes(changed)
        refused(tmp_path / "b.zip", "header and the directory differ|its header is missing")


def test_encrypted_and_unknown_methods(tmp_path):
    sound = make_zip(tmp_path / "a.zip", {"a.txt": b"some text"}, zipfile.ZIP_STORED).read_bytes()
    place = sound.index(b"PK\1\2")
    locked = bytearray(sound)
    locked[6] |= 1
    locked[place + 8] |= 1
    (tmp_path / "a.zip").write_bytes(locked)
    refused(tmp_path / "a.zip", "encrypted")
    refused(make_zip(tmp_path / "b.zip", {"a.txt": b"some text"}, zipfile.ZIP_LZMA), "packed by LZMA")


def test_ratio_is_counted_while_reading(tmp_path):
    zeros = bytes(30_000_000)
    refused(make_zip(tmp_path / "a.zip", {"zeros": zeros}), "inflates to more than 200 times")
    refused(make_tar(tmp_path / "a.tar.gz", {"zeros": zeros}, "w:gz"), "more than 200 times")
    lying = bytearray((tmp_path / "a.zip").read_bytes())
    for place in (22, lying.index(b"PK\1\2") + 24):  # the size in both headers
        lying[place : place + 4] = struct.pack("<I", 1000)
    (tmp_path / "b.zip").write_bytes(lying)
    refused(tmp_path / "b.zip", "inflates to more than is stated")
    (tmp_path / "endless.tar.gz").write_bytes(
        gzip.compress(make_tar(tmp_path / "c.tar", {"a": b"x"}).read_bytes() + zeros)
    )
    refused(tmp_path / "endless.tar.gz", "more than 200 times")


def test_small_blank_files_are_no_bomb(tmp_path):
    files = {f"a/{number}.bmp": bytes(3000) for number in range(100)}
    assert content(make_zip(tmp_path / "a.zip", files)) == files
    assert content(make_tar(tmp_path / "a.tar.gz", files, "w:gz")) == files


def test_sizes_that_lie_in_a_tar(tmp_path):
    sound = make_tar(tmp_path / "a.tar", {"a": b"x" * 100}).read_bytes()
    header = bytearray(sound[:512])
    header[124:136] = b"\x80" + (2**60).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + sound[512:])
    refused(tmp_path / "a.tar", "larger than")
    header[124:136] = b"77777777\0\0\0\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + sound[512:])
    refused(tmp_path / "a.tar", "cut off")


def test_long_and_chained_extended_headers(tmp_path):
    block = tarfile.TarInfo("x")
    block.type, block.size = tarfile.XHDTYPE, 2**30
    (tmp_path / "a.tar").write_bytes(block.tobuf() + bytes(1024))
    refused(tmp_path / "a.tar", "extended header is too long")
    block.size = 0
    (tmp_path / "b.tar").write_bytes(block.tobuf(tarfile.USTAR_FORMAT) * 1000 + bytes(1024))
    refused(tmp_path / "b.tar", "extended header is too long")
    block.size = 12
    body = b"999999 path=".ljust(512, b"\0")
    (tmp_path / "c.tar").write_bytes(block.tobuf(tarfile.USTAR_FORMAT) + body + bytes(1024))
    refused(tmp_path / "c.tar", "extended header is broken")


@pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.zip"])
def test_every_truncation_is_refused(tmp_path, kind):
    files = {"a/1.bin": os.urandom(700), "a/2.bin": b"b" * 100}
    if kind == "a.zip":
        whole = make_zip(tmp_path / kind, files).read_bytes()
    else:
        whole = make_tar(tmp_path / kind, files, "w" if kind == "a.tar" else "w:gz").read_bytes()
    # A plain tar ends at its first block of zeros; the padding behind it is not missed.
    end = len(whole) - 1 if kind != "a.tar" else 512 + 1024 + 512 + 512 + 511
    for length in [*range(0, end, 7), end]:
        (tmp_path / kind).write_bytes(whole[:length])
        refused(tmp_path / kind)


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.zip"])
def test_flipped_bytes_never_change_content(tmp_path, kind):
    files = {"a/1.bin": random.Random(1).randbytes(300), "a/2.bin": b"b" * 100}
    path = tmp_path / kind
    whole = (make_zip(path, files) if kind == "a.zip" else make_tar(path, files, "w:gz")).read_bytes()
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            found = content(path)
        except DataError:
            continue
        assert all(data in files.values() for data in found.values())


def test_data_behind_the_end(tmp_path):
    sound = make_tar(tmp_path / "a.tar", FILES).read_bytes()
    (tmp_path / "a.tar").write_bytes(sound + b"more")
    refused(tmp_path / "a.tar", "behind its end mark")
    zipped = make_zip(tmp_path / "a.zip", FILES).read_bytes()
    (tmp_path / "a.zip").write_bytes(zipped + b"more")
    refused(tmp_path / "a.zip", "end is cut off or damaged")
    (tmp_path / "two.tar.gz").write_bytes(gzip.compress(sound[:700]) + gzip.compress(sound[700:]) + bytes(100))
    assert content(tmp_path / "two.tar.gz") == FILES  # pieces one behind another are good gzip
    (tmp_path / "junk.tar.gz").write_bytes(gzip.compress(sound) + b"junk")
    refused(tmp_path / "junk.tar.gz", "gzip data is broken")


def test_other_archives_are_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as out:
        out.addfile(tarfile.TarInfo("a"), io.BytesIO())
    refused(tmp_path / "a.tar.xz", "xz archive; .tar, .tar.gz and .zip are read")
    with tarfile.open(tmp_path / "a.tar.bz2", "w:bz2") as out:
        out.addfile(tarfile.TarInfo("a"), io.BytesIO())
    refused(tmp_path / "a.tar.bz2", "bzip2")
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    refused(tmp_path / "a.7z", "7z")


def test_nested_archives_stay_files(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", {"../evil": b"x"}).read_bytes()
    assert content(make_tar(tmp_path / "a.tar", {"inner.zip": inner})) == {"inner.zip": inner}


def test_budgets(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "a.tgz", {str(number): b"12345" for number in range(9)}, "w:gz")
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 4)
    refused(path, "larger than 4 bytes")
    monkeypatch.undo()
    monkeypatch.setattr(archives, "ENTRY_LIMIT", 8)
    refused(path, "more than 8 members")
    refused(make_zip(tmp_path / "a.zip", {str(number): b"" for number in range(9)}), "more than 8 members")
    monkeypatch.undo()
    monkeypatch.setattr("netwright.data.files.tars.SPOOL_LIMIT", 5000)
    refused(path, "unpack it first")


def test_the_spool_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    path = make_tar(tmp_path / "a.tgz", FILES, "w:gz")
    with open_tree(path) as tree:
        assert list((tmp_path / "spool").iterdir()) == []
        assert tree.read("top/a/1.txt") == b"one"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    refused(path, "needs room for its content")


def test_many_members_list_fast(tmp_path):
    files = {f"train/c{number % 10}/{number:05}.png": b"x" * 20 for number in range(20_000)}
    for path in (
        make_tar(tmp_path / "a.tgz", files, "w:gz", tarfile.USTAR_FORMAT),
        make_zip(tmp_path / "a.zip", files, 0),
    ):
        started = time.monotonic()
        with open_tree(path) as tree:
            assert sum(len(data) for _, data in tree.walk(entry.name for entry in tree.entries)) == 400_000
        assert time.monotonic() - started < 8  # about 0.6 on an idle core


@pytest.mark.shared_data
def test_the_shared_zip_slips_are_refused(shared_data, tmp_path):
    with open_tree(shared_data / "bad-inputs/unsafe-archives.tar.gz") as tree:
        hostile = [entry.name for entry in tree.entries if "slip" in entry.name]
        assert len(hostile) == 4
        for name in hostile:
            path = tmp_path / name.rpartition("/")[2]
            path.write_bytes(tree.read(name))
            refused(path, "climbs out|backslash")


@pytest.mark.shared_data
def test_shared_archives_equal_the_standard_library(shared_data):
    for name in ("hymenoptera/hymenoptera-130.tar", "bad-inputs/odd-images.tar.gz", "bccd/bccd-voc.tar.gz"):
        with tarfile.open(shared_data / name) as reference, open_tree(shared_data / name) as tree:
            expected = {m.name: reference.extractfile(m).read() for m in reference if m.isfile()}
            assert dict(tree.walk(entry.name for entry in tree.entries)) == expected
