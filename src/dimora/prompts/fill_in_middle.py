"""Writes the prompt of a model that fills in the middle of a text."""

from __future__ import annotations


def render_fill_in_middle(fim: tuple[str, str, str], prefix: str, suffix: str) -> str:
    """`fim` are the model's tokens (prefix, suffix, middle); what it writes goes in between."""
    before, after, middle = fim
    return f"{before}{prefix}{after}{suffix}{middle}"
