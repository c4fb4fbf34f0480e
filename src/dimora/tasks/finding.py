"""What an examination of the house finds: plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["right", "note", "wrong"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    `what` is looked at, `says` what it is like; `note` is worth knowing, `wrong` needs somebody,
    who finds in `hint` what to do. `setting` is the one that decides it, if one does.
    """

    what: str
    says: str
    verdict: Verdict = "right"
    hint: str = ""
    setting: str = ""
