"""`/v1/vector_stores`: collections of documents, in OpenAI's words.

A vector store is a collection: its id is the collection's name, its name what the collection is
about. Collections made at the terminal are vector stores too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dimora.core.errors import BadRequest, NotFound
from dimora.core.types import Event
from dimora.dialects._body import Body, BodyReader, check_integer
from dimora.dialects._writing import find_event
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.openai import words
from dimora.dialects.openai.files import Folded, deleted, listed
from dimora.tasks.copy_documents import CopyDocuments
from dimora.tasks.delete_collection import DeleteCollection
from dimora.tasks.knowing import Collection, Filters, Ingested, KnownDocument, Passage
from dimora.tasks.list_collections import CollectionsFound, ListCollections
from dimora.tasks.make_collection import MakeCollection
from dimora.tasks.remove_documents import RemoveDocuments
from dimora.tasks.search_documents import PassagesFound, SearchDocuments
from dimora.tasks.show_collection import CollectionTold, ShowCollection

_BATCH_ID = re.compile(r"vsfb_\d{1,12}_\d{1,6}_[0-9A-Za-z]+")
_NO_STORE = "there is no such vector store, or no such file or batch in it"


class StoreBody(Body, frozen=True, kw_only=True):
    """`model` is ours: which one embeds."""

    name: str = ""
    file_ids: list[str] = []
    metadata: dict[str, Any] = {}
    expires_after: Any = None
    chunking_strategy: Any = None
    model: str = ""


class FileBody(Body, frozen=True, kw_only=True):
    file_id: str = ""
    attributes: dict[str, Any] = {}
    chunking_strategy: Any = None


class BatchBody(Body, frozen=True, kw_only=True):
    """The files by their ids, or each with what belongs to it."""

    file_ids: list[str] = []
    files: list[dict[str, Any]] = []
    attributes: dict[str, Any] = {}
    chunking_strategy: Any = None


class SearchBody(Body, frozen=True, kw_only=True):
    query: Any = ""
    max_num_results: int = 10
    filters: dict[str, Any] = {}
    ranking_options: Any = None
    rewrite_query: bool = False


_STORE, _FILE, _BATCH, _SEARCH = (
    BodyReader(StoreBody),
    BodyReader(FileBody),
    BodyReader(BatchBody),
    BodyReader(SearchBody),
)


def decode_make(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _STORE.read(incoming.body)
    request = MakeCollection(
        model=body.model,
        collection=f"vs_{words.make_id()}",
        about=body.name,
        documents=tuple(body.file_ids),
        warnings=(*warnings, *_ignored(body, "metadata", "expires_after", "chunking_strategy")),
    )
    return Asked(request, Folded(_told_store))


def decode_list(incoming: Incoming) -> Asked:
    del incoming

    def stores(events: Sequence[Event]) -> dict[str, Any]:
        found = find_event(events, CollectionsFound)
        return listed(store_fields(each) for each in (found.collections if found else ()))

    return Asked(ListCollections(), Folded(stores))


def decode_store(incoming: Incoming) -> Asked:
    request = ShowCollection(collection=incoming.path["store"])
    return Asked(request, Folded(_told_store, _NO_STORE))


def decode_delete(incoming: Incoming) -> Asked:
    name = incoming.path["store"]
    answer = Folded(lambda _: deleted(name, "vector_store.deleted"), _NO_STORE)
    return Asked(DeleteCollection(collection=name), answer)


def decode_add_file(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _FILE.read(incoming.body)
    if not body.file_id:
        raise BadRequest("file_id is required", param="file_id")
    store = incoming.path["store"]
    request = CopyDocuments(
        collection=store,
        documents=(body.file_id,),
        warnings=(*warnings, *_ignored(body, "attributes", "chunking_strategy")),
    )

    def added(events: Sequence[Event]) -> dict[str, Any]:
        return file_fields(find_event(events, Ingested).document, store)

    return Asked(request, Folded(added, _NO_STORE))


def decode_add_files(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _BATCH.read(incoming.body)
    ids: list[Any] = [*body.file_ids, *(each.get("file_id") for each in body.files)]
    if not ids or not all(isinstance(each, str) for each in ids):
        raise BadRequest("file_ids is required", param="file_ids")
    store = incoming.path["store"]
    request = CopyDocuments(
        collection=store,
        documents=tuple(dict.fromkeys(ids)),
        warnings=(*warnings, *_ignored(body, "attributes", "chunking_strategy")),
    )
    batch = f"vsfb_{words.now_seconds()}_{len(request.documents)}_{words.make_id()}"
    return Asked(request, Folded(lambda _: _batch_fields(store, batch), _NO_STORE))


def decode_batch(incoming: Incoming) -> Asked:
    """A batch is done when it is answered: all there is to tell of it stands in its id."""
    store, batch = incoming.path["store"], incoming.path["batch"]

    def told(events: Sequence[Event]) -> dict[str, Any]:
        # Any other id, that of a file too, is that of no batch.
        if not _BATCH_ID.fullmatch(batch):
            raise NotFound(_NO_STORE, code="document_not_found")
        return _batch_fields(store, batch)

    return Asked(ShowCollection(collection=store), Folded(told, _NO_STORE))


def decode_files(incoming: Incoming) -> Asked:
    store = incoming.path["store"]

    def files(events: Sequence[Event]) -> dict[str, Any]:
        found = find_event(events, CollectionTold)
        return listed(file_fields(each, store) for each in found.documents)

    return Asked(ShowCollection(collection=store), Folded(files, _NO_STORE))


def decode_file(incoming: Incoming) -> Asked:
    store = incoming.path["store"]

    def file(events: Sequence[Event]) -> dict[str, Any]:
        return file_fields(find_event(events, CollectionTold).documents[0], store)

    request = ShowCollection(collection=store, document=incoming.path["file"])
    return Asked(request, Folded(file, _NO_STORE))


def decode_remove_file(incoming: Incoming) -> Asked:
    id_ = incoming.path["file"]
    request = RemoveDocuments(collection=incoming.path["store"], documents=(id_,))
    return Asked(request, Folded(lambda _: deleted(id_, "vector_store.file.deleted"), _NO_STORE))


def decode_search(incoming: Incoming) -> Asked:
    """Raises BadRequest."""
    body, warnings = _SEARCH.read(incoming.body)
    asked = body.query if isinstance(body.query, list) else [body.query]
    if not asked or not all(isinstance(each, str) and each.strip() for each in asked):
        raise BadRequest("query must be a text", param="query")
    check_integer(body.max_num_results, "max_num_results")
    if not 1 <= body.max_num_results <= 50:
        raise BadRequest("max_num_results must be between 1 and 50", param="max_num_results")
    request = SearchDocuments(
        question=" ".join(asked),
        collections=(incoming.path["store"],),
        filters=read_filters(body.filters),
        limit=body.max_num_results,
        warnings=(*warnings, *_ignored(body, "ranking_options", "rewrite_query")),
    )

    def page(events: Sequence[Event]) -> dict[str, Any]:
        found = find_event(events, PassagesFound)
        return {
            "object": "vector_store.search_results.page",
            "search_query": asked,
            "data": [_result(each) for each in (found.passages if found else ())],
            "has_more": False,
            "next_page": None,
        }

    return Asked(request, Folded(page, _NO_STORE))


def read_filters(told: dict[str, Any]) -> Filters:
    """Of comparisons `eq` and `in` with `file_id`, `filename`, `media_type` and `language`, and
    several under `and`. Raises BadRequest for any other."""
    if not told:
        return Filters()
    each = told.get("filters") if told.get("type") == "and" else [told]
    if not isinstance(each, list):
        raise BadRequest("filters has no filters", param="filters")
    known = {"file_id": "documents", "filename": "documents"}
    known |= {"media_type": "media_types", "language": "languages"}
    fields: dict[str, Any] = {}
    for one in each:
        key = known.get(str(one.get("key", ""))) if isinstance(one, dict) else None
        value = one.get("value") if isinstance(one, dict) else None
        values: list[Any] = value if isinstance(value, list) else [value]
        if key is None or one.get("type") not in ("eq", "in") or key in fields:
            raise BadRequest(
                "filters are `eq` or `in` with file_id, filename, media_type or language",
                param="filters",
            )
        if not all(isinstance(each, str) for each in values):
            raise BadRequest("the value of a filter must be a text", param="filters")
        fields[key] = tuple(values)
    return Filters(**fields)


def _batch_fields(store: str, batch: str) -> dict[str, Any]:
    _, created_at, count, _ = batch.split("_")
    return {
        "id": batch,
        "object": "vector_store.files_batch",
        "created_at": int(created_at),
        "vector_store_id": store,
        "status": "completed",
        "file_counts": _counts(completed=int(count), failed=0),
    }


def store_fields(collection: Collection) -> dict[str, Any]:
    return {
        "id": collection.name,
        "object": "vector_store",
        "created_at": int(collection.created_at),
        "name": collection.about or collection.name,
        "usage_bytes": collection.size_bytes,
        "file_counts": _counts(completed=collection.documents, failed=collection.failed),
        "status": "completed",
        "last_active_at": int(collection.changed_at),
        "metadata": {},
    }


def file_fields(document: KnownDocument, store: str) -> dict[str, Any]:
    error = {"code": "invalid_file", "message": document.error} if document.error else None
    return {
        "id": document.id,
        "object": "vector_store.file",
        "usage_bytes": document.size_bytes,
        "created_at": int(document.added_at),
        "vector_store_id": store,
        "status": "failed" if error else "completed",
        "last_error": error,
        "attributes": {
            "filename": document.name,
            "media_type": document.media_type,
            "language": document.language,
        },
    }


def _told_store(events: Sequence[Event]) -> dict[str, Any]:
    return store_fields(find_event(events, CollectionTold).collection)


def _counts(*, completed: int, failed: int) -> dict[str, int]:
    counts = {"completed": completed, "failed": failed, "in_progress": 0, "cancelled": 0}
    return counts | {"total": completed + failed}


def _result(passage: Passage) -> dict[str, Any]:
    """`where` is ours: the page or heading."""
    piece = passage.piece
    return {
        "file_id": passage.document_id,
        "filename": passage.document,
        "score": max(0.0, round(passage.similarity, 4)),
        "attributes": {"page": piece.page, "where": passage.where},
        "content": [{"type": "text", "text": piece.text}],
    }


def _ignored(body: Body, *names: str) -> tuple[str, ...]:
    return tuple(f"field '{name}' was ignored" for name in names if getattr(body, name))
