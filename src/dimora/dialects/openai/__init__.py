"""OpenAI's language: chat completions, completions, embeddings and models under `/v1`.

The ready tasks stand there too, with its errors and usage.
"""

from dimora.dialects.base import Route
from dimora.dialects.openai.chat import decode_chat
from dimora.dialects.openai.completions import decode_completion
from dimora.dialects.openai.embeddings import decode_embeddings
from dimora.dialects.openai.models import decode_model, decode_models
from dimora.dialects.openai.tasks import decode_task, decode_tasks
from dimora.dialects.openai.words import error

__all__ = ["ROUTES", "error"]

ROUTES = (
    Route(("POST",), "/v1/chat/completions", decode_chat),
    Route(("POST",), "/v1/completions", decode_completion),
    Route(("POST",), "/v1/embeddings", decode_embeddings),
    Route(("GET",), "/v1/models", decode_models),
    Route(("GET",), "/v1/models/{model:path}", decode_model),
    Route(("GET",), "/v1/tasks", decode_tasks),
    Route(("POST",), "/v1/tasks/{name}", decode_task),
)
