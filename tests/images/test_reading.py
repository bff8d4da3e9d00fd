"""One picture of every kind that people have, against Pillow's own plain path or against known values."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.messages import check_message
from triptych.config import ImageForm
from triptych.errors import DataError
from triptych.images.bad_files import BadImage, Skipped, shown
from triptych.images.reading import in_order, iterate_images, read_image


def noise(height: int = 30, width: int = 40, channels: int = 3, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values)


def content(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(
    source: Path | bytes,
    *,
    size: tuple[int, int] = (12, 16),
    colour: str = "rgb",
    fit: str = "stretch",
    most: int = 10**6,
) -> Tensor:
    form = ImageForm(height=size[0], width=size[1], colour=cast(Any, colour), fit=cast(Any, fit), max_pixels=most)
    return torch.from_numpy(read_image(source, form))


def plainly(image: Image.Image, mode: str = "RGB", size: tuple[int, int] = (12, 16)) -> Tensor:
    """What a plain script makes of a picture."""
    array = np.array(image.convert(mode).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.from_numpy(array[None] if mode == "L" else array.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("source", ["rgb", "grey"])
def test_ordinary_images_are_those_of_a_plain_script(kind: str, colour: str, source: str) -> None:
    data = content(noise(channels=3 if source == "rgb" else 1), kind)
    expected = plainly(Image.open(io.BytesIO(data)), "RGB" if colour == "rgb" else "L")
    result = read(data, colour=colour)
    assert result.dtype == torch.uint8
    assert torch.equal(result, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_every_exif_orientation_is_undone(orientation: int, kind: str) -> None:
    """Coarse blocks, which no format blurs; the second truth is Pillow's exif_transpose."""
    from PIL import ImageOps

    image = noise(3, 4).resize((64, 48), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = content(image, kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright.size == ((64, 48) if orientation < 5 else (48, 64))
    assert torch.equal(read(data), plainly(upright))


@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_an_exif_block_that_is_damaged_counts_as_none() -> None:
    data = content(noise(), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\xff\xff\xff")
    assert read(data).shape == (3, 12, 16)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_transparent_images_lie_over_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((200, 200, 200, 0), (0, 0, 8, 4))
    if mode == "P":
        image = image.convert("P")
        image.info["transparency"] = image.getpixel((0, 0))
        data = content(image, transparency=image.getpixel((0, 0)))
    else:
        data = content(image.convert(mode), "TIFF" if mode == "PA" else "PNG") if mode != "PA" else content(image)
    result = read(data, size=(8, 8))
    assert (result[:, :4] == 255).all()
    assert (result[:, 4:] == 0).all()
    assert torch.equal(read(data, size=(8, 8), colour="grey"), result[:1])


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    data = content(Image.new("RGBA", (2, 2), (100, 0, 200, 128)))
    expected = [round(128 / 255 * value + 127 / 255 * 255) for value in (100, 0, 200)]
    assert read(data, size=(1, 1)).flatten().tolist() == pytest.approx(expected, abs=1)


def test_palette_images_have_their_colours() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert read(content(image), size=(1, 2)).squeeze(1).T.tolist() == [[10, 20, 30], [200, 100, 50]]


def test_printing_colours_become_red_green_and_blue() -> None:
    data = content(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG")
    red, green, blue = read(data, size=(1, 1)).flatten().tolist()
    assert (red, green, blue) == pytest.approx((0, 255, 255), abs=4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 257], [25700, 32896, 65406, 65535]], np.uint16)
    result = read(content(Image.fromarray(values), kind), size=(2, 4), colour="grey")
    assert result[0].tolist() == [[0, 0, 1, 1], [100, 128, 254, 255]]
    assert torch.equal(read(content(Image.fromarray(values), kind), size=(2, 4)), result.expand(3, -1, -1))


def test_floating_point_images_go_from_0_to_1() -> None:
    values = np.array([[0.0, 0.5], [0.25, 1.0]], np.float32)
    assert read(content(Image.fromarray(values), "TIFF"), size=(2, 2), colour="grey")[0].tolist() == [
        [0, 128],
        [64, 255],
    ]
    with pytest.raises(DataError, match=r"the grey values go from 0 to 255; expected 0 to 1 of an image of floating"):
        read(content(Image.fromarray(values * 255), "TIFF"), colour="grey")
    with pytest.raises(DataError, match=r"the grey values go from -1 to 70000; expected 0 to 65535"):
        read(content(Image.fromarray(np.array([[-1, 70000]], np.int32)), "TIFF"), colour="grey")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    data = content(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert read(data, size=(1, 1)).flatten().tolist() == [250, 0, 0]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 5)])
def test_any_shape_comes_to_the_size_asked_for(fit: str, shape: tuple[int, int]) -> None:
    data = content(Image.new("RGB", (shape[1], shape[0]), (9, 90, 200)))
    result = read(data, fit=fit)
    assert result.shape == (3, 12, 16)
    if fit != "pad":
        assert (result == torch.tensor([9, 90, 200]).view(3, 1, 1)).all()


def test_a_crop_is_the_middle_and_padding_is_black() -> None:
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, :10, 0], stripes[:, 10:20, 1], stripes[:, 20:, 2] = 200, 200, 200
    data = content(Image.fromarray(stripes))
    cropped = read(data, size=(10, 10), fit="crop")
    assert (cropped == torch.tensor([0, 200, 0]).view(3, 1, 1)).all()
    padded = read(data, size=(30, 30), fit="pad")
    assert (padded[:, :10] == 0).all()
    assert (padded[:, 20:] == 0).all()
    assert torch.equal(padded[:, 10:20], torch.from_numpy(stripes.transpose(2, 0, 1).copy()))


def test_a_crop_begins_inside_the_image() -> None:
    """Rounding made the offset of some heights, such as 191, slightly negative."""
    for height in (55, 97, 110, 191, 224):
        data = content(Image.new("RGB", (256, height), (9, 90, 200)), "PNG")
        assert read(data, size=(224, 224), fit="crop").shape == (3, 224, 224)


def test_a_large_jpeg_is_decoded_small_and_yet_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded at an eighth, within two grey levels of the plain path; a picture not much larger is not touched."""
    from PIL import JpegImagePlugin

    smooth = noise(20, 30).resize((912, 600), Image.Resampling.BICUBIC)
    data = content(smooth, "JPEG", quality=90)
    asked: list[object] = []
    whole = JpegImagePlugin.JpegImageFile.draft

    def draft(self: Any, mode: Any, size: Any) -> Any:
        asked.append(size)
        return whole(self, mode, size)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", draft)
    difference = (read(data).int() - plainly(Image.open(io.BytesIO(data))).int()).abs()
    assert asked == [(114, 75)]
    assert difference.max() <= 2
    assert difference.float().mean() < 0.5
    assert difference.sum() > 0
    for size in ((126, 126), (911, 600)):  # too small; does not divide
        data = content(smooth.resize(size), "JPEG")
        assert torch.equal(read(data), plainly(Image.open(io.BytesIO(data))))
    assert len(asked) == 1


def test_a_bomb_is_refused_by_its_header() -> None:
    """The picture's data is missing, so it can only have been refused before decoding."""
    header = content(Image.new("1", (5000, 4000)))[:60]
    with pytest.raises(DataError) as caught:
        read(header, most=10**7)
    assert str(caught.value) == (
        "the image: the image is 5000 x 4000, 20000000 pixels; expected at most 10000000 (data.max_pixels). "
        "Replace the image."
    )
    huge = header[:16] + (60000).to_bytes(4, "big") * 2
    import zlib

    huge += header[24:29] + zlib.crc32(huge[12:24] + header[24:29]).to_bytes(4, "big") + header[33:]
    with pytest.raises(DataError, match=r"more pixels than Pillow ever decodes \(178956970\); expected at most 100"):
        read(huge, most=10**10)


def test_pillow_does_not_warn_of_sizes_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = content(noise())
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        assert torch.equal(read(data), plainly(noise()))
        assert caught == []
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with pytest.raises(DataError, match="the header declares more pixels than Pillow ever decodes"):
            read(data)


def test_a_memory_error_does_not_mean_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    path = tmp_path / "a.png"
    path.write_bytes(content(noise()))
    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(MemoryError):
        read(path)
    bad: list[BadImage] = []
    with pytest.raises(MemoryError):
        stream([path], on_bad=bad.append)
    assert not bad


def damaged(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Files that are no good picture, and what is said of each."""
    good = content(noise(200, 200), "JPEG")
    for name, data, reason in (
        ("empty.png", b"", "the file is empty; expected an image"),
        ("text.jpg", b"no picture at all", "this is not a supported image format; expected JPEG"),
        ("cut.jpg", good[: len(good) // 2], "the image cannot be decoded: image file is truncated"),
        ("cut.png", content(noise(200, 200))[:5000], "the image cannot be decoded: "),
        ("cut.gif", content(noise(200, 200), "GIF")[:900], "the image cannot be decoded: "),
        (
            "page.eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "this is not a supported image format",
        ),
    ):
        (tmp_path / name).write_bytes(data)
        yield name, reason
    (tmp_path / "folder.png").mkdir()
    yield "folder.png", "this is a folder; expected an image file"
    yield "missing.png", "no such file"
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    yield "broken.png", "no such file"


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    for name, reason in damaged(tmp_path):
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {reason}")
        assert str(caught.value).endswith(". Replace the image.")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        DataError, match=r"secret\.png: the file cannot be read: Permission denied\. Replace the image\."
    ):
        read(tmp_path / "secret.png")


def test_damage_anywhere_is_an_error_of_ours() -> None:
    """Random bytes changed in files of every format: a picture, or a DataError, and nothing else."""
    drawn = np.random.default_rng(0)
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX")
    refused = 0
    for kind in kinds:
        whole = content(noise(), kind)
        for _ in range(40):
            data = bytearray(whole)
            for place in drawn.integers(0, len(data), 4):
                data[place] = drawn.integers(0, 256)
            try:
                assert read(bytes(data)).shape == (3, 12, 16)
            except (DataError, UserWarning):  # Pillow warns of odd EXIF and TIFF tags; tests make that an exception
                refused += 1
    assert refused > 20


def stream(paths: list[Path], **options: Any) -> list[Any]:
    return list(iterate_images(paths, ImageForm(height=12, width=16, max_pixels=10**6), **options))


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_a_stream_keeps_the_order_and_skips_with_reasons(tmp_path: Path, workers: int | None) -> None:
    paths = []
    for number in range(60):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(content(noise(seed=number)) if number % 10 else b"bad")
    bad: list[BadImage] = []
    result = stream(paths, workers=workers, on_bad=bad.append)
    assert [picture.path for picture in result] == [path for number, path in enumerate(paths) if number % 10]
    for path, pixels in result:
        assert np.array_equal(pixels, read(path).numpy())
    assert [item.name for item in bad] == [str(path) for path in paths[::10]]
    assert str(bad[0]).startswith(f"{paths[0]}: this is not a supported image format; expected JPEG")
    assert str(bad[0]).endswith(".")
    with pytest.raises(DataError) as caught:
        stream(paths, workers=workers)
    assert str(caught.value).startswith(f"{paths[0]}: this is not a supported image format")
    assert "skip bad files" in str(caught.value)


def test_skipped_files_are_counted_and_ten_are_named() -> None:
    bad = [BadImage(f"{number}.png", "no such file") for number in range(12)]
    skipped = Skipped()
    assert skipped.sentences() == []
    skipped.add(bad[0])
    assert skipped.sentences() == ["Skipped 1 unreadable file; the first: 0.png: no such file."]
    for each in bad[1:]:
        skipped.add(each)
    assert skipped.sentences(read=7) == [
        "Skipped 12 unreadable files and read 7 images; the first: 0.png: no such file.",
        *(f"{number}.png: no such file." for number in range(1, 10)),
    ]


def test_work_goes_a_bounded_way_ahead_and_stops_with_its_reader() -> None:
    begun: list[int] = []
    results = in_order(lambda number: begun.append(number) or number, range(100_000), 2)  # type: ignore[func-returns-value]
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(begun) < 200
    results.close()  # type: ignore[attr-defined]
    assert len(begun) < 200
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("triptych-images")]


def test_a_name_that_is_not_utf8_is_read_and_shown(tmp_path: Path) -> None:
    path = Path(str(tmp_path) + "/caf\udce9.png")
    path.write_bytes(content(noise()))
    assert np.array_equal(stream([path])[0].pixels, plainly(noise()).numpy())
    assert shown(path) == f"{tmp_path}/caf\\xe9.png"
    path.write_bytes(b"bad")
    with pytest.raises(DataError) as caught:
        stream([path])
    assert str(caught.value).encode("utf-8").startswith(f"{tmp_path}/caf\\xe9.png: ".encode())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_the_grey_of_16_bits_that_a_png_declares_transparent_becomes_white() -> None:
    """Written by hand after the PNG specification: 0, 1000 (transparent), 30000 and 65535 in one row."""
    row = b"\0" + struct.pack(">4H", 0, 1000, 30000, 65535)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 16, 0, 0, 0, 0))
    parts = [header, chunk(b"tRNS", struct.pack(">H", 1000)), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    assert read(data, size=(1, 4), colour="grey").flatten().tolist() == [0, 255, round(30000 / 257), 255]


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_tiff_in_which_zero_is_white_is_turned_around(kind: type, top: int) -> None:
    values: np.ndarray[Any, Any] = np.array([[0, top // 5, top]], dtype=kind)
    data = content(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    found = read(data, size=(1, 3), colour="grey").flatten().tolist()
    if kind is np.uint8:  # Pillow turns eight bits around when it writes and when it reads
        assert found == [0, 51, 255]
    else:
        assert found == [255, 204, 0]
    assert torch.equal(read(data, size=(1, 3)), torch.tensor(found, dtype=torch.uint8).view(1, 1, 3).expand(3, 1, 3))


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_a_lab_tiff_is_read_in_both_colours(colour: str) -> None:
    """L = 128 of 255 without colour is the grey 119 of sRGB."""
    data = content(Image.new("LAB", (3, 2), (128, 128, 128)), "TIFF")
    assert read(data, size=(2, 3), colour=colour).float().mean().item() == pytest.approx(119, abs=2)


def test_heic_is_called_by_its_name() -> None:
    for brand in (b"heic", b"mif1"):
        with pytest.raises(DataError, match=r"the file is a HEIC image, which cannot be read; convert it to JPEG"):
            read(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic")
    with pytest.raises(DataError) as caught:
        read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    check_message("images.heic", caught.value)


def test_an_image_without_pixels_is_refused() -> None:
    for empty in (np.zeros((0, 10, 3), np.uint8), np.zeros((4, 0, 1), np.uint8), Image.new("RGB", (0, 0))):
        with pytest.raises(DataError, match="expected at least one pixel") as caught:
            read_image(empty, ImageForm())
    check_message("images.no-pixels", caught.value)
