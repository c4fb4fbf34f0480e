"""Machines that run models, one file each. Only these files know an engine's SDK.

They run inside worker processes; the server process imports them only for `offer` and `refuses`.
"""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.engines")
