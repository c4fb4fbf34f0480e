"""What an agent may call outside the house: kinds of tools, one file each, as settings name them.

Nothing here asks the person; who calls has. Nothing runs that the owner did not write into the
settings, and no word of a model becomes a program, an option, a host or a path of its own choice.
"""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.tools", furniture=frozenset({"toolbox"}))
