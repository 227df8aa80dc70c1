"""A stand-in for a model hub: speaks as much of its HTTP as a push needs, and checks tokens and hashes."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

TOKEN = "hf_dana-has-the-right-to-write"
READ_ONLY = "hf_dana-may-only-read"
NO_REPO = "Repository not found"
BAD_TOKEN = "Invalid credentials in Authorization header"


@dataclass
class Repo:
    """A repository: its files as of the newest commit, and the messages of all commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the stand-in holds. `dana` may write below her own name with TOKEN.

    `broken` maps a word of a request's path to the status that it is answered with, 0 for a cut line.
    """

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def running() -> Iterator[Hub]:
    """Run a hub on a free port of 127.0.0.1."""
    hub = Hub()
    server = uvicorn.Server(uvicorn.Config(_app(hub), host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the hub did not start"
        time.sleep(0.01)
    hub.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield hub
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def _app(hub: Hub) -> FastAPI:
    app = FastAPI()

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        words = str(error.detail)
        code = {"X-Error-Code": "RepoNotFound"} if words == NO_REPO else {}
        return JSONResponse({"error": words}, error.status_code, headers={"X-Error-Message": words} | code)

    @app.middleware("http")
    async def breaking(request: Request, answer: Any) -> Response:
        hub.asked.append(f"{request.method} {request.url.path}")
        for word, status in hub.broken.items():
            if word in request.url.path:
                if not status:
                    return StreamingResponse(iter([b"{"]), headers={"Content-Length": "99"})
                token = request.headers.get("authorization", "")
                return JSONResponse({"error": f"no, {token}"}, status)
        return await answer(request)  # type: ignore[no-any-return]

    _repositories(app, hub)
    _uploads(app, hub)
    _commits(app, hub)
    return app


def _repositories(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/repos/create")
    async def create(request: Request) -> Response:
        given = await request.json()
        name = f"{given['organization']}/{given['name']}"
        _writer(request, given["organization"])
        if name in hub.repos:
            return JSONResponse({"error": "exists", "url": f"{hub.address}/{name}"}, 409)
        hub.repos[name] = Repo(private=given["visibility"] == "private", files={".gitattributes": b""})
        return JSONResponse({"url": f"{hub.address}/{name}"})

    @app.get("/api/models/{owner}/{name}")
    async def info(owner: str, name: str, request: Request) -> dict[str, object]:
        user, repo = _user(request), hub.repos.get(f"{owner}/{name}")
        if repo is None or (repo.private and user != owner):
            raise HTTPException(404, NO_REPO)
        files = [{"rfilename": file} for file in sorted(repo.files)]
        return {"id": f"{owner}/{name}", "private": repo.private, "siblings": files, "sha": "0" * 40}

    @app.post("/api/validate-yaml")
    async def validate(request: Request) -> dict[str, object]:
        assert (await request.json())["content"].startswith("---\n")
        return {"errors": [], "warnings": []}


def _uploads(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/models/{owner}/{name}/preupload/{revision}")
    async def modes(owner: str, name: str, request: Request) -> dict[str, object]:
        _writer(request, owner)
        files = (await request.json())["files"]
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
        }

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch")
    async def batch(owner: str, name: str, request: Request) -> dict[str, object]:
        _writer(request, owner)
        objects = (await request.json())["objects"]
        for one in objects:
            if one["oid"] not in hub.stored:
                one["actions"] = {"upload": {"href": f"{hub.address}/storage/{one['oid']}", "header": {}}}
        return {"transfer": "basic", "objects": objects}

    @app.put("/storage/{oid}")
    async def keep(oid: str, request: Request) -> Response:
        assert "authorization" not in request.headers, "the token went to the storage"
        body = await request.body()
        if hashlib.sha256(body).hexdigest() != oid:
            raise HTTPException(400, "another hash")
        hub.stored[oid] = body
        return Response()


def _commits(app: FastAPI, hub: Hub) -> None:
    @app.post("/api/models/{owner}/{name}/commit/{revision}")
    async def commit(owner: str, name: str, revision: str, request: Request) -> dict[str, str]:
        _writer(request, owner)
        repo = hub.repos[f"{owner}/{name}"]
        header, *lines = [json.loads(line) for line in (await request.body()).splitlines()]
        files = dict(repo.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub.stored[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        repo.files = files
        repo.commits.append(header["value"]["summary"])
        return {"commitUrl": f"{hub.address}/{owner}/{name}/commit/1", "commitOid": "1" * 40}


def _user(request: Request) -> str:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token not in (TOKEN, READ_ONLY):
        raise HTTPException(401, BAD_TOKEN)
    return "dana"


def _writer(request: Request, owner: str) -> None:
    user = _user(request)
    if owner != user or READ_ONLY in request.headers["authorization"]:
        raise HTTPException(403, "You have no right to write here")
