"""The `mbe` command."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from engine.kit.errors import EngineError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def up() -> None:
    """Run the whole product: database, model server, worker, gateway and pages. Ctrl-C ends it."""
    from engine import supervisor

    try:
        supervisor.up(Console())
    except EngineError as error:
        sys.exit(str(error))


@app.command()
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the story as one JSON object.")] = False,
    price: Annotated[str, typer.Option(help="Credits per 1,000 tokens that the expert costs.")] = "2.50",
) -> None:
    """Do the main job through the public HTTP API, as four people, on the sample data."""
    from engine.demo import story

    console = Console(stderr=as_json)
    try:
        told = story.tell(console, price=price)
    except EngineError as error:
        sys.exit(str(error))
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    app()
