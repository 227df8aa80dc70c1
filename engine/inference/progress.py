"""How far the start of a model server is, read from its log and the clock."""

import time
from pathlib import Path


class Progress:
    """An estimate in percent: the last mark seen in the log, plus the share of its usual time.

    `marks` are (text, percent, usual seconds to the next mark) in the order they appear; the
    first is the start. It never falls, and stays below 100: only a probe tells that it is ready.
    """

    def __init__(self, log: Path, marks: list[tuple[str, int, float]]) -> None:
        self._log = log
        self._marks = marks
        self._reached = 0
        self._at = time.monotonic()

    def percent(self) -> int:
        """Return the estimate now."""
        written = self._written()
        for number, (text, _, _) in enumerate(self._marks):
            if number > self._reached and text in written:
                self._reached, self._at = number, time.monotonic()
        _, low, seconds = self._marks[self._reached]
        following = self._marks[self._reached + 1 :]
        high = following[0][1] if following else 100
        share = min((time.monotonic() - self._at) / seconds, 1.0)
        return min(99, low + int((high - low) * share * 0.95))

    def _written(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""
