"""The state of an interactive session and what its commands do to it. Knows no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dimora.core.errors import BadRequest, DimoraError
from dimora.core.types import Image, Message, Part, Text, Thought
from dimora.tasks.chat import Chat
from dimora.tasks.generation import Fold, ThinkLevel
from dimora.tasks.options import Options, options_from, parse_parameter

THINK_WORDS: dict[str, bool | ThinkLevel] = {
    "true": True,
    "false": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}

HELP = """\
/set parameter NAME VALUE   set an option           /set system TEXT     set the system text
/set format json, noformat  answer in JSON          /set think, nothink  let it think
/set wordwrap, nowordwrap   wrap long lines         /set verbose, quiet  show figures
/set history, nohistory     keep what you type
/show info, license, modelfile, parameters, system, template
/load MODEL   another model, a new conversation     /save NAME   keep this as a model
/clear        forget the conversation               /list        models in the store
/help, /?     this                                  /bye, /exit  leave (or Ctrl-D)

\"\"\" begins and ends a text of several lines. Ctrl-C stops an answer."""


class Session(msgspec.Struct, kw_only=True):
    """What is said so far, and how the next answer is to be."""

    model: str
    messages: list[Message] = []
    options: Options = Options()
    system: str = ""
    json_schema: dict[str, Any] | None = None
    think: bool | ThinkLevel | None = None
    keep_alive: float | None = None
    wordwrap: bool = True
    verbose: bool = False
    history: bool = True
    hide_thinking: bool = False

    def request(self, words: str, images: tuple[bytes, ...] = ()) -> Chat:
        """What to ask when the person has said `words`; remembers that they did."""
        parts: tuple[Part, ...] = (Text(words), *(Image(data) for data in images))
        self.messages.append(Message("user", parts))
        opening = [Message("system", (Text(self.system),))] if self.system else []
        return Chat(
            model=self.model,
            messages=(*opening, *self.messages),
            options=self.options,
            json_schema=self.json_schema,
            think=self.think,
            keep_alive=self.keep_alive,
        )

    def remember(self, fold: Fold) -> None:
        """The answer becomes part of the conversation; an empty one takes its question back."""
        if not fold.text and not fold.thought:
            self.messages.pop()
            return
        thought = (Thought(fold.thought),) if fold.thought else ()
        self.messages.append(Message("assistant", (*thought, Text(fold.text))))

    def take_back(self) -> None:
        """The last question failed: it was never asked."""
        self.messages.pop()

    def set(self, words: str) -> str:
        """`/set ...`; returns what to tell. Raises BadRequest for what it does not know."""
        name, _, rest = words.partition(" ")
        if name == "parameter":
            return self._set_parameter(rest)
        if name == "system":
            self.system = rest.strip().strip('"')
            return "Set system text."
        if name == "format":
            if rest.strip() != "json":
                raise BadRequest("the format is json", hint="/set format json")
            self.json_schema = {"type": "object"}
            return "Set format to JSON."
        if name == "think":
            return self._set_think(rest.strip() or "true")
        change = _SWITCHES.get(name)
        if change is None:
            raise BadRequest(f"unknown setting {name!r}", hint="/help lists them")
        attribute, value, told = change
        setattr(self, attribute, value)
        return told

    def _set_think(self, word: str) -> str:
        if word not in THINK_WORDS:
            raise BadRequest(f"cannot think {word!r}", hint=f"one of: {', '.join(THINK_WORDS)}")
        self.think = THINK_WORDS[word]
        return "Set think mode."

    def _set_parameter(self, words: str) -> str:
        name, _, value = words.strip().partition(" ")
        if not value:
            raise BadRequest("a parameter needs a value", hint="/set parameter temperature 0.2")
        parsed = parse_parameter(name, value.strip())
        if name == "stop" and self.options.stop:
            parsed = [*self.options.stop, *parsed]
        changed, _ = options_from({name: parsed})
        self.options = changed.over(self.options)
        return f"Set parameter {name} to {value.strip()}."

    def load(self, model: str) -> None:
        """Another model and nothing said yet."""
        self.model = model
        self.messages = []

    def clear(self) -> str:
        self.messages = []
        return "Cleared the conversation."


_SWITCHES: dict[str, tuple[str, Any, str]] = {
    "noformat": ("json_schema", None, "Disabled format."),
    "wordwrap": ("wordwrap", True, "Set wordwrap mode."),
    "nowordwrap": ("wordwrap", False, "Set nowordwrap mode."),
    "verbose": ("verbose", True, "Set verbose mode."),
    "quiet": ("verbose", False, "Set quiet mode."),
    "history": ("history", True, "Keeping what you type."),
    "nohistory": ("history", False, "Not keeping what you type."),
    "nothink": ("think", False, "Set nothink mode."),
}


class Commands(msgspec.Struct):
    """What the session cannot do by itself; each returns what to tell."""

    show: Callable[[str], str]
    load: Callable[[str], str]
    save: Callable[[str], str]
    list_models: Callable[[], str]


def run_command(session: Session, line: str, commands: Commands) -> str | None:
    """Carry out a line that begins with `/`; what to tell, or None to leave.

    Errors are told, not raised.
    """
    name, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    try:
        match name:
            case "/bye" | "/exit":
                return None
            case "/help" | "/?":
                return HELP
            case "/clear":
                return session.clear()
            case "/list":
                return commands.list_models()
            case "/set":
                return session.set(rest)
            case "/show":
                return commands.show(rest or "info")
            case "/load" if rest:
                return commands.load(rest)
            case "/save" if rest:
                return commands.save(rest)
            case _:
                return f"Unknown command {name!r}. Type /? for help."
    except DimoraError as error:
        return f"Error: {error.text}"


class Gatherer:
    """Puts lines together to what the person means: `\"\"\"` opens and closes several lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.open = False

    def add(self, line: str) -> str | None:
        """The whole text once it is complete."""
        if not self.open:
            stripped = line.lstrip()
            if not stripped.startswith('"""'):
                return line
            body = stripped[3:]
            if body.rstrip().endswith('"""'):
                return body.rstrip()[:-3]
            self.open, self._lines = True, [body]
            return None
        if line.rstrip().endswith('"""'):
            self.open = False
            return "\n".join([*self._lines, line.rstrip()[:-3]]).strip("\n")
        self._lines.append(line)
        return None

    def drop(self) -> None:
        self.open, self._lines = False, []
