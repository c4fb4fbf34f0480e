"""Keeps GGUF models as folders that OpenVINO loads at once: graph, weights and tokenizer.

A folder is made when its model is loaded for the first time, under the cache of the home; losing
one costs the seconds to make it again. It is gone when its model is: the folder of a file that no
longer exists is removed when another is made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dimora.core.errors import InvalidModel, StorageFull
from dimora.core.parent_death import die_with_parent
from dimora.core.processor import multiplies_bytes
from dimora.engines import _openvino_encoder
from dimora.engines._openvino_graph import build
from dimora.engines._openvino_silence import silence
from dimora.engines._unigram_reading import read_vocabulary
from dimora.tasks.base import Model

if TYPE_CHECKING:
    import gguf
    import openvino
    from numpy.typing import NDArray

# Counts up when the graph of a file changes, so that old folders are made anew.
_FORM = 3
GRAPH = "openvino_model.xml"
VOCABULARY = "vocabulary"
_UNPACKED = "unpacked"
_ORIGIN = "origin"
_HALF = "half-"
_REASON = "reason"
_INVALID, _NO_ROOM = 3, 4
# What nobody has touched for so long was left by one that was killed.
_ABANDONED_SECONDS = 3600.0
# A constant of this size or less is a shape, a place or a single number, the same in all layers.
_SMALL_BYTES = 64
_COUNT_AT = 8
_METADATA_AT = 16


@contextlib.contextmanager
def ready_folder(
    weights: str,
    model: Model,
    cache_path: str,
    scratch_path: str,
    *,
    unpacked: bool = False,
    anew: bool = False,
) -> Iterator[Path]:
    """The folder of this model, made if need be, or `anew`; in `scratch_path` for the time of the
    `with` where the cache cannot be written. With `unpacked` the weights of an encoder are whole
    numbers in the graph instead of blocks.

    Raises InvalidModel, and StorageFull when there is no room.
    """
    home = Path(cache_path) / "openvino"
    digest = model.weights_digest.replace(":", "-").replace("/", "-")
    kind = f"-{_UNPACKED}" if unpacked else ""
    kept = home / f"{digest}{kind}{_form()}"
    if anew:
        shutil.rmtree(kept, ignore_errors=True)
    if (kept / _ORIGIN).is_file():
        yield kept
        return
    _tidy(home, but=kept)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=_HALF, dir=home))
    except OSError:
        half = Path(tempfile.mkdtemp(prefix=_HALF, dir=scratch_path))
    try:
        _make(half, weights, unpacked=unpacked)
        if half.parent != home:
            yield half
            return
        with contextlib.suppress(OSError):
            # Another worker may have been quicker: its folder is as good.
            half.rename(kept)
        yield kept
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _make(folder: Path, weights: str, *, unpacked: bool) -> None:
    """In a process of its own, since what is unpacked on the way leaves holes in memory."""
    maker = [sys.executable, "-P", "-m", __name__, weights, str(folder)]
    maker += [_UNPACKED] if unpacked else []
    ended = subprocess.run(
        maker, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, check=False
    ).returncode
    if ended == _NO_ROOM:
        raise StorageFull(
            "there is no room for the cache of this model",
            hint="free space on its disk, or choose the engine llama_cpp",
        )
    if ended:
        why = "the process that prepares it for OpenVINO ended"
        with contextlib.suppress(OSError):
            why = (folder / _REASON).read_text()
        raise InvalidModel(why, hint="choose the engine llama_cpp", code="engine_cannot_load")


def main(weights: str, folder: Path, *, unpacked: bool) -> int:
    """Makes the folder's files; 0, or how it ended."""
    try:
        _write(weights, folder, unpacked=unpacked)
    except InvalidModel as why:
        (folder / _REASON).write_text(why.message)
        return _INVALID
    except OSError as why:
        if why.errno in (errno.ENOSPC, errno.EDQUOT):
            return _NO_ROOM
        raise
    return 0


def _write(weights: str, folder: Path, *, unpacked: bool) -> None:
    silence()
    try:
        reader = _read(weights)
    except (ValueError, IndexError, KeyError, TypeError):
        raise InvalidModel("this GGUF file cannot be read") from None
    if _openvino_encoder.can_build(reader):
        _write_graph(folder, _openvino_encoder.build(reader, unpacked=unpacked))
        (folder / VOCABULARY).write_bytes(msgspec.msgpack.encode(read_vocabulary(reader)))
    else:
        with ThreadPoolExecutor(1) as beside:
            tokenizer = beside.submit(_write_tokenizer, folder, reader)
            _write_graph(folder, build(reader))
            tokenizer.result()
    (folder / _ORIGIN).write_text(str(Path(weights).resolve()))
    for path in folder.iterdir():
        # On the disk before the folder gets its name: a name stands for whole files.
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _read(weights: str) -> gguf.GGUFReader:
    import gguf
    import numpy as np

    class Reader(gguf.GGUFReader):  # type: ignore[misc]
        """Over a plain array: it takes half a million slices for a large vocabulary, and those of
        a memory map take three times as long."""

        @property
        def data(self) -> NDArray[Any]:
            return self._plain

        @data.setter
        def data(self, mapped: NDArray[Any]) -> None:
            self._plain = mapped.view(np.ndarray)

    return Reader(weights)


def _write_graph(folder: Path, graph: openvino.Model) -> None:
    import openvino

    _simplify(graph)
    try:
        openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
    except RuntimeError:
        # It tells of a full disk in words of its own.
        raise OSError(errno.ENOSPC, "the graph cannot be written") from None


def _simplify(graph: openvino.Model) -> None:
    """Fewer nodes: each time OpenVINO loads a graph it walks over all of them many times."""
    from openvino._offline_transformations import apply_moc_transformations

    apply_moc_transformations(graph, cf=False)
    kept: dict[tuple[object, ...], openvino.Output] = {}
    for node in graph.get_ops():
        if node.get_type_name() == "Constant" and node.get_byte_size() <= _SMALL_BYTES:
            about = str(node.get_element_type()), str(node.shape), node.data.tobytes()
            one = kept.setdefault(about, node.output(0))
            for reader in node.output(0).get_target_inputs():
                reader.replace_source_output(one)


def _write_tokenizer(folder: Path, reader: gguf.GGUFReader) -> None:
    """Of the file's metadata alone: the reader for tokenizers would look at all weights as well,
    and fail where it does not know one of their formats."""
    import openvino_genai

    end = min((int(tensor.field.offset) for tensor in reader.tensors), default=len(reader.data))
    words = folder / "words.gguf"
    with words.open("wb") as file:
        file.write(reader.data[:_COUNT_AT].tobytes())
        file.write(struct.pack("<Q", 0))
        file.write(reader.data[_METADATA_AT:end].tobytes())
    try:
        openvino_genai.Tokenizer(words, enable_save_ov_model=True)
    except RuntimeError:
        raise InvalidModel("OpenVINO cannot read the tokenizer of this model") from None
    finally:
        words.unlink()


def _tidy(home: Path, *, but: Path) -> None:
    """Remove folders of models that are gone, of other versions, and halves left behind."""
    with contextlib.suppress(OSError):
        for folder in home.iterdir():
            if folder == but:
                continue
            if folder.name.startswith(_HALF):
                stale = time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS
            else:
                stale = not _is_current(folder)
            if stale:
                shutil.rmtree(folder, ignore_errors=True)


def _form() -> str:
    """How names end of folders that fit this version and this processor."""
    numbers = "bytes" if multiplies_bytes() else "floats"
    return f"-{numbers}-{_FORM}-{version('openvino-genai')}"


def _is_current(folder: Path) -> bool:
    if not folder.name.endswith(_form()):
        return False
    try:
        return Path((folder / _ORIGIN).read_text()).exists()
    except (OSError, UnicodeDecodeError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), unpacked=sys.argv[3:] == [_UNPACKED]))
