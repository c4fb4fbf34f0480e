"""`python -m dimora`, the same as `dimora`."""

from dimora.cli.main import main

main()
