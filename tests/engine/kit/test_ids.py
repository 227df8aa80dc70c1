"""Ids are unique, also in threads and after a fork, say what they name, and sort by time."""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

from engine.kit.ids import new_id


def test_an_id_says_what_it_names() -> None:
    assert re.fullmatch(r"kb_[0-9a-hjkmnp-z]{25}", new_id("kb"))


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_id("x"))
        time.sleep(0.002)
    assert ids == sorted(ids)


def test_threads_make_no_id_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [
            one for many in pool.map(lambda _: [new_id("x") for _ in range(1000)], range(16)) for one in many
        ]
    assert len(set(made)) == len(made)


def test_a_forked_process_does_not_make_the_ids_of_its_parent() -> None:
    new_id("x")  # there is randomness left over now
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "\n".join(new_id("x")[-16:] for _ in range(100)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = set(pipe.read().split())
    os.waitpid(child, 0)
    assert len(theirs) == 100 and not theirs & {new_id("x")[-16:] for _ in range(300)}
