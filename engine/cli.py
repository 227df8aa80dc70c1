"""The `mbe` command."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import TaskID

from engine.kit.errors import EngineError
from engine.kit.messages import pick_language

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


@app.command()
def upload(
    files: Annotated[list[Path], typer.Argument(help="Documents to upload.")],
    base: Annotated[str, typer.Option(help="Name or id of the knowledge base.")],
    key: Annotated[
        str,
        typer.Option(envvar="MBE_API_KEY", help="API key; without one, this machine's starter developer."),
    ] = "",
) -> None:
    """Upload documents in parts. After a cut, the same command sends only what is missing."""
    from engine.demo.people import bars
    from engine.sender import Sender

    failed = False
    with bars(Console(stderr=True)) as progress:
        try:
            sender = Sender(key)
            base_id = sender.base_id(base)
        except EngineError as error:
            sys.exit(str(error))
        for path in files:
            task = progress.add_task(path.name, total=None, note="")

            def seen(done: int, total: int, task: TaskID = task) -> None:
                progress.update(task, completed=done, total=total)

            try:
                document = sender.send(path, base_id, seen)
                progress.update(task, note=document["id"])
            except (EngineError, OSError) as error:
                failed = True
                progress.update(task, note=str(error))
    sys.exit(failed)


@app.command()
def reproduce(
    wish: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_EXPERT",
            help="Id of a run or expert, its public name, or an exported .yaml/.json.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Which entry of a file with several: NAME or NAME:VERSION.")
    ] = "",
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    key: Annotated[
        str,
        typer.Option(envvar="MBE_API_KEY", help="API key; without one, this machine's starter developer."),
    ] = "",
) -> None:
    """Train again as recorded, beside the market, and say whether the weights are the same.

    The exit status is 0 when they are, 1 when not.
    """
    import tempfile

    from engine.demo.people import bars
    from engine.flows import people, reproduce_training

    console = Console(stderr=True)
    language = pick_language(language)
    try:
        person = people.by_key(key) if key else people.continue_as("developer")[0]
        record = reproduce_training.find(person, wish, model)
        console.print(reproduce_training.begins(record, language), markup=False)
        with tempfile.TemporaryDirectory(prefix="mbe-again-") as folder, bars(console) as progress:
            task = progress.add_task(record.name, total=None, note="")

            def seen(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            found = reproduce_training.reproduce(person, record, Path(folder), seen)
    except EngineError as error:
        sys.exit(error.message(language))
    print("\n".join(found.words(language)))
    sys.exit(not found.same)


@app.command()
def push(
    model: Annotated[str, typer.Argument(help="Id of an expert or its run, or its public name.")],
    repo: Annotated[str, typer.Argument(help="Repository on the hub, owner/name; made if need be.")],
    merged: Annotated[bool, typer.Option("--merged", help="The merged model, not the adapter.")] = False,
    public: Annotated[bool, typer.Option("--public", help="For all to see, not private.")] = False,
    language: Annotated[str, typer.Option(help="en or zh; also that of the model card.")] = "en",
    key: Annotated[
        str,
        typer.Option(envvar="MBE_API_KEY", help="API key; without one, this machine's starter developer."),
    ] = "",
) -> None:
    """Send an expert to a repository on a model hub, with its card and registry entry.

    The hub's access token is read from HF_TOKEN, or from where `hf auth login` left it.
    """
    from huggingface_hub import get_token

    from engine.demo.people import bars
    from engine.flows import people, take_along
    from engine.kit.messages import t

    language = pick_language(language)
    try:
        person = people.by_key(key) if key else people.continue_as("developer")[0]
        expert = take_along.find(person, model)
        with bars(Console(stderr=True)) as progress:
            task = progress.add_task(expert.name, total=None, note=repo)

            def seen(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            pushed = take_along.push(
                person,
                expert.id,
                repo=repo,
                token=get_token() or "",
                private=not public,
                what="merged" if merged else "adapter",
                language=language,
                seen=seen,
            )
    except EngineError as error:
        sys.exit(error.message(language))
    print(t("takealong.said", language, count=len(pushed.files), address=pushed.address))


@app.command(name="reconcile")
def reconcile_books(language: Annotated[str, typer.Option(help="en or zh.")] = "en") -> None:
    """Compare all usage events, receipts and movements, and list what does not agree.

    The exit status is 0 when all of it does, 1 when not.
    """
    from engine.flows import reconcile
    from engine.kit.messages import t

    result, language = reconcile.compare(), pick_language(language)
    for each in result.differences:
        print(each.kind, each.id, each.tenant_id, f"{each.expected} ≠ {each.actual}", sep="\t")
    facts = {"micro": f"{result.micro:,}", "tokens": f"{result.tokens:,}", "found": f"{result.found:,}"}
    words = t("cash.books_agree" if result.agrees else "cash.books_differ", language, **facts)
    print(words, t("cash.books_checked", language, checked=f"{result.checked:,}"))
    sys.exit(not result.agrees)


if __name__ == "__main__":
    app()
