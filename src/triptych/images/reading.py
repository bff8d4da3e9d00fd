"""Picture files, of whatever kind, brought to one form: `read_picture` for one, `iterate_pictures` for a stream."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from triptych.errors import DataError
from triptych.images.bad_files import BAD_FILE_ADVICE, BadPicture, BadPictureError, UnreadableError, shown
from triptych.images.predictions import check_array

if TYPE_CHECKING:
    from torch import Tensor

Colour = Literal["grey", "rgb"]
Fit = Literal["stretch", "crop", "pad"]
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
# What decoders raise on damaged files; want of memory is no damage.
_DAMAGE = (
    OSError, SyntaxError, ValueError, LookupError, EOFError, ArithmeticError, TypeError, AttributeError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_CHUNK = 16
_FINE_PIXELS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class PictureForm:
    """What every picture is brought to.

    Attributes:
        height, width: in pixels.
        colour: one channel of grey, or three of red, green and blue.
        fit: `stretch` ignores the shape, `crop` cuts the middle out, `pad` adds black edges.
        max_pixels: the largest picture that is decoded, width times height.
    """

    height: int
    width: int
    colour: Colour
    fit: Fit = "stretch"
    max_pixels: int = 50_000_000

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, height, width)."""
        return (1 if self.colour == "grey" else 3, self.height, self.width)


class Picture(NamedTuple):
    """One picture of a stream: its path, and its pixels, uint8 (C, height, width)."""

    path: Path
    pixels: Tensor


def read_picture(
    source: Path | str | bytes, *, height: int, width: int, colour: Colour, fit: Fit, max_pixels: int
) -> Tensor:
    """One picture, decoded and brought to a size.

    The EXIF orientation is applied. Transparent pictures are laid over white, of animated ones the first frame is
    taken, 16-bit values are scaled. A large JPEG whose sides divide is decoded at a half, a quarter or an eighth of its
    size as long as that leaves four pixels for each one asked for, which moves values by a grey level or two.

    Args:
        source: a path, or the content of a file.
        height, width, colour, fit, max_pixels: see `PictureForm`.
    Returns:
        uint8 (C, height, width).
    Raises:
        DataError: the file is missing, unreadable, no picture, damaged, or larger than max_pixels.
    """
    import torch  # only where tensors are asked for: exported models decode pictures without it

    return torch.from_numpy(read_given(source, PictureForm(height, width, colour, fit, max_pixels)))


def read_given(picture: Any, form: PictureForm) -> Pixels:
    """Whatever users have for a picture, brought to a form. Shape (C, height, width).

    Args:
        picture: a path, the bytes of an image file, a Pillow image, or an array uint8 (height, width, 3 or 4), or
            without the last axis.
        form: what it is brought to.
    Raises:
        DataError: it is none of these, or cannot be read.
    """
    if isinstance(picture, np.ndarray):
        check_array(picture)
    elif isinstance(picture, str):
        picture = Path(picture)
    elif not isinstance(picture, Path | bytes | Image.Image):
        raise DataError(
            f"picture is of type {type(picture).__name__}; expected a path, the bytes of an image file, a Pillow "
            "image, or an array."
        )
    try:
        return decode(picture, form)
    except BadPictureError as error:
        place = shown(picture) if isinstance(picture, Path) else "the picture"
        raise DataError(f"{error}. Replace the file.", path=place) from None


def iterate_pictures(
    paths: Iterable[Path | str],
    *,
    height: int,
    width: int,
    colour: Colour,
    fit: Fit,
    max_pixels: int,
    workers: int | None = None,
    on_bad: Callable[[BadPicture], None] | None = None,
) -> Iterator[Picture]:
    """Decode pictures in parallel and yield them in order, holding a bounded number, however many paths there are.

    Args:
        paths: any number of paths, read as they are needed.
        height, width, colour, fit, max_pixels: see `PictureForm`.
        workers: threads that decode; None is one for each processor this process may use.
        on_bad: called with each bad file, which is then left out; None raises its error.
    Raises:
        DataError: a file cannot be used and `on_bad` is None.
    """
    import torch

    form = PictureForm(height, width, colour, fit, max_pixels)

    def attempt(path: Path) -> tuple[Path, Pixels | BadPictureError]:
        return path, decode_or_reason(path, form)

    for path, pixels in in_order(attempt, map(Path, paths), workers):
        if not isinstance(pixels, BadPictureError):
            yield Picture(path, torch.from_numpy(pixels))
        elif on_bad is None:
            raise DataError(f"{pixels}. {BAD_FILE_ADVICE}", path=shown(path))
        else:
            on_bad(BadPicture(shown(path), str(pixels)))


def decode_or_reason(source: Path | bytes | npt.NDArray[Any], form: PictureForm) -> Pixels | BadPictureError:
    """As `decode`, but a problem is returned, not raised, so that a parallel stream goes on."""
    try:
        return decode(source, form)
    except BadPictureError as error:
        return error


def decode(source: Path | bytes | Image.Image | npt.NDArray[Any], form: PictureForm) -> Pixels:
    """A picture as uint8 (C, height, width): a file, its content, a Pillow image, which stays as it is, or an array.

    Arrays are uint8 (height, width) or (height, width, 3 or 4).

    Raises:
        BadPictureError: it cannot be used.
    """
    if isinstance(source, np.ndarray):
        return _to_form(Image.fromarray(source), form)
    _ignore_warnings_of_size()
    try:
        if isinstance(source, Image.Image):
            _check_size(source, form)
            return _decode_opened(source.copy(), form)
        content = source if isinstance(source, bytes) else read_content(source)
        if not content:
            raise BadPictureError("the file is empty; expected a picture")
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            return _decode_opened(image, form)
    except UnidentifiedImageError:
        raise BadPictureError(
            "the content is no picture of a known format; expected JPEG, PNG, GIF, WebP, BMP, TIFF or another"
        ) from None
    except _TOO_LARGE:
        raise BadPictureError(
            f"the header says more pixels than Pillow ever decodes ({2 * (Image.MAX_IMAGE_PIXELS or 0)}); expected at "
            f"most {form.max_pixels} (data.max_pixels)"
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadPictureError(f"the picture cannot be decoded: {reason.rstrip('.')}") from None


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
    """Whether a picture file's header says grey values of more than eight bits."""
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
    pool = ThreadPoolExecutor(workers, thread_name_prefix="triptych-pictures")
    try:
        while chunk := list(islice(source, _CHUNK)):
            waiting.append(pool.submit(_apply, function, chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def available_processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _ignore_warnings_of_size() -> None:
    """Pillow warns of large pictures, whose size `max_pixels` limits here; a filter that the user set for it stays.

    The filter is for the whole process: one around each opening would not be safe in threads, and would make warnings
    that are shown once be shown again.
    """
    if not any(category is Image.DecompressionBombWarning for _, _, category, *_ in warnings.filters):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _decode_opened(image: Image.Image, form: PictureForm) -> Pixels:
    _check_size(image, form)
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg:
        _shrink_while_decoding(image, form)
    image.load()
    plain = is_jpeg and not image.info.keys() & {"exif", "xmp"}  # most files; looking for an orientation takes time
    turn = None if plain else _TURNS.get(_orientation(image))
    return _to_form(image if turn is None else image.transpose(turn), form)


def _check_size(image: Image.Image, form: PictureForm) -> None:
    pixels = image.width * image.height
    if pixels > form.max_pixels:
        raise BadPictureError(
            f"the picture is {image.width} x {image.height}, {pixels} pixels; expected at most {form.max_pixels} "
            "(data.max_pixels)"
        )


def _shrink_while_decoding(image: Image.Image, form: PictureForm) -> None:
    """Let a JPEG be decoded at an eighth, a quarter or a half where enough is left to average over.

    Only where both sides divide: otherwise the last row or column stands for fewer pixels and all others move.
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


def _to_form(image: Image.Image, form: PictureForm) -> Pixels:
    fitted = _fitted(_in_colour(image, form.colour), form)
    rows = np.frombuffer(fitted.tobytes(), np.uint8).reshape(form.height, form.width, -1)
    return rows.transpose(2, 0, 1).copy()


def _in_colour(image: Image.Image, colour: Colour) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _with_eight_bits(image)
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    mode = "L" if colour == "grey" else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _with_eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 bits, or of 0 to 1, on the scale 0 to 255; Pillow's own conversion would clip them."""
    values = np.asarray(image)
    top = 1 if image.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= top):
        raise BadPictureError(
            f"the grey values go from {values.min():g} to {values.max():g}; expected 0 to {top} of a picture of "
            + ("floating-point numbers" if image.mode == "F" else "16-bit integers")
        )
    scaled = np.round(values * 255.0) if image.mode == "F" else (values.astype(np.uint32) + 128) // 257
    return Image.fromarray(scaled.astype(np.uint8))


def _fitted(image: Image.Image, form: PictureForm) -> Image.Image:
    size, bilinear = (form.width, form.height), Image.Resampling.BILINEAR
    if form.fit == "stretch" or image.width * form.height == image.height * form.width:
        return image.resize(size, bilinear)
    across, down = form.width / image.width, form.height / image.height
    if form.fit == "crop":
        scale = max(across, down)
        left, top = (image.width - form.width / scale) / 2, (image.height - form.height / scale) / 2
        return image.resize(size, bilinear, box=(left, top, image.width - left, image.height - top))
    scale = min(across, down)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, size)
    canvas.paste(image.resize(inner, bilinear), ((form.width - inner[0]) // 2, (form.height - inner[1]) // 2))
    return canvas
