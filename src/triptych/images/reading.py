"""Image files of any kind, brought to one form: `read_image` for one, `iterate_images` for a stream."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from triptych.config import ImageForm
from triptych.errors import DataError
from triptych.images.bad_files import BAD_FILE_ADVICE, BadImage, BadImageError, UnreadableError, shown

Pixels = npt.NDArray[np.uint8]

# Formats that Pillow decodes by itself; EPS, for one, would start another program.
FORMATS = (
    "JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "TGA", "JPEG2000", "ICO", "PCX", "SGI", "AVIF",
)  # fmt: skip
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
# What decoders raise on damaged files; MemoryError does not mean a damaged file.
_DAMAGE = (
    OSError, SyntaxError, ValueError, LookupError, EOFError, ArithmeticError, TypeError, AttributeError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_WHITE_IS_ZERO = (262, 0)  # TIFF's tag PhotometricInterpretation
_CHUNK = 16
_FINE_PIXELS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


class DecodedImage(NamedTuple):
    """One image of a stream: its path, and its pixels, uint8 (C, height, width)."""

    path: Path
    pixels: Pixels


def read_image(image: Any, form: ImageForm) -> Pixels:
    """An image in any of the ways users have it, brought to a form. Shape (C, height, width).

    The EXIF orientation is applied. Transparent images are laid over white, of animated ones the first frame is taken,
    16-bit values are scaled. A large JPEG whose sides divide is decoded at a half, a quarter or an eighth of its size
    as long as that leaves four pixels for each one asked for, which moves values by a grey level or two.

    Args:
        image: a path, the bytes of an image file, a Pillow image, or an array uint8 (height, width, 1, 3 or 4), or
            without the last axis.
    Raises:
        DataError: it is none of these, or cannot be read.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
    elif isinstance(image, str):
        image = Path(image)
    elif not isinstance(image, Path | bytes | Image.Image):
        raise DataError(
            f"an image of type {type(image).__name__} cannot be read; expected a path, the bytes of an image file, a "
            "Pillow image, or an array."
        )
    try:
        return decode(image, form)
    except BadImageError as error:
        place = shown(image) if isinstance(image, Path) else "the image"
        raise DataError(f"{error}.", hint="Replace the image.", path=place) from None


def _check_array(image: npt.NDArray[Any]) -> None:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise DataError(
            f"the image is an array of {image.dtype} with shape {image.shape}; "
            "expected uint8 of shape (height, width), or (height, width, channels) with 1, 3 or 4 channels."
        )
    if image.size == 0:
        raise DataError(f"the image is an array of shape {image.shape}; expected at least one pixel.")


def iterate_images(
    paths: Iterable[Path | str],
    form: ImageForm,
    *,
    workers: int | None = None,
    on_bad: Callable[[BadImage], None] | None = None,
) -> Iterator[DecodedImage]:
    """Decode images in parallel and yield them in order, holding a bounded number, however many paths there are.

    Args:
        workers: threads that decode; None is one for each processor this process may use.
        on_bad: called with each bad file, which is then skipped; None raises its error.
    Raises:
        DataError: a file cannot be used and `on_bad` is None.
    """

    def attempt(path: Path) -> tuple[Path, Pixels | BadImageError]:
        return path, decode_or_reason(path, form)

    for path, pixels in in_order(attempt, map(Path, paths), workers):
        if not isinstance(pixels, BadImageError):
            yield DecodedImage(path, pixels)
        elif on_bad is None:
            raise DataError(f"{pixels}.", hint=BAD_FILE_ADVICE, path=shown(path))
        else:
            on_bad(BadImage(shown(path), str(pixels)))


def decode_or_reason(source: Path | bytes | npt.NDArray[Any], form: ImageForm) -> Pixels | BadImageError:
    """As `decode`, but a problem is returned, not raised, so that a parallel stream continues."""
    try:
        return decode(source, form)
    except BadImageError as error:
        return error


def decode(source: Path | bytes | Image.Image | npt.NDArray[Any], form: ImageForm) -> Pixels:
    """As `read_image`, of a Pillow image leaving it as it is.

    Raises:
        BadImageError: it cannot be used.
    """
    if isinstance(source, np.ndarray):
        return _to_form(Image.fromarray(source[:, :, 0] if source.shape[2:] == (1,) else source), form)
    _ignore_warnings_of_size()
    content = b""
    try:
        if isinstance(source, Image.Image):
            _check_size(source, form)
            return _decode_opened(source.copy(), form, white_is_zero=_has_white_zero(source))
        content = source if isinstance(source, bytes) else read_content(source)
        if not content:
            raise BadImageError("the file is empty; expected an image")
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            return _decode_opened(image, form, white_is_zero=_has_white_zero(image))
    except UnidentifiedImageError:
        raise BadImageError(_why_unknown(content)) from None
    except _TOO_LARGE:
        raise BadImageError(
            f"the header declares more pixels than Pillow ever decodes ({2 * (Image.MAX_IMAGE_PIXELS or 0)}); expected "
            f"at most {form.max_pixels} (data.max_pixels)"
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadImageError(f"the image cannot be decoded: {reason.rstrip('.')}") from None


def is_heic(beginning: bytes) -> bool:
    """Whether a file's first bytes are those of HEIC, the format of iPhones, which Pillow does not read."""
    return beginning[4:8] == b"ftyp" and beginning[8:12] in _HEIC_BRANDS


def _why_unknown(content: bytes) -> str:
    if is_heic(content[:12]):
        return "the file is a HEIC image, which cannot be read; convert it to JPEG"
    return "this is not a supported image format; expected JPEG, PNG, GIF, WebP, BMP, TIFF or another"


def read_content(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        UnreadableError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableError("no such file") from None
    except IsADirectoryError:
        raise UnreadableError("this is a folder; expected an image file") from None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


def has_sixteen_bits(path: Path) -> bool:
    """Whether an image file's header declares grey values of more than eight bits."""
    try:
        with Image.open(path, formats=_formats()) as image:
            return image.mode.startswith("I")
    except (*_DAMAGE, *_TOO_LARGE):
        return False


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """`map` in threads: results in the order of the items, a bounded number ahead of what is asked for.

    Pillow and hashlib let other threads run while they work, so threads are enough, and start at once.
    """
    workers = workers or available_processors()
    if workers == 1:
        yield from map(function, items)
        return
    source = iter(items)
    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="triptych-images")
    try:
        while chunk := list(islice(source, _CHUNK)):
            waiting.append(pool.submit(list, map(function, chunk)))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def available_processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _ignore_warnings_of_size() -> None:
    """Pillow warns of large images, whose size `max_pixels` limits here; a filter that the user set for it stays.

    The filter is for the whole process: one around each opening would not be safe in threads, and would make warnings
    that are shown once be shown again.
    """
    if not any(category is Image.DecompressionBombWarning for _, _, category, *_ in warnings.filters):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _decode_opened(image: Image.Image, form: ImageForm, *, white_is_zero: bool) -> Pixels:
    _check_size(image, form)
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg:
        _shrink_while_decoding(image, form)
    image.load()
    plain = is_jpeg and not image.info.keys() & {"exif", "xmp"}  # most files; looking for an orientation takes time
    turn = None if plain else _TURNS.get(_orientation(image))
    if image.mode.startswith("I") or image.mode == "F":
        image = _with_eight_bits(image, white_is_zero=white_is_zero)
    return _to_form(image if turn is None else image.transpose(turn), form)


def _has_white_zero(image: Image.Image) -> bool:
    """Whether an opened TIFF says that 0 is white, which Pillow turns around for eight bits and leaves for 16."""
    tag, value = _WHITE_IS_ZERO
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(tag) == value


def _check_size(image: Image.Image, form: ImageForm) -> None:
    pixels = image.width * image.height
    if pixels == 0:
        raise BadImageError(f"the image is {image.width} x {image.height} pixels; expected at least one pixel")
    if pixels > form.max_pixels:
        raise BadImageError(
            f"the image is {image.width} x {image.height}, {pixels} pixels; expected at most {form.max_pixels} "
            "(data.max_pixels)"
        )


def _shrink_while_decoding(image: Image.Image, form: ImageForm) -> None:
    """Let a JPEG be decoded at an eighth, a quarter or a half where enough is left to average over.

    Only where both sides divide: otherwise the last row or column averages fewer pixels and all others move.
    """
    least = _FINE_PIXELS * max(form.height, form.width)
    for divisor in (8, 4, 2):
        small = (image.width // divisor, image.height // divisor)
        if min(small) >= least and (small[0] * divisor, small[1] * divisor) == image.size:
            image.draft(None, small)
            return


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or where it cannot be read."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _DAMAGE:
        return 1


def _to_form(image: Image.Image, form: ImageForm) -> Pixels:
    fitted = _fitted(_in_colour(image, form.colour), form)
    rows = np.frombuffer(fitted.tobytes(), np.uint8).reshape(form.height, form.width, -1)
    return rows.transpose(2, 0, 1).copy()


def _in_colour(image: Image.Image, colour: str) -> Image.Image:
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    if image.mode == "LAB":
        image = image.convert("RGB")  # the only way on from there
    mode = "L" if colour == "grey" else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _with_eight_bits(image: Image.Image, *, white_is_zero: bool = False) -> Image.Image:
    """Grey values of 16 bits, or of 0 to 1, on the scale 0 to 255; Pillow's own conversion would clip them.

    The grey that the file declares transparent becomes white.
    """
    values = np.asarray(image)
    top = 1 if image.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= top):
        raise BadImageError(
            f"the grey values go from {values.min():g} to {values.max():g}; expected 0 to {top} of an image of "
            + ("floating-point numbers" if image.mode == "F" else "16-bit integers")
        )
    scaled = np.round(values * 255.0) if image.mode == "F" else (values.astype(np.uint32) + 128) // 257
    scaled = 255 - scaled if white_is_zero else scaled
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled = np.where(values == transparent, 255, scaled)
    return Image.fromarray(scaled.astype(np.uint8))


def _fitted(image: Image.Image, form: ImageForm) -> Image.Image:
    size, bilinear = (form.width, form.height), Image.Resampling.BILINEAR
    if form.fit == "stretch" or image.width * form.height == image.height * form.width:
        return image.resize(size, bilinear)
    across, down = form.width / image.width, form.height / image.height
    if form.fit == "crop":
        scale = max(across, down)
        # Rounding can make an offset that should be 0 slightly negative, which Pillow refuses.
        left, top = max(0.0, image.width - form.width / scale) / 2, max(0.0, image.height - form.height / scale) / 2
        return image.resize(size, bilinear, box=(left, top, image.width - left, image.height - top))
    scale = min(across, down)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, size)
    canvas.paste(image.resize(inner, bilinear), ((form.width - inner[0]) // 2, (form.height - inner[1]) // 2))
    return canvas
