"""Keeps OpenVINO from calling home."""

from __future__ import annotations

import sys


def silence() -> None:
    """Before the first import: its package sends an event to a web service when it is imported.
    Where its telemetry library cannot be imported it uses a stand-in that does nothing."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
