"""`/v1/files`: files that are sent, to be put into vector stores.

What is kept is what was read of a file: its text, its passages and their vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dimora.core.errors import BadRequest, DimoraError, NotFound
from dimora.core.types import Done, Event
from dimora.dialects._writing import encode, find_event, last_done, warning_fields
from dimora.dialects.base import Asked, Incoming
from dimora.dialects.openai import words
from dimora.tasks.delete_file import DeleteFile
from dimora.tasks.keep_file import FileKept, KeepFile
from dimora.tasks.kept_files import FILES, name_of
from dimora.tasks.knowing import KnownDocument
from dimora.tasks.show_collection import CollectionTold, ShowCollection

_PURPOSES = ("assistants", "user_data", "vision", "batch", "fine-tune", "evals")
# A form of millions of tiny parts would keep the server busy with it alone.
_PARTS_AT_MOST = 32


def decode_upload(incoming: Incoming) -> Asked:
    """Raises BadRequest for what is no form, or has no file in it."""
    fields, name, data = read_form(incoming)
    purpose = fields.get("purpose", "user_data")
    if purpose not in _PURPOSES:
        raise BadRequest("purpose is not known", param="purpose")
    request = KeepFile(name=name, data=data)

    def kept(events: Sequence[Event]) -> dict[str, Any]:
        found = find_event(events, FileKept)
        return file_fields(found.document, purpose) if found else {}

    return Asked(request, Folded(kept))


def decode_list(incoming: Incoming) -> Asked:
    del incoming
    request = ShowCollection(collection=FILES, or_empty=True)
    return Asked(request, Folded(lambda events: listed(map(file_fields, _told(events)))))


def decode_file(incoming: Incoming) -> Asked:
    request = ShowCollection(collection=FILES, document=incoming.path["file"])
    return Asked(request, Folded(_one_file, NO_FILE))


def decode_delete(incoming: Incoming) -> Asked:
    id_ = incoming.path["file"]
    return Asked(DeleteFile(document=id_), Folded(lambda _: deleted(id_, "file"), NO_FILE))


def file_fields(document: KnownDocument, purpose: str = "user_data") -> dict[str, Any]:
    """A file as OpenAI's clients know it."""
    return {
        "id": document.id,
        "object": "file",
        "bytes": document.size_bytes,
        "created_at": int(document.added_at),
        "filename": name_of(document),
        "purpose": purpose,
        "status": "error" if document.error else "processed",
        "status_details": document.error or None,
    }


def _told(events: Sequence[Event]) -> Sequence[KnownDocument]:
    found = find_event(events, CollectionTold)
    return found.documents if found else ()


def _one_file(events: Sequence[Event]) -> dict[str, Any]:
    return file_fields(_told(events)[0])


def listed(entries: Any) -> dict[str, Any]:
    """A page that holds all there is."""
    data = list(entries)
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": False,
    }


def deleted(id_: str, kind: str) -> dict[str, Any]:
    return {"id": id_, "object": kind, "deleted": True}


NO_FILE = "there is no such file"


class Folded:
    """An answer in one piece; `missing` is what is said where nothing was found."""

    streaming = False
    media_type = words.JSON

    def __init__(
        self, fold: Callable[[Sequence[Event]], dict[str, Any]], missing: str = ""
    ) -> None:
        self._fold = fold
        self._missing = missing

    def frame(self, event: Event) -> bytes:
        return b""

    def refusal(self, error: DimoraError) -> bytes:
        if self._missing and isinstance(error, NotFound) and error.code != "model_not_found":
            error = NotFound(self._missing, code=error.code, hint=error.hint)
        return words.error(error)

    def failure(self, error: DimoraError) -> bytes:
        return self.refusal(error)

    def whole(self, events: Sequence[Event]) -> bytes:
        done: Done = last_done(events)
        return encode(self._fold(events) | warning_fields(done))


def read_form(incoming: Incoming) -> tuple[dict[str, str], str, bytes]:
    """The fields of a form, and the name and bytes of its file. Raises BadRequest.

    All of it stays in memory, where the body is: nothing of it is written to a temporary file.
    """
    from python_multipart import create_form_parser
    from python_multipart.exceptions import FormParserError

    content_type = incoming.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise BadRequest("send a form (multipart/form-data) with a file", param="file")
    fields: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    parts = 0

    def count_part() -> None:
        nonlocal parts
        parts += 1
        if parts > _PARTS_AT_MOST:
            raise BadRequest(f"the form has more than {_PARTS_AT_MOST} parts")

    def take_field(field: Any) -> None:
        count_part()
        fields[(field.field_name or b"").decode("utf-8", "replace")] = (field.value or b"").decode(
            "utf-8", "replace"
        )

    def take_file(file: Any) -> None:
        count_part()
        file.file_object.seek(0)
        name = (file.file_name or b"").decode("utf-8", "replace")
        files.append((name, file.file_object.read()))

    headers = {"Content-Type": content_type.encode()}
    in_memory = {"MAX_MEMORY_FILE_SIZE": len(incoming.body)}
    try:
        parser = create_form_parser(headers, take_field, take_file, config=in_memory)
        parser.write(incoming.body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise BadRequest("the form cannot be read") from None
    if len(files) != 1:
        raise BadRequest("the form has to have one file", param="file")
    return fields, *files[0]
