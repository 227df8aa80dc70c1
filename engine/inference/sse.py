"""Server-sent events out of bytes that arrive in pieces of any size.

Lines end in LF or CR LF. httpx's own line splitter also breaks at U+2028 and its kin, which
servers send unescaped inside JSON text; so the split is done here, on bytes.
"""

from collections.abc import AsyncIterator

from engine.kit.errors import UpstreamFailed

LONGEST_LINE = 4 * 2**20


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the data of each event up to `[DONE]` or the end of `pieces`.

    Raises UpstreamFailed for a line beyond LONGEST_LINE bytes.
    """
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise UpstreamFailed("inference.odd_answer")
        for line in lines:
            if not line.startswith(b"data:"):
                continue  # comments, event names and the empty lines between events
            data = line[5:].strip(b" \r").decode("utf-8", "replace")
            if data == "[DONE]":
                return
            yield data
