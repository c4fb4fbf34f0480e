"""Wire languages, one plug-in each, pure: bytes in, Request out; Events in, bytes out.

No sockets, no state beyond one answer. Only these files know wire words.
"""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.dialects")
