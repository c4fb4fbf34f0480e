"""Letters in pictures: RapidOCR, whose models come with it, on this machine's processor."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

EXTRA = "ocr"
# A line of letters is told apart from noise above this.
_SCORE = 0.5


def is_installed() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


class LetterReader:
    """Reads pictures one after another; the models are loaded with the first of a process."""

    def lines(self, picture: numpy.ndarray) -> list[str]:
        """Lines of text from top to bottom. `picture` is height x width x 3 (BGR), 8 bits."""
        try:
            found = _engine()(picture)
        except Exception as why:
            # The engine has an error of its own for memory that ran out.
            if "alloc" in str(why):
                raise MemoryError from None
            raise
        if found.boxes is None or found.txts is None:
            return []
        placed = [
            (box, text)
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
            if score >= _SCORE
        ]
        return _in_lines(placed)


@cache
def _engine() -> Any:
    import logging

    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            # Its address space is limited: no arenas that grow ahead, few threads.
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
            # Lines are looked for at this size; small pictures are not made larger for it.
            "Det.limit_type": "max",
            "Det.limit_side_len": 1280,
        }
    )


def _in_lines(placed: list[tuple[Any, str]]) -> list[str]:
    """Boxes on the same height are one line."""
    boxes = [
        (float(box[:, 1].min()), float(box[:, 1].max()), float(box[:, 0].min()), text)
        for box, text in placed
    ]
    lines: list[list[tuple[float, float, float, str]]] = []
    for box in sorted(boxes):
        top, bottom = box[:2]
        middle = (top + bottom) / 2
        if lines and lines[-1][0][0] <= middle <= lines[-1][0][1]:
            lines[-1].append(box)
        else:
            lines.append([box])
    return [" ".join(one[3] for one in sorted(line, key=lambda b: b[2])) for line in lines]
