"""Answer a question from documents, with the passages the answer stands on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from dimora.core.errors import BadRequest
from dimora.core.types import Event, Message, Text
from dimora.prompts.prompt import Prompt
from dimora.prompts.reading import AnswerReader
from dimora.tasks.base import Right, Rooms
from dimora.tasks.conversation import fit_conversation
from dimora.tasks.generation import GenerationDone, GenerationRequest, TextPiece
from dimora.tasks.grounding import Grounding
from dimora.tasks.knowing import Filters
from dimora.tasks.options import Options
from dimora.tasks.retrieving import SHOWN_AT_MOST, Wish
from dimora.tasks.writing import Writer, check_common, require, sampling_of, window_of

RIGHT: Right = "use"

# Near to the text: an answer from documents is no invention, and no book.
_HABITS = Options(temperature=0.0, seed=1, num_predict=768)


class AskDocuments(GenerationRequest, frozen=True, kw_only=True, tag="ask_documents"):
    """`model` answers. `collections` empty means the default one. `limit` is how many passages the
    answer may stand on, `rerank` a model that orders what was found anew."""

    question: str
    collections: tuple[str, ...] = ()
    filters: Filters = Filters()
    limit: int = SHOWN_AT_MOST
    rerank: str = ""


async def run(request: AskDocuments, rooms: Rooms) -> AsyncIterator[Event]:
    """TextPieces, a Citation for each passage that is named, then GenerationDone with the reason
    `nothing_found` where no model was asked since nothing was found."""
    started = time.monotonic()
    _check(request)
    model = rooms.models.find(request.model)
    require(model, "completion", "chat")
    wish = Wish(
        question=request.question,
        collections=request.collections,
        filters=request.filters,
        limit=request.limit,
        rerank=request.rerank,
    )
    grounding = Grounding(rooms, wish)
    async for event in grounding.look():
        yield event
    if not grounding.passages:
        yield TextPiece(text=grounding.nothing)
        yield GenerationDone(reason="nothing_found", warnings=request.warnings)
        return
    options = request.options.over(_HABITS).over(model.options)
    async with rooms.reserve(
        model, options, keep_alive=request.keep_alive, batch=request.batch
    ) as reservation:
        async for place in reservation.wait():
            yield place
        loan = reservation.loan
        asked = await grounding.quote(request.question, loan, window_of(loan, options) // 2)
        messages = (Message("user", (Text(asked),)),)
        conversation = await fit_conversation(loan, model, options, request, messages)
        rendered = conversation.rendered
        writer = Writer(loan, request, queue_started=started)
        reader = AnswerReader(
            thinking=rendered.thinking,
            thought_open=rendered.thought_open,
            tool_format="",
            tool_names=frozenset(),
        )
        steps = writer.write(Prompt(text=rendered.text), sampling_of(options, request), reader)
        async with aclosing(grounding.cited(steps)) as told:
            async for event in told:
                yield event
        yield writer.done()


def _check(request: AskDocuments) -> None:
    check_common(request)
    if not request.question.strip():
        raise BadRequest("there is no question", param="question")
    if not 1 <= request.limit <= 50:
        raise BadRequest("an answer stands on 1 to 50 passages", param="limit")
