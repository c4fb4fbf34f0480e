"""Pictures: the letters in them, where the extra for that is installed."""

from __future__ import annotations

import io

from dimora.documents import _ocr, refusals
from dimora.documents._blocks import Blocks
from dimora.documents.base import Budget, Document

NAME = "picture"
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
MEDIA_TYPES = ("image/png", "image/jpeg", "image/tiff", "image/webp")
EXTRA = _ocr.EXTRA

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")
# Four bytes each are unpacked; a page of A3 at 600 dots per inch has 70 million.
_PIXELS = 80_000_000
# What is larger is made smaller: letters are still read then.
_LONGEST_SIDE = 4000


def is_it(head: bytes, name: str) -> bool:
    return _media_type(head) != ""


def _media_type(head: bytes) -> str:
    for begin, media_type in (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
    ):
        if head.startswith(begin):
            return media_type
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else ""


def read(data: bytes, name: str, budget: Budget) -> Document:
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise refusals.unreadable(NAME) from None
    pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    budget.take_pages(pages)
    if not _ocr.is_installed():
        raise refusals.needs_extra(EXTRA)
    reader = _ocr.LetterReader()
    blocks = Blocks(budget)
    warnings: list[str] = []
    for number, frame in enumerate(ImageSequence.Iterator(picture), 1):
        if number > pages:
            break
        if budget.is_late:
            left = f"from page {number} on it" if pages > 1 else "it"
            warnings.append(f"{left} was not read: there was no time left")
            break
        width, height = frame.size
        if width * height > _PIXELS:
            raise refusals.too_large("a picture has more dots than are read")
        budget.take_unpacked(width * height * 4)
        blocks.page = number if pages > 1 else 0
        _read_frame(frame, reader, blocks)
    if not warnings and not blocks.all():
        warnings.append("no letters were found in it")
    return Document(
        name=name,
        media_type=_media_type(data),
        blocks=blocks.all(),
        pages=pages,
        warnings=tuple(warnings),
    )


def _read_frame(frame, reader: _ocr.LetterReader, blocks: Blocks) -> None:  # type: ignore[no-untyped-def]
    import numpy
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(frame)
    if upright.mode in ("RGBA", "LA", "P", "PA"):
        # What is transparent is taken for paper.
        upright = upright.convert("RGBA")
        paper = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(paper, upright)
    upright = upright.convert("RGB")
    upright.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    lines = reader.lines(numpy.asarray(upright)[:, :, ::-1].copy())
    blocks.add("paragraph", "\n".join(lines))
