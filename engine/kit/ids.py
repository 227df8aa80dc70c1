"""Random ids that sort by time and say what they name: `kb_01j9...`."""

import base64
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_HEX = b"0123456789ABCDEFGHIJKLMNOPQRSTUV"  # what base64 writes the same values with
_OURS = bytes.maketrans(_HEX, _ALPHABET.encode())
_BYTES = 10
_DIGITS = 16
_AT_ONCE = 200

_random: list[str] = []
_moment: tuple[int, str] = (0, "")


def _random_digits() -> str:
    """Return 80 random bits. They are asked of the system for many ids at once: every call makes a dozen."""
    try:
        return _random.pop()
    except IndexError:
        encoded = base64.b32hexencode(os.urandom(_BYTES * _AT_ONCE)).translate(_OURS).decode()
        fresh = [encoded[at : at + _DIGITS] for at in range(0, len(encoded), _DIGITS)]
        mine = fresh.pop()
        _random.extend(fresh)
        return mine


# A forked process must not make the ids that its parent will make.
os.register_at_fork(after_in_child=_random.clear)


def _time_digits() -> str:
    """Return the time in milliseconds; many ids of a call are made in the same one."""
    global _moment
    at = time.time_ns() // 1_000_000
    known, digits = _moment
    if known != at:
        digits = "".join([_ALPHABET[at >> shift & 31] for shift in range(40, -1, -5)])
        _moment = at, digits
    return digits


def new_id(prefix: str) -> str:
    """Return a new id: prefix, 9 digits of milliseconds, 16 random digits (80 bits)."""
    return f"{prefix}_{_time_digits()}{_random_digits()}"
