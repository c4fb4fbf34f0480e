"""Compares how two forms of a model predict a text: each by a tool that can read its format."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dimora.core.errors import BadRequest, InternalError, UnsupportedFeature
from dimora.core.processor import usable_cores
from dimora.models.converting.convert_file import convert_file
from dimora.models.converting.probabilities import compare
from dimora.tasks.base import Model
from dimora.tasks.card import Difference

if TYPE_CHECKING:
    from dimora.models.store import ModelStore

_WINDOW_TOKENS = 256
# Twice the window, in characters of the longest tokens there are.
_LEAST_CHARACTERS = 600
_MOST_WINDOWS = 16
_PERPLEXITY = "llama-perplexity"


class Scoring:
    """`find_tool` gives the path of an executable of the toolchain, or raises what to do."""

    def __init__(self, store: ModelStore, find_tool: Callable[[str], Path]) -> None:
        self._store = store
        self._find_tool = find_tool

    async def difference(self, before: Model, after: Model, text: str) -> Difference:
        """Raises UnsupportedFeature, InvalidModel, NotFound when the toolchain is not there."""
        if len(text) < _LEAST_CHARACTERS:
            raise BadRequest(
                f"the text is too short: {len(text)} characters", hint="give it a page or more"
            )
        formats = [model.summary.details.format for model in (before, after)]
        if "gguf" not in formats:
            raise UnsupportedFeature("one of the two must be a GGUF model")
        with tempfile.TemporaryDirectory(prefix="dimora-scoring-") as place:
            made = [Path(place, "before"), Path(place, "after")]
            words = Path(place, "text")
            await asyncio.to_thread(words.write_text, text, encoding="utf-8")
            # The GGUF goes first: it says which tokens the text has.
            order = [0, 1] if formats[0] == "gguf" else [1, 0]
            models = [before, after]
            for at in order:
                if formats[at] == "gguf":
                    await self._score_gguf(models[at], words, made[at])
                else:
                    like = (models[1 - at], made[1 - at], words)
                    await self._score_like(models[at], like, made[at])
            return await asyncio.to_thread(compare, *made)

    async def _score_gguf(self, model: Model, words: Path, target: Path) -> None:
        tool = self._find_tool(_PERPLEXITY)
        files = await asyncio.to_thread(self._store.verified_files, model)
        window = str(_WINDOW_TOKENS)
        arguments = ["-m", files.weights, "-f", str(words), "--save-all-logits", str(target)]
        arguments += ["-c", window, "-b", window, "-ub", window, "--chunks", str(_MOST_WINDOWS)]
        # Its own count takes in cores that this process may not use.
        arguments += ["-ngl", "0", "--offline", "-t", str(usable_cores())]
        for path, scale in files.adapters:
            arguments += ["--lora-scaled", f"{path}:{scale}"]
        process = await asyncio.create_subprocess_exec(
            str(tool),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if status != 0:
            raise InternalError(f"{_PERPLEXITY} failed on {model.name}")

    async def _score_like(self, model: Model, like: tuple[Model, Path, Path], target: Path) -> None:
        """`like` is the GGUF model, its file of probabilities, and the text."""
        gguf, scored, words = like
        files = await asyncio.to_thread(self._store.verified_files, model)
        folder = target.with_name("folder")
        await asyncio.to_thread(_link, files.folder, folder)
        choices = {"like": str(scored), "words": str(words), "bos": _bos_of(gguf)}
        await convert_file("ir_probabilities", folder, target, **choices)


def _link(files: dict[str, str], folder: Path) -> None:
    for name, path in files.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)


def _bos_of(model: Model) -> str:
    """The token each window begins with, for tokenizers that put one there."""
    if not model.metadata.get("tokenizer.ggml.add_bos_token"):
        return ""
    return str(model.metadata.get("tokenizer.ggml.bos_token_id", ""))


def read_scoring_text() -> str:
    """The text that comes with the house."""
    from importlib.resources import files

    return (
        files("dimora.models.converting").joinpath("scoring_text.txt").read_text(encoding="utf-8")
    )
