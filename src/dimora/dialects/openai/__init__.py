"""OpenAI's language: chat completions, completions, embeddings, models, files and vector stores
under `/v1`.

Ordering by relevance and the ready tasks stand there too, with its errors and usage.
"""

from dimora.dialects.base import Route
from dimora.dialects.openai import files, vector_stores
from dimora.dialects.openai.chat import decode_chat
from dimora.dialects.openai.completions import decode_completion
from dimora.dialects.openai.embeddings import decode_embeddings
from dimora.dialects.openai.models import decode_model, decode_models
from dimora.dialects.openai.rerank import decode_rerank
from dimora.dialects.openai.tasks import decode_task, decode_tasks
from dimora.dialects.openai.words import error

__all__ = ["ROUTES", "error"]

ROUTES = (
    Route(("POST",), "/v1/chat/completions", decode_chat),
    Route(("POST",), "/v1/completions", decode_completion),
    Route(("POST",), "/v1/embeddings", decode_embeddings),
    Route(("GET",), "/v1/models", decode_models),
    Route(("GET",), "/v1/models/{model:path}", decode_model),
    Route(("POST",), "/v1/rerank", decode_rerank),
    Route(("GET",), "/v1/files", files.decode_list),
    Route(("POST",), "/v1/files", files.decode_upload, form=True, headers=("content-type",)),
    Route(("GET",), "/v1/files/{file}", files.decode_file),
    Route(("DELETE",), "/v1/files/{file}", files.decode_delete, bare=True),
    Route(("GET",), "/v1/vector_stores", vector_stores.decode_list),
    Route(("POST",), "/v1/vector_stores", vector_stores.decode_make),
    Route(("GET",), "/v1/vector_stores/{store}", vector_stores.decode_store),
    Route(("DELETE",), "/v1/vector_stores/{store}", vector_stores.decode_delete, bare=True),
    Route(("POST",), "/v1/vector_stores/{store}/search", vector_stores.decode_search),
    Route(("GET",), "/v1/vector_stores/{store}/files", vector_stores.decode_files),
    Route(("POST",), "/v1/vector_stores/{store}/files", vector_stores.decode_add_file),
    Route(("POST",), "/v1/vector_stores/{store}/file_batches", vector_stores.decode_add_files),
    Route(("GET",), "/v1/vector_stores/{store}/file_batches/{batch}", vector_stores.decode_batch),
    Route(("GET",), "/v1/vector_stores/{store}/files/{file}", vector_stores.decode_file),
    Route(
        ("DELETE",),
        "/v1/vector_stores/{store}/files/{file}",
        vector_stores.decode_remove_file,
        bare=True,
    ),
    Route(("GET",), "/v1/tasks", decode_tasks),
    Route(("POST",), "/v1/tasks/{name}", decode_task),
)
