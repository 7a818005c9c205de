"""Serves the page and the answers of `api` on this machine alone.

Documents are what strangers wrote, and any site that is open in the same browser can send requests
to this port. So: loopback only; the `Host` header must name it (against DNS rebinding); GET and
HEAD only; a content security policy under which nothing but our own files runs; and no part of a
request becomes a path.
"""

import errno
import json
import math
import sys
import traceback
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigError, InputError, MassivetextError
from .api import Api

HOST = "127.0.0.1"
MOST_TARGET = 8192  # characters of path and query
MOST_PARAMETERS = 64
IDLE_SECONDS = 30
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def static_files() -> dict[str, tuple[str, bytes]]:
    """Return type and contents of the page's files, by path."""
    found = {}
    for file in resources.files(__package__).iterdir():
        kind = _TYPES.get(Path(file.name).suffix)
        if kind:
            found[f"/{file.name}"] = (kind, file.read_bytes())
    found["/"] = found.pop("/index.html")
    return found


class Server(ThreadingHTTPServer):
    """Serves one output folder on `HOST`; port 0 takes a free one, `url` says which.

    The training runs of the folders `others` are shown beside its own.

    Raises:
      ConfigError: the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, root: Path, port: int, others: Sequence[Path] = ()):
        self.static = static_files()
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = str(error)
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                reason = "another program listens there"
            raise ConfigError(
                f"port {port} cannot be had ({reason}); give another with --port, or 0 for any"
            ) from error
        try:
            self.api = Api(root, others)
        except BaseException:
            self.server_close()
            raise
        self.url = f"http://{HOST}:{self.server_port}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone away; report anything else."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "massivetext"
    sys_version = ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        """Answer a request."""
        # A body would be read as the next request.
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            self._fail(HTTPStatus.FORBIDDEN, f"only {self.server.url} is served here")
        elif len(self.path) > MOST_TARGET:
            self._fail(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        else:
            self._answer()

    do_HEAD = do_GET  # noqa: N815 - `_send` leaves the body out

    def __getattr__(self, name: str) -> Any:
        # http.server looks a method up by its name, and calls an unknown one not implemented.
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        self.close_connection = True
        self._fail(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered")

    def _answer(self) -> None:
        try:
            address = urlsplit(self.path)
            if self.path.startswith("//") or address.scheme or address.netloc:
                raise ValueError("the address must be a path")
            fields = parse_qsl(
                address.query,
                keep_blank_values=True,
                strict_parsing=bool(address.query),
                errors="strict",
                max_num_fields=MOST_PARAMETERS,
            )
            parameters = dict(fields)
            if len(parameters) != len(fields):
                raise ValueError("a parameter is given twice")
        except ValueError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
            return
        if address.path in self.server.static:
            kind, body = self.server.static[address.path]
            self._send(HTTPStatus.OK, kind, body)
        elif address.path in self.server.api.routes:
            self._ask(address.path, parameters)
        else:
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _ask(self, path: str, parameters: dict[str, str]) -> None:
        try:
            body = _json(self.server.api.answer(path, parameters))
        except ConfigError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except (InputError, MassivetextError) as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except Exception as error:  # a fault of ours, in one answer, must not end the others
            traceback.print_exc()
            self._fail(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}; see the terminal"
            )
        else:
            self._send(HTTPStatus.OK, "application/json", body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses as everything else is refused."""
        self.close_connection = True
        self._fail(HTTPStatus(code), message or "")

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send(status, "application/json", _json({"error": message or status.phrase}))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for what needs a person."""


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    """Return JSON with null for the numbers that JSON has not: infinities, and what is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _printable(text: str) -> str:
    """Return text without what a terminal cannot be sent: bytes of names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def serve(root: Path, port: int, others: Sequence[Path] = ()) -> None:
    """Serve the page of an output folder, print its address, and go on until Ctrl-C.

    The training runs of the folders `others` are shown beside its own.

    Raises:
      ConfigError: the port cannot be had.
    """
    try:
        with Server(root, port, others) as server:
            for line in server.api.missing():
                print(_printable(f"incomplete: {line}"))
            shown = _printable(f"inspecting {root}")
            print(f"{shown} at {server.url} (Ctrl-C ends)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
