"""Every task on the shelf has the shape the house relies on."""

from __future__ import annotations

import inspect
import typing

import pytest

from dimora import tasks
from dimora.core.types import Request, kind_of
from dimora.governance.policy import GRANTS
from dimora.tasks.base import Right


def requests_of(module) -> list[type[Request]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Request)
        and kind.__module__ == module.__name__
    ]


@pytest.fixture(params=tasks.SHELF.names())
def task(request):
    return tasks.SHELF.load(request.param)


def test_a_task_has_one_request_tagged_with_the_files_name(task):
    (kind,) = requests_of(task)
    assert kind.__struct_config__.tag == task.__name__.rpartition(".")[2]
    assert kind.__struct_config__.frozen


def test_a_task_names_a_right_that_some_role_has(task):
    assert task.RIGHT in typing.get_args(Right)
    assert any(task.RIGHT in rights for rights in GRANTS.values())


def test_a_task_runs_as_an_async_generator_of_its_own_request(task):
    assert inspect.isasyncgenfunction(task.run)
    request, rooms = inspect.signature(task.run).parameters.values()
    assert request.annotation == requests_of(task)[0].__name__
    assert rooms.annotation == "Rooms"


def test_no_two_events_share_a_tag():
    from dimora.core.types import Event

    def below(kind):
        return [kind, *(c for k in kind.__subclasses__() for c in below(k))]

    tasks.SHELF.all()
    kinds = [k for k in set(below(Event)) if k is not Event]
    tags = [k.__struct_config__.tag for k in kinds]
    assert len(tags) == len(set(tags))
    assert kind_of(Request()) == "Request"
