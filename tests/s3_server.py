"""A local S3 server for tests: `running()` starts this file as a program, with its own libraries."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "tests"
LIBRARIES = Path(sys.prefix) / "s3-server"  # see requirements/install.py


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Run the server on a free port of 127.0.0.1; yields the environment variables that lead to it.

    It has one bucket and one access key, and checks signatures. It ends when its standard input does,
    so also when this process dies.
    """
    program = subprocess.Popen(
        [sys.executable, "-P", __file__],
        env=os.environ | {"PYTHONPATH": str(LIBRARIES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with program:
        assert program.stdout is not None
        said = program.stdout.readline()
        assert said, f"The S3 server did not start; is it in {LIBRARIES}?"
        yield json.loads(said)


def main() -> None:
    """Serve until standard input ends; prints the variables once the server listens."""
    from moto import settings
    from moto.iam.models import iam_backends
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    account, region, person = "123456789012", "us-east-1", "tests"
    iam = iam_backends[account]["aws"]
    iam.create_user(region, person)
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_user_policy(person, "s3", json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    key = iam.create_access_key(person)
    s3_backends[account]["aws"].create_bucket(BUCKET, region)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0  # from the first request on, callers must be known
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "NO_PROXY": host,
    }
    print(json.dumps(variables), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
