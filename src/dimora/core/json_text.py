"""What can go wrong when JSON is read that somebody else wrote."""

from __future__ import annotations

import msgspec

# Not JSON or of another shape, not UTF-8, nested without end.
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
