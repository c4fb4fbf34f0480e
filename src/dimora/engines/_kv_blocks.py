"""Which blocks of a key-value cache hold which tokens. Pure: it knows numbers, not memory.

A block that is full is found again by its tokens, all those before it, and the scope they were
read in; so who begins as another did reads only what is new, and never learns what another scope
has read. Where only the first tokens of a block are the same it is copied, and the copy goes on
otherwise. Blocks that nobody uses keep what they hold until they are needed, those unused longest
go first, the ends of texts before their beginnings.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dimora.engines._beginnings import shared_length


class Held:
    """The blocks of one text, in its order. The first `known` tokens need not be read."""

    def __init__(self, root: bytes) -> None:
        self.numbers: list[int] = []
        self.known = 0
        self.root = root
        # The name of each full block, by its place.
        self.names: list[bytes] = []

    @property
    def last_name(self) -> bytes:
        """Of the last full block; of the scope where there is none."""
        return self.names[-1] if self.names else self.root


class _Content(NamedTuple):
    """Tokens of a block, the name of what is before them, and its own when it is full."""

    before: bytes
    tokens: tuple[int, ...]
    name: bytes = b""


class Blocks:
    """`count` blocks of `size` tokens each; `copy` makes the second hold what the first holds."""

    def __init__(self, count: int, size: int, copy: Callable[[int, int], None]) -> None:
        self.size = size
        self._copy = copy
        # A copy costs about as much as reading a few tokens.
        self._worth_a_copy = max(1, size // 8)
        # Low numbers first: memory that was never written to is not taken.
        self._empty = list(range(count - 1, -1, -1))
        self._users: dict[int, int] = {}
        self._by_name: dict[bytes, int] = {}
        self._contents: dict[int, _Content] = {}
        # Numbers by what is before them and their first token.
        self._after: dict[tuple[bytes, int], list[int]] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()

    def begin(self, scope: str, tokens: Sequence[int]) -> Held:
        """What is known of the beginning of these tokens. The last one is always left to read."""
        held = Held(hashlib.sha256(scope.encode()).digest())
        for start in range(0, len(tokens) - self.size, self.size):
            name = _name(held.last_name, tokens[start : start + self.size])
            number = self._by_name.get(name)
            if number is None:
                break
            held.names.append(name)
            held.numbers.append(number)
            self._use(number)
        held.known = len(held.numbers) * self.size
        self._begin_a_block(held, tokens[held.known : -1])
        return held

    def _begin_a_block(self, held: Held, rest: Sequence[int]) -> None:
        """With the first tokens of another that begins like the rest of the text."""
        number, alike = self._most_alike(held.last_name, rest)
        if alike < self._worth_a_copy:
            return
        self._use(number)
        try:
            self.extend(held, held.known + 1)
        except IndexError:
            return
        finally:
            self._leave(number)
        self._copy(number, held.numbers[-1])
        held.known += alike

    def extend(self, held: Held, length: int) -> None:
        """Give it blocks for so many tokens. Raises IndexError when there are no more."""
        while len(held.numbers) * self.size < length:
            number = self._empty.pop() if self._empty else self._forget()
            self._users[number] = 1
            held.numbers.append(number)

    def note(self, held: Held, tokens: Sequence[int], read: int) -> None:
        """The first `read` of these tokens are in its blocks: others may begin with them too."""
        while (len(held.names) + 1) * self.size <= read:
            at = len(held.names)
            before, part = held.last_name, tokens[at * self.size : (at + 1) * self.size]
            name = _name(before, part)
            held.names.append(name)
            # Where two read the same at the same time, one of the blocks is enough.
            if name not in self._by_name:
                self._by_name[name] = held.numbers[at]
                self._keep(held.numbers[at], _Content(before, tuple(part), name))

    def release(self, held: Held, tokens: Sequence[int], read: int) -> None:
        """Nobody goes on with this text; the first `read` of its tokens are in its blocks."""
        self.note(held, tokens, read)
        end = len(held.names)
        part = tokens[end * self.size : read]
        if part and self._most_alike(held.last_name, part)[1] < len(part):
            self._keep(held.numbers[end], _Content(held.last_name, tuple(part)))
        for number in reversed(held.numbers):
            self._leave(number)
        held.numbers = []

    def _use(self, number: int) -> None:
        self._users[number] = self._users.get(number, 0) + 1
        self._unused.pop(number, None)

    def _leave(self, number: int) -> None:
        self._users[number] -= 1
        if self._users[number]:
            return
        del self._users[number]
        if number in self._contents:
            self._unused[number] = None
        else:
            self._empty.append(number)

    def _keep(self, number: int, content: _Content) -> None:
        self._contents[number] = content
        self._after.setdefault((content.before, content.tokens[0]), []).append(number)

    def _forget(self) -> int:
        """The number of a block that was unused longest; what it holds is known no more."""
        if not self._unused:
            raise IndexError("all blocks are in use")
        number, _ = self._unused.popitem(last=False)
        content = self._contents.pop(number)
        if content.name:
            del self._by_name[content.name]
        alike = self._after[content.before, content.tokens[0]]
        alike.remove(number)
        if not alike:
            del self._after[content.before, content.tokens[0]]
        return number

    def _most_alike(self, before: bytes, tokens: Sequence[int]) -> tuple[int, int]:
        """The block after this one that begins most like the tokens, and how many are the same."""
        found = (0, 0)
        tokens = tuple(tokens[: self.size])
        for number in self._after.get((before, tokens[0]), ()) if tokens else ():
            alike = shared_length(self._contents[number].tokens, tokens)
            if alike > found[1]:
                found = (number, alike)
        return found


def _name(before: bytes, tokens: Sequence[int]) -> bytes:
    # What decides whose words are read must not be met by chance or on purpose.
    return hashlib.sha256(before + array("q", tokens).tobytes()).digest()
