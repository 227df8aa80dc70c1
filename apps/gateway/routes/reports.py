"""What a training leaves behind, as files to keep: its report, its model card, the registry."""

from fastapi import APIRouter
from fastapi.responses import Response

from apps.gateway.identity import Caller
from engine.flows import report_training as flow
from engine.flows.report_training import Document
from engine.kit.messages import pick_language

router = APIRouter(prefix="/admin/training", tags=["training"])

# A report holds words of many people; nothing in it may act, also where a browser shows it at once.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@router.get("/registry")
def whole_registry(caller: Caller, format: str = "yaml") -> Response:
    """Return the registry of all of the tenant's experts, as `yaml` or `json`."""
    return _file(flow.whole_registry(caller, format))


@router.get("/{job_id}/report")
def report(job_id: str, caller: Caller, format: str = "html", language: str = "en") -> Response:
    """Return the report of a training, as `html` or `md`, in `en` or `zh`."""
    return _file(flow.report(caller, job_id, format, pick_language(language)))


@router.get("/{job_id}/card")
def card(job_id: str, caller: Caller, language: str = "en") -> Response:
    """Return the model card of a finished training, as Hugging Face's `README.md`."""
    return _file(flow.card(caller, job_id, pick_language(language)))


@router.get("/{job_id}/registry")
def registry(job_id: str, caller: Caller, format: str = "yaml") -> Response:
    """Return everything needed to repeat a finished training, as `yaml` or `json`."""
    return _file(flow.registry(caller, job_id, format))


def _file(document: Document) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{document.name}"',
        "Content-Security-Policy": POLICY,
        "Cache-Control": "private, no-store",
    }
    return Response(document.text, media_type=f"{document.media}; charset=utf-8", headers=headers)
