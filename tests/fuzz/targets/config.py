"""The small JSON layers of a model: config, parameters, messages."""

from __future__ import annotations

from dimora.core.errors import BadRequest, InvalidModel
from dimora.models.manifests import decode_config, decode_messages, decode_params
from dimora.tasks.options import options_from

REFUSAL = InvalidModel


def seeds() -> list[bytes]:
    return [
        b'c{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
        b'"model_type":"1B","file_type":"Q4_0","capabilities":["tools"],"context_length":128,'
        b'"embedding":{"query_prefix":"q: "},"rootfs":{"type":"layers","diff_ids":["sha256:0"]}}',
        b'p{"stop":["</s>"],"temperature":0.5,"num_ctx":4096,"seed":-1,"top_k":40,"x":[1]}',
        b'm[{"role":"user","content":"hi"},{"role":"assistant","content":"y\\u00e8s"}]',
        b'c{"x":' + b"[" * 2000,
    ]


def read(data: bytes) -> None:
    """The first byte says which of them it is."""
    if data[:1] == b"c":
        decode_config(data[1:], "x")
    elif data[:1] == b"m":
        decode_messages(data[1:], "x")
    else:
        params = decode_params(data[1:], "x")
        try:
            options_from(params)
        except BadRequest as why:
            raise InvalidModel(why.message) from None
