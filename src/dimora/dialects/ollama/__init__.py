"""Ollama's language: `/`, `/api/*`, and two routes of ours in its style (tokenize, detokenize).

Read from Ollama 0.33; where we differ on purpose the answer has extra fields, never fewer.
"""

from dimora.dialects._writing import encode
from dimora.dialects.base import Fixed, Incoming, Route
from dimora.dialects.ollama.blobs import decode_blob
from dimora.dialects.ollama.creation import decode_create
from dimora.dialects.ollama.embedding import decode_embed, decode_embeddings
from dimora.dialects.ollama.inference import decode_chat, decode_generate
from dimora.dialects.ollama.inventory import decode_ps, decode_show, decode_tags
from dimora.dialects.ollama.library import (
    decode_copy,
    decode_delete,
    decode_pull,
    decode_push,
)
from dimora.dialects.ollama.tokens import decode_detokenize, decode_tokenize
from dimora.dialects.ollama.words import error

__all__ = ["ROUTES", "error"]


def greet(incoming: Incoming) -> Fixed:
    """The text many clients look for to know that someone is there."""
    return Fixed(b"Ollama is running", media_type="text/plain; charset=utf-8")


def tell_version(incoming: Incoming) -> Fixed:
    """The version of Ollama we are compatible with; our own is in the Server header."""
    return Fixed(encode({"version": incoming.version}))


ROUTES = (
    Route(("GET", "HEAD"), "/", greet),
    Route(("GET", "HEAD"), "/api/version", tell_version),
    Route(("POST",), "/api/generate", decode_generate),
    Route(("POST",), "/api/chat", decode_chat),
    Route(("POST",), "/api/embed", decode_embed),
    Route(("POST",), "/api/embeddings", decode_embeddings),
    Route(("GET", "HEAD"), "/api/tags", decode_tags),
    Route(("GET",), "/api/ps", decode_ps),
    Route(("POST",), "/api/show", decode_show),
    Route(("POST",), "/api/pull", decode_pull),
    Route(("POST",), "/api/push", decode_push),
    Route(("POST",), "/api/copy", decode_copy),
    Route(("DELETE",), "/api/delete", decode_delete),
    Route(("POST",), "/api/create", decode_create),
    Route(
        ("HEAD", "POST"),
        "/api/blobs/{digest}",
        decode_blob,
        uploads=True,
        headers=("content-length",),
    ),
    Route(("POST",), "/api/tokenize", decode_tokenize),
    Route(("POST",), "/api/detokenize", decode_detokenize),
)
