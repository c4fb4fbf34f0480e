"""The interactive session at a terminal: reads lines, keeps their history, shows answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory
from prompt_toolkit.shortcuts import CompleteStyle

from dimora.cli.asking import ask_one, ask_quietly, pull_if_missing, settings_here
from dimora.cli.commands.show import page, part_of
from dimora.cli.door import Door
from dimora.cli.session import Commands, Gatherer, Session, run_command
from dimora.cli.words import print_error, show_sources
from dimora.cli.writing import figures, write_answer
from dimora.core.errors import BadRequest, DimoraError
from dimora.storage.disk import make_private_directory
from dimora.tasks.base import Model
from dimora.tasks.create_model import CreateModel
from dimora.tasks.list_models import ListModels, ModelsFound
from dimora.tasks.recipe import Recipe
from dimora.tasks.show_model import ModelShown, ShowModel

_PARTS = ("info", "license", "modelfile", "parameters", "system", "template")
_WORDS = (
    *("/bye", "/clear", "/exit", "/help", "/list", "/load", "/save"),
    *(f"/set {w}" for w in ("parameter", "system", "format json", "noformat", "verbose", "quiet")),
    *(f"/set {w}" for w in ("wordwrap", "nowordwrap", "think", "nothink", "history", "nohistory")),
    *(f"/show {part}" for part in _PARTS),
)


def talk(door: Door, session: Session, shown: Model) -> int:
    """Until the person leaves; returns the exit code."""
    reader: PromptSession[str] = PromptSession(
        history=SessionHistory(settings_here().home / "history", session),
        completer=WordCompleter(list(_WORDS), sentence=True),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
    )
    click.echo(f"{shown.name} - /? for help, /bye to leave")
    commands = _commands(door, session)
    gatherer = Gatherer()
    while True:
        try:
            line = reader.prompt("... " if gatherer.open else ">>> ")
        except KeyboardInterrupt:
            gatherer.drop()
            click.echo("Use Ctrl-D or /bye to leave.")
            continue
        except EOFError:
            return 0
        if not gatherer.open and line.lstrip().startswith("/"):
            try:
                told = run_command(session, line, commands)
            except KeyboardInterrupt:
                told = "Interrupted."
            if told is None:
                return 0
            click.echo(told)
            continue
        words = gatherer.add(line)
        if words and words.strip():
            _answer(door, session, words)


class SessionHistory(FileHistory):
    """What was typed, in a file only its owner can read; untouched while the session wants none."""

    def __init__(self, path: Path, session: Session) -> None:
        super().__init__(str(path))
        self._path = path
        self._session = session

    def load_history_strings(self) -> Iterable[str]:
        return super().load_history_strings() if self._session.history else ()

    def store_string(self, string: str) -> None:
        if not self._session.history:
            return
        make_private_directory(self._path.parent)
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
        super().store_string(string)


def _answer(door: Door, session: Session, words: str) -> None:
    try:
        with closing(door.ask(session.request(words))) as events:
            fold = write_answer(
                events, wordwrap=session.wordwrap, hide_thinking=session.hide_thinking
            )
    except DimoraError as error:
        session.take_back()
        print_error(error)
        return
    session.remember(fold)
    show_sources(fold.citations)
    for warning in fold.done.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if session.verbose and fold.ended:
        click.echo(f"\n{figures(fold.done.usage)}", err=True)


def _commands(door: Door, session: Session) -> Commands:
    def show(part: str) -> str:
        if part not in _PARTS:
            raise BadRequest(f"there is no {part!r} to show", hint=", ".join(_PARTS))
        shown = ask_one(door, ShowModel(model=session.model), ModelShown)
        if part == "info":
            return page(shown, verbose=False)
        if part == "system" and session.system:
            return session.system
        return part_of(shown, part) or f"No {part} for this model."

    def load(name: str) -> str:
        pull_if_missing(door, name)
        session.load(name)
        return f"Loaded {name}; a new conversation."

    def save(name: str) -> str:
        recipe = Recipe(
            source=session.model,
            options=session.options,
            system=session.system or None,
            messages=tuple(session.messages) or None,
        )
        ask_quietly(door, CreateModel(model=name, recipe=recipe))
        return f"Created new model '{name}'."

    def list_models() -> str:
        found = ask_one(door, ListModels(), ModelsFound)
        return "\n".join(m.name for m in found.models) or "No models yet."

    return Commands(show=show, load=load, save=save, list_models=list_models)
