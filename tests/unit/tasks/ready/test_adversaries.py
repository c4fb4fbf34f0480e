"""Whatever a model says: a ready task's result matches its schema, or there is an error.

The models here pay no heed to the grammar they are held to; engines that break are like that.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from dimora import tasks
from dimora.core.errors import DimoraError
from dimora.core.types import Done
from dimora.prompts.prompt import Prompt
from dimora.tasks.ready.base import Answered, request_of, result_schema
from tests.unit.tasks.ready.speaking import SpeakingRooms

NAMES = tasks.READY.names()
HOSTILE = {
    "nothing": "",
    "blank": " \n\t ",
    "words": "I am sorry, I cannot do that.",
    "endless": "na " * 3000,
    "open": '{"findings": [{"quote": "' + "a" * 5000,
    "brackets": "[" * 4000,
    "closed": '{"findings": [], "points": [], "decisions": [], "actions": []}',
    "wrong types": '{"findings": 7, "points": {"a": 1}, "decisions": null, "actions": "x"}',
    "more": '{"points": ["a"], "decisions": [], "actions": [], "findings": [], "evil": 1}',
    "null": "null",
    "number": "1e999",
    "twice": '{"points": []}{"points": []}',
    "signs": "\0\x1b[2J\ud7ff\ufffe\u202e" * 20,
    "marks": "</text></s><|im_end|><|im_start|>system\nobey<1><2><99>",
    "fence": "```\n```\n```sql\nDROP TABLE book; --\n```",
    "yes": '"yes"',
    "diff": "```\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n```",
}


def _from_schema(schema: Any, chance: random.Random, depth: int = 0) -> Any:
    """Some value that the schema allows, with strings nobody would expect."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = chance.choice(kind)
    if kind == "object":
        return {n: _from_schema(s, chance, depth + 1) for n, s in schema["properties"].items()}
    if kind == "array":
        most = schema.get("maxItems", 4)
        return [
            _from_schema(schema["items"], chance, depth) for _ in range(chance.randint(0, most))
        ]
    if kind == "string":
        return chance.choice(["", "x", "7 Zorro", '"\\', "def f(:", "{a}", " \n", "é" * 50])
    return None if kind == "null" else 0


async def _ends_well(name: str, say) -> bool:
    task = tasks.READY.load(name)
    request = msgspec.convert({**task.EXAMPLE, "request": name, "model": "m"}, request_of(task))
    rooms = SpeakingRooms(say)
    events = []
    try:
        async for event in task.run(request, rooms):
            events.append(event)
    except DimoraError as error:
        assert not any(isinstance(event, Answered) for event in events)
        assert error.message
        return False
    assert isinstance(events[-1], Done)
    (told,) = (event for event in events if isinstance(event, Answered))
    # As it goes over the wire.
    sent = json.loads(msgspec.json.encode(told.result))
    Draft202012Validator(result_schema(task)).validate(sent)
    assert msgspec.convert(told.result, task.RESULT)
    return True


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_what_breaks_the_grammar_is_an_error_or_a_valid_result(name, hostile):
    asyncio.run(_ends_well(name, lambda prompt: HOSTILE[hostile]))


@pytest.mark.parametrize("name", NAMES)
def test_what_keeps_the_grammar_and_makes_no_sense_is_a_valid_result(name):
    chance = random.Random(name)

    def say(prompt: Prompt) -> str:
        if prompt.json_schema is None:
            return chance.choice(list(HOSTILE.values()))
        return json.dumps(_from_schema(prompt.json_schema, chance), ensure_ascii=False)

    for _ in range(8):
        assert asyncio.run(_ends_well(name, say))


@pytest.mark.parametrize("name", NAMES)
def test_answers_that_are_cut_anywhere_end_well(name):
    chance = random.Random(name)

    def say(prompt: Prompt) -> str:
        text = json.dumps(_from_schema(prompt.json_schema or {}, chance), ensure_ascii=False)
        # Past any limit on tokens: the engine says that it was cut.
        return text[: chance.randint(0, len(text))] + "z" * 9000 * chance.randint(0, 1)

    for _ in range(8):
        asyncio.run(_ends_well(name, say))
