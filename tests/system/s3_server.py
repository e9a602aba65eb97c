"""S3 server for tests: `python s3_server.py ADDRESS PORT FLIP`. Its bucket is there from the start.

While the file FLIP exists, a bit of what it returns is another one; if `unseen` is in the file, also without the
checksum by which a client of S3 would know.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import run_simple

BUCKET = "values"


def serve(address: str, port: int, flip: Path) -> None:
    """Serve for ever."""
    application = DomainDispatcherApplication(create_backend_app)

    def spoiling(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or not flip.exists():
            untouched: Iterable[bytes] = application(environ, start_response)
            return untouched
        is_seen = "unseen" not in flip.read_text()

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            kept = [one for one in headers if is_seen or "checksum" not in one[0].lower()]
            return start_response(status, kept, *more)

        answer = application(environ, start)
        body = bytearray(b"".join(answer))
        if body:
            body[len(body) // 2] ^= 1
        return [bytes(body)]

    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, "us-east-1")
    run_simple(address, port, spoiling, threaded=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
