"""Taking an expert along: merged into one model, as a zip, or in a repository on a hub."""

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, SecretStr

from apps.gateway.identity import Caller
from engine.flows import take_along as flow
from engine.jobs.schemas import JobView
from engine.kit.messages import pick_language

router = APIRouter(prefix="/admin/models", tags=["models"])


class Push(BaseModel):
    """Where to on the hub, and what: `adapter`, or the whole `merged` model.

    `token` is the hub's, with the right to write; it is used once and kept nowhere.
    """

    # A misspelled `private` would show to all what was meant for few.
    model_config = ConfigDict(extra="forbid")

    repo: str
    token: SecretStr
    private: bool = True
    what: str = "adapter"


@router.post("/{expert_id}/merge", status_code=202)
def merge(expert_id: str, caller: Caller) -> JobView:
    """Start merging an expert's adapter into its base model."""
    return flow.merge(caller, expert_id)


@router.get("/{expert_id}/merged")
def merged(expert_id: str, caller: Caller) -> dict[str, object]:
    """Say whether the merged model is ready, which files it has, and how far the newest merge is."""
    found = flow.merged(caller, expert_id)
    return {
        "ready": found.model is not None,
        "size": found.model.size if found.model else 0,
        "files": found.model.model_dump()["files"] if found.model else {},
        "job": found.job.model_dump(mode="json") if found.job else None,
    }


@router.get("/{expert_id}/merged.zip")
def download(expert_id: str, caller: Caller, language: str = "en") -> StreamingResponse:
    """Return the merged model, its card in `en` or `zh` and its registry entry as one zip."""
    archive = flow.download(caller, expert_id, pick_language(language))
    headers = {
        "Content-Disposition": f'attachment; filename="{archive.name}"',
        "Content-Length": str(archive.size),
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(archive.pieces, media_type="application/zip", headers=headers)


@router.post("/{expert_id}/push")
def push(
    expert_id: str, given: Push, caller: Caller, accept_language: Annotated[str, Header()] = ""
) -> flow.Pushed:
    """Send an expert to a repository on the hub as one commit, with model card and registry entry."""
    return flow.push(
        caller,
        expert_id,
        repo=given.repo,
        token=given.token.get_secret_value(),
        private=given.private,
        what=given.what,
        language=pick_language(accept_language),
    )
