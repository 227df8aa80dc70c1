"""Dialogues to train on."""

from fastapi import APIRouter, Form, UploadFile

from apps.gateway.identity import Caller
from engine.datasets.schemas import DatasetView
from engine.flows import import_dataset as flow

router = APIRouter(prefix="/admin/datasets", tags=["datasets"])


@router.post("/preview")
def preview(file: UploadFile, caller: Caller) -> dict[str, object]:
    """Say how a file would be read, and which rows would be left out and why. Keeps nothing."""
    return flow.preview(caller, file.filename or "", file.file).model_dump(mode="json")


@router.post("", status_code=201)
def import_dataset(
    file: UploadFile, caller: Caller, name: str = Form(""), on_bad: str = Form("refuse")
) -> DatasetView:
    """Import a file; with `on_bad=keep_good` rows at fault are left out instead of refusing the file."""
    return flow.import_file(caller, name=name, filename=file.filename or "", source=file.file, on_bad=on_bad)


@router.get("")
def datasets(caller: Caller) -> list[DatasetView]:
    """List my datasets."""
    return flow.listing(caller)


@router.get("/{dataset_id}")
def dataset(dataset_id: str, caller: Caller) -> DatasetView:
    """Return one of my datasets."""
    return flow.get(caller, dataset_id)


@router.delete("/{dataset_id}")
def delete(dataset_id: str, caller: Caller) -> dict[str, bool]:
    """Delete one of my datasets."""
    flow.delete(caller, dataset_id)
    return {"deleted": True}
