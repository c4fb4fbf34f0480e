"""Builds the character map of a unigram tokenizer: which characters become which others.

The format is SentencePiece's `precompiled_charsmap` as llama.cpp reads it: the byte length of an
XOR-compressed compact double array (XCDA, Kanda 2018), the array, then the replacements, each
ended by a zero byte. Equal input gives equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_VALUE = 1 << 31
_LEAF = 1 << 8
_BLOCK = 256


class _Node:
    """A node of the trie of keys; `value` is where its replacement begins, -1 without one."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[int, _Node] = {}
        self.value = -1


def build_charsmap(replacements: Mapping[str, str]) -> bytes:
    """The map's bytes. Raises ValueError for what the format cannot hold: nothing, or zeros."""
    if not replacements:
        raise ValueError("a character map holds neither nothing nor empty keys")
    root, texts = _trie(replacements)
    cells = _Cells()
    _place(root, 0, cells)
    array = struct.pack(f"<{len(cells.packed)}I", *cells.packed)
    return struct.pack("<I", len(array)) + array + texts


def _trie(replacements: Mapping[str, str]) -> tuple[_Node, bytes]:
    root = _Node()
    texts = bytearray()
    places: dict[str, int] = {}
    for key, text in sorted(replacements.items()):
        if not key or "\0" in key or "\0" in text:
            raise ValueError("a character map holds neither empty keys nor zero characters")
        if text not in places:
            places[text] = len(texts)
            texts += text.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.children.setdefault(byte, _Node())
        node.value = places[text]
    return root, bytes(texts)


class _Cells:
    """The double array while it grows, in whole blocks so that every step stays inside."""

    def __init__(self) -> None:
        self.packed = [0] * _BLOCK
        self._taken = bytearray(_BLOCK)
        self._taken[0] = 1
        self._bases: set[int] = set()
        self._first_free = 1

    def claim(self, labels: list[int]) -> int:
        """A base that no other node has, with a free cell for every label."""
        while self._taken[self._first_free]:
            self._first_free += 1
            self._grow_to(self._first_free + 1)
        free = self._first_free
        while True:
            base = free ^ labels[0]
            self._grow_to((base | (_BLOCK - 1)) + 1)
            if not self._taken[free] and self._is_open(base, labels):
                break
            free += 1
            self._grow_to(free + 1)
        # Crowded cells far behind are given up: a larger map costs less than searching them.
        self._first_free = max(self._first_free, free - _BLOCK)
        self._bases.add(base)
        for label in labels:
            self._taken[base ^ label] = 1
        return base

    def _is_open(self, base: int, labels: list[int]) -> bool:
        # Cells remember their label only, so two nodes with one base would share children.
        return base not in self._bases and not any(self._taken[base ^ label] for label in labels)

    def _grow_to(self, length: int) -> None:
        while len(self.packed) < length:
            self.packed.extend([0] * _BLOCK)
            self._taken.extend(bytes(_BLOCK))


def _place(root: _Node, label: int, cells: _Cells) -> None:
    """Give every node its cell: label, whether it ends a key, and the way to its children."""
    waiting = [(root, 0, label)]
    while waiting:
        node, cell, own_label = waiting.pop()
        labels = sorted(node.children)
        if node.value >= 0:
            labels.insert(0, 0)
        base = cells.claim(labels)
        leaf = _LEAF if node.value >= 0 else 0
        cells.packed[cell] = (base ^ cell) << 10 | leaf | own_label
        if node.value >= 0:
            cells.packed[base] = _VALUE | node.value
        for byte, child in node.children.items():
            waiting.append((child, base ^ byte, byte))
