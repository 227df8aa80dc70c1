"""Faces are built when they are first asked for, each once, and one after the other."""

import asyncio
import time

from fastapi import FastAPI

from apps.faces import Face


class Site:
    """Counts who builds at the same time."""

    def __init__(self) -> None:
        self.building = 0
        self.most = 0
        self.built: list[str] = []

    def face(self, name: str) -> Face:
        return Face(name, lambda: self._build(name))

    def _build(self, name: str) -> FastAPI:
        self.building += 1
        self.most = max(self.most, self.building)
        time.sleep(0.02)  # long enough for another to come between, if it may
        self.building -= 1
        self.built.append(name)
        return FastAPI(title=name)


def test_faces_that_are_asked_for_at_once_are_built_one_after_the_other() -> None:
    site = Site()

    async def ask() -> None:
        faces = [site.face(name) for name in ("studio", "market", "arena")]
        apps = await asyncio.gather(*(face.app() for face in (*faces, *faces)))
        assert [app.title for app in apps] == ["studio", "market", "arena"] * 2
        for face in faces:
            await face.close()

    asyncio.run(ask())
    assert site.most == 1
    assert sorted(site.built) == ["arena", "market", "studio"]


def test_one_that_could_not_be_built_is_built_anew_for_the_next() -> None:
    tries: list[int] = []

    def build() -> FastAPI:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("no luck")
        return FastAPI()

    async def ask() -> None:
        face = Face("studio", build)
        first = await asyncio.gather(face.app(), return_exceptions=True)
        assert isinstance(first[0], RuntimeError)
        assert isinstance(await face.app(), FastAPI)
        await face.close()

    asyncio.run(ask())
