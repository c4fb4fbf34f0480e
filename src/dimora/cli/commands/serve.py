"""Serve the APIs until Ctrl-C."""

from __future__ import annotations

import os
import shutil
import sys

import click

from dimora import __version__
from dimora.cli.asking import pull_if_missing
from dimora.cli.door import open_door
from dimora.core.settings import Settings, load_settings
from dimora.engines import SHELF as ENGINES


@click.command()
@click.option("--host", metavar="HOST:PORT", help="Address to serve on.")
@click.option("--home", metavar="DIR", help="Folder of all that Dimora keeps.")
@click.option("--models", metavar="DIR", help="A model store in Ollama's layout.")
@click.option("--engine", help=f"Engine for every model: {', '.join(ENGINES.names())}.")
@click.option("--llama-server", metavar="PATH", help="llama-server executable to use.")
@click.option("--pull-default", is_flag=True, help="Pull the default model first if missing.")
@click.option("--debug", is_flag=True, default=None, help="Log more.")
def command(pull_default: bool, **flags: str | None) -> None:
    """Serve the APIs until Ctrl-C.

    Ollama at /api, OpenAI at /v1; on 127.0.0.1:11434 unless the settings say otherwise.
    """
    settings, sources = load_settings(flags)
    from dimora.server.serve import check_bind, run_server

    check_bind(settings, sources)
    if pull_default:
        with open_door(settings, here=True) as door:
            pull_if_missing(door, settings.default_model)
    run_server(settings, sources, lambda url: click.echo(_greeting(url, settings)))


def _greeting(url: str, settings: Settings) -> str:
    model = settings.default_model
    program = "dimora" if shutil.which("dimora") else os.path.relpath(sys.argv[0])
    key = ' -H "Authorization: Bearer $DIMORA_API_KEY"' if settings.api_keys else ""
    return f"""Dimora {__version__} is at home on {url}

  terminal   {program} run {model}
  curl       curl {url}/api/generate{key} -d '{{"model": "{model}", "prompt": "Say hello"}}'
  clients    base URL {url} for Ollama, {url}/v1 for OpenAI

Ctrl-C stops it."""
