"""Which blocks of a key-value cache hold which tokens. Pure: it knows numbers, not memory.

A block that is full is found again by its tokens, all those before it, and the scope they were
read in; so who begins as another did reads only what is new, and never learns what another scope
has read. Blocks that nobody uses keep what they hold until they are needed, those unused longest
go first, the ends of texts before their beginnings.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence


class Held:
    """The blocks of one text, in its order. The first `known` tokens need not be read."""

    def __init__(self, root: bytes) -> None:
        self.numbers: list[int] = []
        self.known = 0
        self.root = root
        # The name of each full block, by its place.
        self.names: list[bytes] = []


class Blocks:
    """`count` blocks of `size` tokens each."""

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        # Low numbers first: memory that was never written to is not taken.
        self._empty = list(range(count - 1, -1, -1))
        self._users: dict[int, int] = {}
        self._by_name: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()

    def begin(self, scope: str, tokens: Sequence[int]) -> Held:
        """What is known of the beginning of these tokens. The last one is always left to read."""
        held = Held(hashlib.sha256(scope.encode()).digest())
        name = held.root
        for start in range(0, len(tokens) - self.size, self.size):
            name = _name(name, tokens[start : start + self.size])
            number = self._by_name.get(name)
            if number is None:
                break
            held.names.append(name)
            held.numbers.append(number)
            self._users[number] = self._users.get(number, 0) + 1
            self._unused.pop(number, None)
        held.known = len(held.numbers) * self.size
        return held

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
            before = held.names[-1] if held.names else held.root
            name = _name(before, tokens[at * self.size : (at + 1) * self.size])
            held.names.append(name)
            # Where two read the same at the same time, one of the blocks is enough.
            if name not in self._by_name:
                self._by_name[name] = held.numbers[at]
                self._names[held.numbers[at]] = name

    def release(self, held: Held) -> None:
        for number in reversed(held.numbers):
            self._users[number] -= 1
            if self._users[number]:
                continue
            del self._users[number]
            if number in self._names:
                self._unused[number] = None
            else:
                self._empty.append(number)
        held.numbers = []

    def _forget(self) -> int:
        """The number of a block that was unused longest; what it holds is known no more."""
        if not self._unused:
            raise IndexError("all blocks are in use")
        number, _ = self._unused.popitem(last=False)
        del self._by_name[self._names.pop(number)]
        return number


def _name(before: bytes, tokens: Sequence[int]) -> bytes:
    # What decides whose words are read must not be met by chance or on purpose.
    return hashlib.sha256(before + array("q", tokens).tobytes()).digest()
