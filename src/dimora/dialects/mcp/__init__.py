"""The Model Context Protocol: the house as a server of tools, at `/mcp` or line by line.

Without sessions: every message stands for itself, so that any of them may reach any house.
"""

from dimora.dialects.base import Route
from dimora.dialects.mcp.messages import decode, decode_line, error
from dimora.dialects.mcp.words import HEADERS_READ

__all__ = ["ROUTES", "decode_line", "error"]

ROUTES = (Route(("POST",), "/mcp", decode, headers=HEADERS_READ),)
