"""Regular expressions as grammars of JSON strings.

The part of the syntax that JavaScript and Python share and that needs no going back: literals,
classes, groups, alternatives, repetition.
"""

from __future__ import annotations

from dimora.engines._letters import Range, character, complement

_MOST_REPEATS = 1000
_DIGIT: tuple[Range, ...] = ((0x30, 0x39),)
_WORD: tuple[Range, ...] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: tuple[Range, ...] = ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20))
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B, "0": 0x00}
_HEX = {"x": 2, "u": 4}
# Languages disagree on which letters beyond ASCII are word characters: write none of them.
_LAST_ASCII = 0x7E


class UnknownPattern(ValueError):
    """This regular expression cannot be turned into a grammar."""


def pattern_grammar(pattern: str) -> str:
    """What stands between the quotes of a JSON string that matches from beginning to end.

    Raises UnknownPattern.
    """
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise UnknownPattern("a pattern must begin with ^ and end with $")
    reader = _Reader(pattern[1:-1])
    grammar = reader.sequence()
    # In ^a|b$ each anchor holds for one side only.
    if not reader.at_end:
        raise UnknownPattern("alternatives of a pattern must be in a group")
    return grammar


class _Reader:
    """Recursive descent over the text of one pattern."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def sequence(self) -> str:
        parts = []
        while not self.at_end and self._peek() not in "|)":
            parts.append(self._repeated(self._atom()))
        return " ".join(parts) or '""'

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        sign = self._peek()
        if not sign:
            raise UnknownPattern("a pattern ends too early")
        self._at += 1
        return sign

    def _atom(self) -> str:
        sign = self._next()
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._one_of(self._class())
        if sign == ".":
            return self._one_of(complement([(0x0A, 0x0A), (0x0D, 0x0D)]))
        if sign == "\\":
            return self._one_of(self._escape())
        if sign in "^$*+?{":
            raise UnknownPattern(f"a pattern has {sign!r} where it cannot stand")
        return self._one_of([(ord(sign), ord(sign))])

    def _one_of(self, ranges: list[Range]) -> str:
        try:
            return character(ranges)
        except ValueError:
            raise UnknownPattern("a pattern wants characters that text does not have") from None

    def _group(self) -> str:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            raise UnknownPattern("a pattern looks around or names a group")
        choices = [self.sequence()]
        while self._peek() == "|":
            self._at += 1
            choices.append(self.sequence())
        if self._next() != ")":
            raise UnknownPattern("a group of a pattern does not end")
        return "(" + " | ".join(choices) + ")"

    def _class(self) -> list[Range]:
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[Range] = []
        while self._peek() != "]":
            low = self._class_member()
            if (
                len(low) == 1
                and self._peek() == "-"
                and self._text[self._at : self._at + 2] not in ("-]", "-")
            ):
                self._at += 1
                high = self._class_member()
                if len(high) != 1 or high[0][1] < low[0][0]:
                    raise UnknownPattern("a range of a pattern is the wrong way round")
                low = [(low[0][0], high[0][1])]
            ranges += low
        self._at += 1
        return complement(ranges) if negated else ranges

    def _class_member(self) -> list[Range]:
        sign = self._next()
        return self._escape() if sign == "\\" else [(ord(sign), ord(sign))]

    def _escape(self) -> list[Range]:
        sign = self._next()
        if sign.lower() in _CLASSES:
            ranges = _CLASSES[sign.lower()]
            return list(ranges) if sign.islower() else complement(ranges, _LAST_ASCII)
        if sign in _HEX:
            digits = self._text[self._at : self._at + _HEX[sign]]
            self._at += _HEX[sign]
            try:
                code = int(digits, 16)
            except ValueError:
                raise UnknownPattern("a pattern has half a character code") from None
        elif sign in _CONTROLS:
            code = _CONTROLS[sign]
        elif sign.isalnum():
            raise UnknownPattern(f"a pattern uses \\{sign}")
        else:
            code = ord(sign)
        return [(code, code)]

    def _repeated(self, atom: str) -> str:
        sign = self._peek()
        if not sign or sign not in "*+?{":
            return atom
        self._at += 1
        times = self._bounds() if sign == "{" else sign
        if self._peek() == "?":
            # Lazy or greedy is a matter of searching, not of what matches.
            self._at += 1
        elif self._peek() == "+":
            raise UnknownPattern("a pattern uses possessive repetition")
        return atom + times

    def _bounds(self) -> str:
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : end].partition(",")
        if end < 0 or not least.isdigit() or not (most.isdigit() or not most):
            raise UnknownPattern("a repetition of a pattern is not understood")
        if max(int(least), int(most or 0)) > _MOST_REPEATS:
            raise UnknownPattern(f"a pattern repeats more than {_MOST_REPEATS} times")
        self._at = end + 1
        return "{" + least + comma + most + "}"
