"""Texts are put in order by an embedding model, or by what a chat model says of each."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from dimora.core.errors import BadRequest
from dimora.prompts.prompt import Prompt
from dimora.tasks import rerank
from dimora.tasks.rerank import Rerank, Reranked
from tests.knowing import CHAT, EMBEDDER, ask, open_house
from tests.unit.tasks.ready.speaking import SpeakingRooms

TEXTS = ("The sea is calm.", "The rent is 850 euros a month.", "Bread is baked at dawn.")


def says_yes_of_rent(prompt: Prompt) -> str:
    left = (prompt.json_schema or {})["enum"]
    wanted = "yes" if "The rent" in prompt.text else "no"
    return json.dumps(wanted if wanted in left else left[0])


async def test_a_chat_model_is_asked_of_each_text_whether_it_answers():
    rooms = SpeakingRooms(says_yes_of_rent)
    summary = replace(rooms.loan.model.summary, capabilities=("completion",))
    rooms.loan.model = replace(rooms.loan.model, summary=summary)
    request = Rerank(model="speaker", question="What is the rent?", texts=TEXTS)
    events = [event async for event in rerank.run(request, rooms)]
    (told,) = (e for e in events if isinstance(e, Reranked))
    assert [at for at, _ in told.order] == [1, 0, 2]
    assert told.order[0][1] > 0.9 > 0.1 > told.order[1][1]


async def test_an_embedder_orders_by_meaning_and_only_the_best_are_told(tmp_path):
    async with open_house(tmp_path / "home") as house:
        request = Rerank(model=EMBEDDER, question="rent 850 euros a month", texts=TEXTS, top=2)
        (told,) = (e for e in await ask(house, request) if isinstance(e, Reranked))
        assert len(told.order) == 2 and told.order[0][0] == 1
        assert told.order[0][1] >= told.order[1][1]
        for wrong in (
            Rerank(model=EMBEDDER, question=" ", texts=TEXTS),
            Rerank(model=EMBEDDER, question="x", texts=()),
            Rerank(model=CHAT, question="x", texts=TEXTS * 34),
        ):
            with pytest.raises(BadRequest):
                await ask(house, wrong)
