"""Random ids that sort by time and say what they name: `kb_01j9...`."""

import os
import time
from threading import Lock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]
_BYTES = 10
_AT_ONCE = 200

_lock = Lock()
_randomness: list[bytes] = []


def _random() -> int:
    """Return 80 random bits. They are asked of the system for many ids at once: every call makes a dozen."""
    with _lock:
        if not _randomness:
            fresh = os.urandom(_BYTES * _AT_ONCE)
            _randomness.extend(fresh[n : n + _BYTES] for n in range(0, len(fresh), _BYTES))
        return int.from_bytes(_randomness.pop())


def _forget() -> None:
    """A forked process must not make the ids that its parent will make."""
    global _lock
    _lock = Lock()
    _randomness.clear()


os.register_at_fork(after_in_child=_forget)


def _base32(number: int, pairs: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(10 * (pairs - 1), -1, -10)])


def new_id(prefix: str) -> str:
    """Return a new id: prefix, 9 digits of milliseconds, 16 random digits (80 bits)."""
    return f"{prefix}_{_base32(time.time_ns() // 1_000_000, 5)[1:]}{_base32(_random(), 8)}"
