"""Sending files to a repository on a hub as one commit: the only place that speaks to a hub with a token."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from engine.kit.errors import BadInput, Conflict, EngineError, Forbidden, UpstreamFailed
from engine.kit.settings import settings

Seen = Callable[[int, int], None]
"""Is told the bytes sent and all bytes."""

SILENCE = 120.0
"""Seconds without a byte after which a hub counts as gone; its client would wait for ever."""
LONGEST_WORDS = 200
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN = re.compile(r"[!-~]{1,500}")


def checked_repo(repo: str) -> str:
    """Return the name of a repository, `owner/name`. Raises BadInput for what a hub takes for none."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = repo.strip()
    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if not _REPO.fullmatch(name):
        raise BadInput("takealong.bad_repo", field="repo", repo=repo[:100])
    return name


def checked_token(token: str) -> str:
    """Return an access token without space around it. Raises BadInput for what cannot be one.

    What cannot stand in a header would come back in the words of an error.
    """
    if not _TOKEN.fullmatch(token.strip()):
        raise BadInput("takealong.no_token", field="token")
    return token.strip()


def address(repo: str) -> str:
    """Return where a person looks at a repository."""
    return f"{settings().hub_endpoint.rstrip('/')}/{repo}"


MARK = "registry.yaml"
"""What only our pushes leave in a repository."""


def send(
    folder: Path, repo: str, *, token: str, private: bool, message: str, ours: Sequence[str], seen: Seen
) -> None:
    """Make the files of `folder` the newest commit of `repo`, which is made when there is none.

    Where an earlier push has left its MARK, files there, not in folders, whose names match `ours` and that
    are not sent are deleted in the same commit; others stay, as does everything in other repositories.
    Nothing of the commit shows before all of it is there. Raises BadInput, Forbidden, Conflict and
    UpstreamFailed, each saying what is in the repository; none holds the token.
    """
    from huggingface_hub import CommitOperationDelete, HfApi

    _have_patience()
    api = HfApi(endpoint=settings().hub_endpoint.rstrip("/"), token=token, library_name="mbe-studio")
    with _explained(repo, token, "takealong.hub_unreachable"):
        found = _repository(api, repo, private)
    if private and not found.private:
        raise Conflict("takealong.already_public", field="private", repo=repo)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    sent = {path.name for path in paths}
    there = [sibling.rfilename for sibling in found.siblings or [] if "/" not in sibling.rfilename]
    stale = [name for name in there if name not in sent and any(fnmatch(name, pattern) for pattern in ours)]
    if MARK not in there:
        stale = []
    with ExitStack() as open_files:
        with _explained(repo, token, "takealong.hub_broke_off"):
            additions = _upload(api, repo, paths, open_files, seen)
        with _explained(repo, token, "takealong.hub_unclear"):
            deletions = [CommitOperationDelete(path_in_repo=name) for name in stale]
            api.create_commit(repo, [*additions, *deletions], commit_message=message)
    total = sum(path.stat().st_size for path in paths)
    seen(total, total)


def _repository(api: Any, repo: str, private: bool) -> Any:
    """Return what the hub knows of a repository, which is made when it is not there."""
    from huggingface_hub.errors import RepositoryNotFoundError

    # Looked for first: a token may write to a repository without the right to make one.
    try:
        return api.model_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private, exist_ok=True)
        return api.model_info(repo)


def _upload(api: Any, repo: str, paths: Sequence[Path], open_files: ExitStack, seen: Seen) -> list[Any]:
    """Send the large files, one after the other; small ones travel with the commit itself."""
    from huggingface_hub import CommitOperationAdd

    total, before, additions = sum(path.stat().st_size for path in paths), 0, []
    for path in paths:
        file = open_files.enter_context(_Watched(path))
        # A file object, not a path: the client then sends it itself, byte by byte, to any hub.
        addition = CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=file)
        file.watch = lambda position, start=before: seen(start + position, total)
        api.preupload_lfs_files(repo, [addition], num_threads=1)
        file.watch = None
        additions.append(addition)
        before += path.stat().st_size
        seen(before, total)
    return additions


class _Watched(io.BufferedReader):
    """A file that tells `watch` how far it has been read."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.watch: Callable[[int], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.watch is not None:
            self.watch(self.tell())
        return data


def _have_patience() -> None:
    """Let the hub's client give up at last, and keep its remarks to itself."""
    from httpx2 import Timeout
    from huggingface_hub import get_session
    from huggingface_hub.utils import logging

    get_session().timeout = Timeout(SILENCE, connect=10.0)
    logging.set_verbosity_error()


@contextmanager
def _explained(repo: str, token: str, silent: str) -> Iterator[None]:
    """Turn what the hub's client raises into errors for people; `silent` is said when the hub is not heard.

    Chains end here: what the client raises holds the request, and that the token.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        yield
        return
    except OfflineModeIsEnabled:
        error: EngineError = Conflict("takealong.offline")
    except (HTTPError, OSError, RuntimeError, ValueError, KeyError, TypeError) as raised:
        error = _told(raised, repo, token, silent)
    raise error from None


def _told(raised: Exception, repo: str, token: str, silent: str) -> EngineError:
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(raised, RuntimeError) and isinstance(raised.__cause__, Exception):
        raised = raised.__cause__  # the client wraps what went wrong with one file
    hub = settings().hub_endpoint
    if not isinstance(raised, HfHubHTTPError):
        if isinstance(raised, HTTPError | OSError):
            return UpstreamFailed(silent, repo=repo, hub=hub)
        return UpstreamFailed("takealong.hub_refused", repo=repo, hub=hub, why=_clean(str(raised), token))
    status = raised.response.status_code
    if status == 401:
        return BadInput("takealong.token_refused", field="token", hub=hub)
    if status == 403:
        return Forbidden("takealong.not_allowed", field="repo", repo=repo)
    if status >= 500:
        return UpstreamFailed(silent, repo=repo, hub=hub)
    words = raised.server_message or f"HTTP {status}"
    return UpstreamFailed("takealong.hub_refused", repo=repo, hub=hub, why=_clean(words, token))


def _clean(words: str, token: str) -> str:
    return " ".join(words.replace(token, "…").split())[:LONGEST_WORDS]
