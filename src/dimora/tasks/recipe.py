"""What a model is made of: the whole of a Modelfile, or of a request to create, as plain values.

Files are named by the digests of blobs that are in the store already.
"""

from __future__ import annotations

import msgspec

from dimora.core.types import Message
from dimora.tasks.options import Options


class AdapterPart(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter: a GGUF file, or the files of a PEFT directory. `scale` weighs its effect."""

    files: dict[str, str]
    scale: float = 1.0


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is made. What is None or empty is kept from `source`, an empty text removes.

    `files` maps relative file names to digests: a GGUF (and perhaps its projector), or a folder
    of safetensors, OpenVINO IR or ONNX Runtime GenAI. Options override one by one, messages
    replace, licences append. `quantize` is a type such as `Q4_K_M`. `draft` names a model that
    guesses ahead, `draft_files` are its files instead. `documents` maps names of documents that
    belong to the model to digests.
    """

    source: str = ""
    files: dict[str, str] = {}
    adapters: tuple[AdapterPart, ...] = ()
    quantize: str = ""
    draft: str = ""
    draft_files: dict[str, str] = {}
    draft_quantize: str = ""
    options: Options = Options()
    system: str | None = None
    template: str | None = None
    messages: tuple[Message, ...] | None = None
    licenses: tuple[str, ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    documents: dict[str, str] = {}
