"""Become another command, on one core and no longer alive than the process that started this one.

`python -m benchmarks.gateway_core PARENT CORE COMMAND...`; CORE `-` is any. A process in between, rather than
code between fork and exec, because a benchmark may have threads by then. It imports next to nothing, so that
it costs next to no time.
"""

import os
import sys

from engine.kit import process


def main() -> None:
    """Become the command of the command line."""
    parent, core, *command = sys.argv[1:]
    process.die_with_parent(int(parent))
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
