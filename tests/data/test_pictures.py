"""Pictures: pixel for pixel what the file says, within limits, and one kind of error for all that is broken."""

import io
import resource
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from netwright.data.files.opening import open_tree
from netwright.data.pictures.decode import Picture, decode, decode_files, fit, in_threads
from netwright.data.pictures.headers import PIXEL_LIMIT, Broken, examine
from netwright.errors import DataError

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def save(pixels, kind="PNG", mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, rows=b"", *extra):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_and_colour_come_back_exactly(kind):
    assert np.array_equal(decode(save(GREY, kind), "x").pixels[:, :, 0], GREY)
    if kind != "GIF":
        found = decode(save(COLOUR, kind), "x")
        assert np.array_equal(found.pixels, COLOUR)
        assert found.oddities == []


def test_webp_and_jpeg_equal_pillow():
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for kind in ("WEBP", "JPEG"):
        data = save(photo, kind, quality=90)
        assert np.array_equal(decode(data, "x").pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode(save(photo, "WEBP", lossless=True), "x").pixels, photo)
    assert decode(save(GREY, "JPEG"), "x").pixels.shape == (4, 6, 1)


def exif(orientation):
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


# Where EXIF (tag 274) stores the upright pixel (r, c); for 6: row 0 is the right side, column 0 the top.
STORED = {
    1: lambda r, c, h, w: (r, c), 2: lambda r, c, h, w: (r, w - 1 - c), 3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),
    4: lambda r, c, h, w: (h - 1 - r, c), 5: lambda r, c, h, w: (c, r), 6: lambda r, c, h, w: (w - 1 - c, r),
    7: lambda r, c, h, w: (w - 1 - c, h - 1 - r), 8: lambda r, c, h, w: (c, h - 1 - r),
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_exif_orientation_pixel_by_pixel(orientation, kind):
    h, w = GREY.shape
    big = kind == "JPEG"  # blocks of 16 pixels of one level survive JPEG nearly unchanged
    stored = np.zeros((h, w) if orientation < 5 else (w, h), np.uint8)
    for r in range(h):
        for c in range(w):
            stored[STORED[orientation](r, c, h, w)] = GREY[r, c]
    if big:
        stored = stored.repeat(16, 0).repeat(16, 1)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if big else {}
    data = save(stored, kind, mode="RGB" if kind == "WEBP" else None, exif=exif(orientation), **options)
    found = decode(data, "x").pixels[:, :, 0]
    expected = GREY.repeat(16, 0).repeat(16, 1) if big else GREY
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (3 if big else 0)
    assert examine(data).size == expected.shape


def test_broken_exif_means_upright():
    for block in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX", exif(0), exif(9)):
        data = save(GREY, "JPEG", exif=block)
        assert decode(data, "x").pixels.shape == (4, 6, 1)


def test_16_bits_are_scaled_not_clipped():
    levels = np.array([[0, 128, 129, 256, 257, 32768, 65535, 65278]], np.uint16)
    data = save(levels)
    found = decode(data, "x")
    assert found.pixels.ravel().tolist() == np.round(levels.ravel() / 257).astype(int).tolist()
    assert found.oddities == ["16 bits a channel; scaled to 8"]
    rows = b"\0" + struct.pack(">6H", 65535, 256, 0, 32768, 255, 1)
    assert decode(png(2, 1, 16, 2, rows), "x").pixels.tolist() == [[[255, 1, 0], [128, 0, 0]]]


def test_one_bit_and_two_bits():
    assert decode(save(GREY > 100, "PNG"), "x").pixels[:, :, 0].tolist() == ((GREY > 100) * 255).tolist()
    assert decode(png(4, 1, 2, 0, b"\0\x1b"), "x").pixels.ravel().tolist() == [0, 85, 170, 255]
    assert decode(save(GREY > 100, "BMP"), "x").pixels[:, :, 0].tolist() == ((GREY > 100) * 255).tolist()


def test_transparency_is_laid_on_white():
    alpha = np.array([[0, 51, 255]], np.uint8)
    black = np.zeros((1, 3, 3), np.uint8)
    rgba = np.concatenate([black, alpha[:, :, None]], axis=2)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        found = decode(save(rgba, kind, **options), "x")
        assert found.pixels[0, :, 0].tolist() == [255, 204, 0]
        assert found.pixels.shape[2] == 3
        assert found.oddities == ["transparent; laid on white"]
    grey = Image.merge("LA", [Image.fromarray(black[:, :, 0]), Image.fromarray(alpha)])
    assert decode(save(grey), "x").pixels.tolist() == [[[255], [204], [0]]]
    rgba[:, :, 3] = 255
    assert decode(save(rgba), "x").oddities == []


def test_palettes_with_and_without_transparency():
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert decode(save(image), "x").pixels[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    partly = decode(save(image, transparency=bytes([255, 0, 51])), "x")
    assert partly.pixels[0].tolist() == [[255, 0, 0], [255, 255, 255], [204, 204, 255]]
    assert decode(save(image, "GIF", transparency=2), "x").pixels[0, 2].tolist() == [255, 255, 255]
    image.putpalette([9, 9, 9, 0, 0, 0, 200, 200, 200])
    for kind in ("PNG", "GIF", "BMP"):
        assert decode(save(image, kind), "x").pixels.tolist() == [[[9], [0], [200]]]


def test_single_colours_marked_clear():
    data = png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 4, 5, 6]), chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert decode(data, "x").pixels.tolist() == [[[255, 255, 255], [4, 5, 6]]]
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 1000, 1001), chunk(b"tRNS", struct.pack(">H", 1000)))
    assert decode(data, "x").pixels.ravel().tolist() == [255, 4]
    data = png(8, 1, 1, 0, b"\0\x0f", chunk(b"tRNS", struct.pack(">H", 0)))
    assert decode(data, "x").pixels.ravel().tolist() == [255] * 8


def test_a_bmp_whose_fourth_byte_is_unused_is_not_white():
    rgba = np.concatenate([COLOUR, np.zeros((4, 6, 1), np.uint8)], axis=2)
    head = struct.pack("<I2i2H6I", 108, 6, -4, 1, 32, 3, 96, 0, 0, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(108 - 56)
    rows = np.ascontiguousarray(rgba[:, :, [2, 1, 0, 3]]).tobytes()
    data = struct.pack("<2sIHHI", b"BM", 14 + 108 + 96, 0, 0, 122) + head + rows
    found = decode(data, "x")
    assert np.array_equal(found.pixels, COLOUR)
    assert found.oddities == []


def test_cmyk_becomes_rgb():
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = decode(save(inks, "JPEG", quality=95), "x")
    assert np.abs(found.pixels.astype(int) - [255, 0, 0]).max() <= 3
    assert found.oddities == ["CMYK; turned into RGB"]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = save(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    found = decode(data, "x")
    assert (found.pixels == [255, 0, 0]).all()
    assert found.oddities == ["animated; the first frame is taken"]


def test_the_content_decides_not_the_ending():
    assert decode(save(GREY, "PNG"), "a.jpg").oddities == ["named like JPEG, but it is PNG"]
    assert decode(save(GREY, "PNG"), "a.PNG").oddities == []
    assert decode(save(GREY, "JPEG"), "a.jpeg").oddities == []


STRANGERS = {
    b"": "it is empty", b"hello": "it is no picture", b"II*\0" + bytes(20): "TIFF is not read",
    b"8BPS" + bytes(20): "PSD is not read", b"%!PS-Adobe": "EPS is not read",
    b"<?xml?>\n<svg></svg>": "SVG is not read", b"  <svg>": "SVG is not read",
    b"\0\0\0\x18ftypheic": "HEIC is not read", b"\0\0\0\x18ftypavif": "AVIF is not read",
    b"P6\n2 2": "PNM is not read", b"\0\0\1\0\1": "ICO is not read", b"RIFF\0\0\0\0WAVEfmt ": "it is no picture",
    b"%PDF-1.7": "PDF is not read", b"PK\3\4": "ZIP is not read", b"\xff\x0a": "JPEG XL is not read",
}  # fmt: skip


@pytest.mark.parametrize("data", STRANGERS)
def test_other_formats_are_refused_by_name(data):
    with pytest.raises(DataError, match=f"a.png: {STRANGERS[data]}"):
        decode(data, "a.png")


def test_formats_that_pillow_knows_but_we_do_not():
    for kind in ("TIFF", "PPM", "ICO", "TGA", "PCX"):
        with pytest.raises(DataError):
            decode(save(COLOUR, kind), "a.png")


def test_every_truncation_is_refused_or_whole():
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        whole = save(COLOUR, kind)
        pixels = decode(whole, "x").pixels
        for length in range(len(whole)):
            try:
                found = decode(whole[:length], "x").pixels
            except DataError:
                continue
            # What may be missing is the end mark alone, or padding.
            assert np.array_equal(found, pixels)
            assert length >= len(whole) - 4


def test_flipped_bytes_give_a_picture_or_a_data_error():
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        whole = save(COLOUR, kind)
        refused = 0
        for place in range(len(whole)):
            for flip in (0x01, 0x80, 0xFF):
                changed = bytearray(whole)
                changed[place] ^= flip
                try:
                    assert decode(bytes(changed), "x").pixels.dtype == np.uint8
                except DataError as error:
                    refused += len(str(error)) < 300
        # PNG has checksums: not one flip goes unnoticed.
        assert refused == 3 * len(whole) if kind == "PNG" else refused > 20


def bounded(data, match):
    """Refused at once, in little memory."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(DataError, match=match):
        decode(data, "bomb")
    assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024


def test_pixel_bombs_are_refused_from_the_header():
    bounded(png(5001, 5000, 8, 2), "5001x5000 pixels; at most 25 million")
    bounded(png(2**31 - 1, 2**31 - 1, 16, 6), "at most 25 million")
    jpeg = bytearray(save(COLOUR, "JPEG"))
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 65535, 65535)
    bounded(bytes(jpeg), "65535x65535")
    gif = bytearray(save(GREY, "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    bounded(bytes(gif), "at most 25 million")
    gif = bytearray(save(GREY, "GIF"))
    place = 13 + (3 << (gif[10] & 7) + 1)
    place = gif.index(b"\x2c", place)
    gif[place + 5 : place + 9] = struct.pack("<HH", 65535, 65535)  # the frame is larger than the screen
    bounded(bytes(gif), "at most 25 million")
    bmp = bytearray(save(COLOUR, "BMP"))
    bmp[18:26] = struct.pack("<ii", 100_000, -100_000)
    bounded(bytes(bmp), "at most 25 million")
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\0\xff\x3f\0"
    bounded(webp, "16384x16384")
    assert PIXEL_LIMIT == 5000 * 5000


def test_the_largest_picture_allowed_is_read():
    image = Image.new("L", (5000, 5000), 7)
    assert (decode(save(image, "PNG", compress_level=1), "x").pixels == 7).all()


def test_bombs_beside_the_pixels_never_reach_the_decoder():
    text = zlib.compress(bytes(100_000_000), 9)
    extra = [
        chunk(b"zTXt", b"Comment\0\0" + text), chunk(b"iCCP", b"icc\0\0" + text), chunk(b"iTXt", b"k\0\1\0\0\0" + text),
        chunk(b"acTL", b"\0\0\0\0\0\0\0\0"), chunk(b"gAMA", b""),
    ]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode(png(1, 1, 8, 0, b"\0\x07", *extra), "x").pixels.tolist() == [[[7]]]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_png_that_states_its_size_twice_or_has_no_pixels():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    bounded(png(1, 1, 8, 0, b"\0\x07", header), "PNG chunks are broken")
    bounded(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IEND", b""), "PNG chunks are broken")
    bounded(png(1, 1, 3, 0, b"\0\x07"), "PNG header is broken")
    bounded(png(0, 5, 8, 0), "size of 0x5")
    bounded(png(1, 1, 8, 3, b"\0\0"), "PNG chunks are broken")


def test_jpeg_scan_bombs_and_second_frames():
    whole = save(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    scan = whole.rindex(b"\xff\xda")
    bounded(whole[:-2] + whole[scan:-2] * 400, "scans of 2000x2000")
    frame = whole.index(b"\xff\xc2")
    length = struct.unpack_from(">H", whole, frame + 2)[0] + 2
    bounded(whole[:frame] + whole[frame : frame + length] * 2 + whole[frame + length :], "two JPEG frames")


def test_run_length_bmp_is_limited():
    head = struct.pack("<I2i2H6I", 40, 5000, 5000, 1, 8, 1, 0, 0, 0, 256, 0)
    data = struct.pack("<2sIHHI", b"BM", 2000, 0, 0, 54 + 1024) + head + bytes(1024) + b"\1\1\0\0" * 5000
    bounded(data, "run-length coded")


def test_many_small_parts_do_not_hang():
    bounded(png(1, 1, 8, 0, b"\0\7", *[chunk(b"tEXt", b"")] * 250_000), "PNG chunks are broken")
    gif = save(GREY, "GIF")
    place = 13 + (3 << (gif[10] & 7) + 1)
    bounded(gif[:place] + b"\x21\xfe" + b"\1x" * 900_000 + b"\0" + gif[place:], "too many parts")
    bounded(b"\xff\xd8\xff\xe0\0\2" + b"\xff\xfe\0\2" * 300_000, "too many parts")


def test_fit_resizes_the_shorter_side_and_cuts_the_centre():
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))[:, :, None]
    found = fit(Picture(ramp), (50, 50), 1)
    assert found.shape == (1, 50, 50)
    # Columns 50 to 149 remain; each output pixel is the middle of two input columns.
    assert torch.allclose(found[0, 25].float(), torch.arange(50.5, 150, 2), atol=1.0)
    tall = fit(Picture(ramp.transpose(1, 0, 2)), (50, 50), 1)
    assert torch.equal(tall[0], found[0].T)


def test_fit_averages_when_it_shrinks():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None]
    found = fit(Picture(board), (8, 8), 1).float()
    assert (found - 127.5).abs().max() < 3  # without antialiasing it would be 0 or 255


def test_fit_equals_torch_antialiasing():
    photo = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(photo).permute(2, 0, 1)[None].float(), size=(20, 20), mode="bilinear", antialias=True
    )[0]
    assert (fit(Picture(photo), (20, 20), 3).float() - reference).abs().max() <= 1


def test_fit_changes_channels():
    grey = fit(Picture(COLOUR), (4, 6), 1)
    expected = COLOUR.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(grey[0].numpy() - expected).max() <= 1
    colour = fit(Picture(GREY[:, :, None]), (4, 6), 3)
    assert (colour == torch.from_numpy(GREY)).all()
    assert fit(Picture(COLOUR), (4, 6), 3).is_contiguous()


def test_fit_of_extreme_shapes():
    strip = Picture(np.full((1, 1_000_000, 1), 9, np.uint8))
    assert (fit(strip, (96, 96), 3) == 9).all()
    assert (fit(Picture(np.full((1, 1, 3), 9, np.uint8)), (1, 200), 1) == 9).all()


def test_a_jpeg_that_will_be_shrunk_may_come_smaller():
    yy, xx = np.mgrid[0:800, 0:600]
    photo = ((np.sin(xx / 40) + np.cos(yy / 60) + 2) * 60).astype(np.uint8)
    data = save(photo, "JPEG", quality=95, exif=exif(6))
    whole, small = decode(data, "x"), decode(data, "x", least=(48, 64))
    assert whole.pixels.shape == (600, 800, 1)
    assert small.pixels.shape[0] in (150, 300)
    assert small.pixels.shape[0] >= 2 * 48
    difference = fit(whole, (48, 64), 1).float() - fit(small, (48, 64), 1).float()
    assert difference.abs().max() <= 4
    assert decode(data, "x", least=(400, 400)).pixels.shape == (600, 800, 1)


def test_in_threads_keeps_order_and_returns_errors():
    files = [(str(number), bytes([number % 250])) for number in range(500)]

    def work(name, data):
        if name == "77":
            raise DataError("seventy-seven")
        return data[0]

    found = list(in_threads(iter(files), work))
    assert [name for name, _ in found] == [name for name, _ in files]
    assert isinstance(found[77][1], DataError)
    assert [value for name, value in found if name != "77"] == [n % 250 for n in range(500) if n != 77]
    stream = in_threads(iter(files), work)
    next(stream)
    stream.close()


def test_decode_files_names_and_problems(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "b.png").write_bytes(save(COLOUR))
    (folder / "a.png").write_bytes(save(GREY))
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    lone = tmp_path / "lone.dat"
    lone.write_bytes(save(GREY))
    found, ids, problems = decode_files([folder, str(lone)], (4, 6), 1)
    assert ids == [f"{folder}/a.png", f"{folder}/b.png", str(lone)]
    assert torch.equal(found[0], torch.from_numpy(GREY)[None])
    assert torch.equal(found[2], found[0])
    assert [(p.where, p.what) for p in problems] == [
        (f"{folder}/b.png", "colour made grey"),
        (f"{folder}/broken.jpg", "unreadable picture: it is cut off"),
    ]
    smaller = decode_files([lone], (2, 3), 3)
    assert smaller[0].shape == (1, 3, 2, 3)
    assert [p.what for p in smaller[2]] == ["another size", "grey made colour"]


def test_decode_files_refuses_what_gives_nothing(tmp_path):
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x\.png: unreadable picture: it is no picture"):
        decode_files([tmp_path / "x.png"], (4, 4), 3)
    with pytest.raises(DataError, match="does not exist"):
        decode_files([tmp_path / "y.png"], (4, 4), 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture could be read"):
        decode_files([tmp_path / "empty"], (4, 4), 3)


def test_examine_gives_the_reason_alone():
    with pytest.raises(Broken, match=r"^it is empty$"):
        examine(b"")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "archive", ["bad-images", "odd-images", "csv-cases", "json-cases", "text-encodings", "wav-cases"]
)
def test_all_bad_inputs_give_a_picture_or_a_data_error(shared_data, archive):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good = lines = 0
    with open_tree(shared_data / f"bad-inputs/{archive}.tar.gz") as tree:
        for name, data in tree.walk(entry.name for entry in tree.entries):
            started = time.monotonic()
            try:
                picture = decode(data, name)
            except DataError as error:
                lines += str(error).count("\n")
            else:
                good += picture.pixels.ndim == 3
            assert time.monotonic() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
    assert lines == 0
    assert good == {"bad-images": 34, "odd-images": 142}.get(archive, 0)


@pytest.mark.shared_data
def test_valid_pictures_equal_pillow(shared_data):
    """Where nothing is laid on white or scaled, our pixels are Pillow's."""
    compared = 0
    with open_tree(shared_data / "bad-inputs/odd-images.tar.gz") as tree:
        for name, data in tree.walk(e.name for e in tree.entries if e.name.endswith((".png", ".jpg", ".bmp", ".webp"))):
            try:
                found = decode(data, name)
            except DataError:
                continue
            if found.oddities:
                continue
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
            reference = np.asarray(image.convert("RGB"))
            assert np.array_equal(np.broadcast_to(found.pixels, reference.shape), reference), name
            compared += 1
    assert compared > 90
