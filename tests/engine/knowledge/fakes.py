"""A job context and a filled base for the tests of the knowledge room."""

from typing import Any

from engine.kit.database import unit_of_work
from engine.knowledge import adding, service, tasks
from engine.knowledge.schemas import BaseView, DocumentView


class Crash(Exception):
    """The process dies."""


class FakeContext:
    """A job context that keeps everything in memory and can crash at the n-th report or checkpoint."""

    def __init__(
        self,
        base: BaseView,
        *,
        index_id: str | None = None,
        tenant_id: str | None = None,
        checkpoint: dict[str, Any] | None = None,
        crash_at_report: int | None = None,
        crash_at_checkpoint: int | None = None,
    ) -> None:
        self.params = {"index_id": index_id or base.index_id, "tenant_id": tenant_id or base.tenant_id}
        self.checkpoint = checkpoint
        self.reports: list[dict[str, Any]] = []
        self.saved: list[dict[str, Any]] = []
        self.stop_after_reports: int | None = None
        self._crash_at_report = crash_at_report
        self._crash_at_checkpoint = crash_at_checkpoint

    def report(
        self, *, done: int | None = None, total: int | None = None, message: str | None = None
    ) -> None:
        if self._crash_at_report is not None and len(self.reports) >= self._crash_at_report:
            raise Crash
        self.reports.append({"done": done, "total": total, "message": message})

    def save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._crash_at_checkpoint is not None and len(self.saved) >= self._crash_at_checkpoint:
            raise Crash
        self.checkpoint = checkpoint
        self.saved.append(checkpoint)

    def check_stop(self) -> None:
        if self.stop_after_reports is not None and len(self.reports) >= self.stop_after_reports:
            raise Crash


def make_base(language: str = "zh", tenant_id: str = "t1", **files: str) -> BaseView:
    """Create a base; `files` are texts by name, without suffix."""
    with unit_of_work() as uow:
        base = service.create_base(uow, person_id="p1", tenant_id=tenant_id, name="Help", language=language)
    for name, text in files.items():
        add(base, f"{name}.md", text)
    return base


def add(base: BaseView, filename: str, text: str | bytes) -> DocumentView:
    """Add a document."""
    return adding.add_document(
        base_id=base.id,
        tenant_id=base.tenant_id,
        filename=filename,
        source=text.encode() if isinstance(text, str) else text,
    )


def prepare(base: BaseView) -> None:
    """Chunk and index."""
    tasks.chunk_job(FakeContext(base))
    tasks.index_job(FakeContext(base))


def view(base: BaseView) -> BaseView:
    """Return the base as it is now."""
    with unit_of_work() as uow:
        return service.get_base(uow, base.id, base.tenant_id)
