"""One person of the demo: signs in, keeps a session, and calls the API."""

import time
from pathlib import Path
from typing import Any

import httpx
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from engine.kit.errors import UpstreamFailed
from engine.kit.settings import settings


def bars(console: Any) -> Progress:
    """Return progress bars in the demo's look."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    )


class Caller:
    """Somebody with a session at the gateway."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.http = httpx.Client(base_url=settings().gateway_url, timeout=120)
        self.person = self.post("/auth/continue-as", {"role": role})

    def checked(self, answer: httpx.Response) -> Any:
        """Return the JSON of an answer. Raises UpstreamFailed with the reason given."""
        if answer.is_error:
            try:
                why = answer.json()["error"]["message"]
            except (ValueError, KeyError):
                why = answer.text[:200]
            raise UpstreamFailed("demo.refused", role=self.role, path=answer.request.url.path, why=why)
        return answer.json()

    def get(self, path: str, **params: Any) -> Any:
        """GET a path and return its JSON. Raises UpstreamFailed with the reason given."""
        return self.checked(self.http.get(path, params=params))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST JSON and return the answer's."""
        return self.checked(self.http.post(path, json=body or {}))

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """PUT JSON and return the answer's."""
        return self.checked(self.http.put(path, json=body))

    def upload(self, path: str, file: Path | tuple[str, bytes], **form: str) -> Any:
        """POST a file as a form and return the answer's JSON."""
        name, data = (file.name, file.read_bytes()) if isinstance(file, Path) else file
        return self.checked(self.http.post(path, files={"file": (name, data)}, data=form))

    def watch(self, job_id: str, progress: Progress, title: str) -> dict[str, Any]:
        """Follow a job to its end with a bar. Raises UpstreamFailed with the job's reason if it failed."""
        task = progress.add_task(title, total=None, note="")
        while True:
            job = self.get(f"/api/jobs/{job_id}")
            progress.update(task, completed=job["done"], total=job["total"] or None, note=job["message"])
            if job["state"] == "succeeded":
                progress.update(task, completed=1, total=1, note="")
                return dict(job)
            if job["state"] in ("failed", "cancelled") or (job["state"] == "paused" and job["error"]):
                raise UpstreamFailed(
                    "demo.job_ended", title=title, state=job["state"], why=job["error"] or ""
                )
            time.sleep(0.3)
