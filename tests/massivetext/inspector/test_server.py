"""What the server refuses, and what every answer carries."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from massivetext.cli import inspect
from massivetext.errors import ConfigError
from massivetext.inspector.server import Server

from . import folders
from .folders import ask, request


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return folders.make(tmp_path_factory.mktemp("served") / "out")


@pytest.fixture(scope="module")
def port(root):
    with Server(root, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_only_loopback_is_listened_on(port):
    with Server(Path("/nonexistent"), 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1", "localhost", "127.0.0.1:1", "evil.example:{port}",
     "127.0.0.1:{port}.evil.example", "127.0.0.1:{port}, evil.example", "0.0.0.0:{port}"],
)  # fmt: skip
def test_another_host_is_forbidden(port, host):
    for target in ("/", "/api/summary", "/nothing"):
        status, headers, body = request(port, target, Host=host.format(port=port))
        assert status == 403
        assert b"subsets" not in body
        assert "content-security-policy" in headers


def test_two_hosts_are_forbidden(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        host = f"Host: 127.0.0.1:{port}\r\n"
        connection.sendall(f"GET / HTTP/1.1\r\n{host}Host: evil\r\n\r\n".encode())
        assert b" 403 " in connection.recv(100)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}"])
def test_our_hosts_are_served(port, host):
    assert request(port, "/api/summary", Host=host.format(port=port))[0] == 200


@pytest.mark.parametrize(
    "target", ["/", "/app.js", "/style.css", "/api/summary", "/no", "/api/run?x=1"]
)
def test_every_answer_carries_the_policy(port, target):
    _, headers, _ = request(port, target)
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "data:"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"]
)
def test_other_methods_are_refused(port, method):
    status, headers, _ = request(port, "/api/summary", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert "content-security-policy" in headers


def test_head_is_get_without_the_body(port):
    whole = request(port, "/api/summary")
    head = request(port, "/api/summary", "HEAD")
    assert head[2] == b""
    assert head[1]["content-length"] == str(len(whole[2]))


@pytest.mark.parametrize(
    "target",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/server.py", "/server.py",
     "/__init__.py", "/api", "/api/", "/api/summary/", "/api/../app.js", "/./app.js",
     "/app.js%00",
     "/measured/books/part-00000.parquet", "/style.css/..", "/\\..\\server.py"],
)  # fmt: skip
def test_nothing_but_the_page_is_served(port, target):
    status, _, body = request(port, target)
    assert status in (400, 404)
    assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize("target", ["http://evil.example/app.js", "*", "evil", "/a b"])
def test_a_target_that_is_no_path_is_refused(port, target):
    assert request(port, target)[0] in (400, 404, 505)


@pytest.mark.parametrize(
    "query",
    ["subset=../../etc&part=passwd&row=0", "subset=books&part=../massiveweb/part-00000&row=0",
     "subset=books&part=/etc/passwd&row=0", "subset=books&part=part-00000.parquet&row=0",
     "subset=books&part=part-00000%00&row=0", "subset=&part=part-00000&row=0", "subset=books",
     "subset=books&part=part-00000&row=23", "subset=books&part=part-00000&row=-1",
     "subset=books&part=part-00000&row=1e1", "subset=books&part=part-00000&row=" + "9" * 5000,
     "subset=books&part=part-00000&row=%D9%A3", "subset=books&part=part-00000&row=0&from=-1",
     "subset=books&part=part-00000&row=0&row=1", "subset=books&part=part-00000&row=0&path=x", "x"],
)  # fmt: skip
def test_a_document_that_is_not_there(port, query):
    status, _, body = request(port, f"/api/document?{query}")
    assert status == 400
    assert len(json.loads(body)["error"]) < 300


@pytest.mark.parametrize(
    "place", ["", "books", "books:part-00000", "books:part-00000:x", "::", "../a:b:0"]
)
def test_a_place_that_is_none(port, place):
    assert request(port, f"/api/compare?a={place}&b=books:part-00000:0")[0] == 400


def test_huge_requests_are_refused(port):
    assert request(port, "/api/documents?query=" + "x" * 9000)[0] == 414
    assert request(port, "/api/documents?query=" + "x" * 70_000)[0] == 414
    assert request(port, "/api/documents?" + "&".join(f"a{i}=1" for i in range(100)))[0] == 400
    assert request(port, "/", X="y" * 70_000)[0] == 431
    # The longest that is let through is answered.
    assert request(port, "/api/documents?query=" + "x" * 8000)[0] == 200


@pytest.mark.parametrize(
    "target", [b"/api/documents?query=%FF%FE", b"/api/documents?query=\xff", b"/\xff"]
)
def test_what_is_not_utf8_is_refused_or_not_found(port, target):
    status, _, body = request(port, target)
    assert status in (200, 400, 404)
    json.loads(body)


def test_a_limit_has_a_limit(port):
    assert len(ask(port, "/api/documents?limit=1000000")["documents"]) == 4 * folders.ROWS
    assert len(ask(port, "/api/documents?limit=0")["documents"]) == 1
    assert request(port, "/api/documents?limit=x")[0] == 400


def test_a_connection_serves_several_requests_and_a_body_ends_it(port):
    head = f"Host: 127.0.0.1:{port}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /app.js HTTP/1.1\r\n{head}\r\n".encode() * 2)
        body = "GET /style.css HTTP/1.1\r\n"
        connection.sendall(f"GET / HTTP/1.1\r\n{head}Content-Length: 40\r\n\r\n{body}".encode())
        with connection.makefile("rb") as answers:
            body = answers.read()
    assert body.count(b"HTTP/1.1 200") == 3


def test_names_that_are_not_utf8(tmp_path):
    root = tmp_path / os.fsdecode(b"out-\xff")
    folders.make(tmp_path / "out").rename(root)  # Arrow writes no such path itself
    for path in (root / "manifests").iterdir():
        path.unlink()
    odd = root / "measured" / os.fsdecode(b"b\xfe")
    (root / "measured/books").rename(odd)
    with Server(root, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            summary = ask(server.server_port, "/api/summary")
            assert summary["name"] == "out-\udcff"
            assert sorted(summary["subsets"]) == ["b\udcfe", "massiveweb"]
            found = ask(server.server_port, "/api/documents?limit=1")
            assert found["documents"][0]["id"] == "books/f0#0"
        finally:
            server.shutdown()
            thread.join()


def test_a_damaged_file_is_named(tmp_path):
    root = folders.make(tmp_path / "out")
    with Server(root, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            (root / "measured/books/part-00000.parquet").write_bytes(b"PAR1 no more")
            status, _, body = request(server.server_port, "/api/documents")
            assert status == 500
            assert "part-00000.parquet cannot be read" in json.loads(body)["error"]
            found = ask(server.server_port, "/api/documents?subset=massiveweb")
            assert len(found["documents"]) == 2 * folders.ROWS
        finally:
            server.shutdown()
            thread.join()


def test_numbers_that_json_has_not_are_null(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n')
    with Server(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert ask(server.server_port, "/api/run")["steps"] == [{"step": 1, "loss": None}]
        finally:
            server.shutdown()
            thread.join()


def test_runs_are_named_and_asked_for_by_name(tmp_path):
    for name, step in (("a", 1), ("b", 2)):
        (tmp_path / name / "train").mkdir(parents=True)
        log = tmp_path / name / "train/metrics.jsonl"
        log.write_text(f'{{"step": {step}, "loss": 3.5}}\n')
    with Server(tmp_path / "a", 0, [tmp_path / "b"]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            summary = ask(server.server_port, "/api/summary")
            assert (summary["runs"], summary["subsets"]) == (["a", "b"], {})
            assert summary["missing"] == ["a is no build: only training is shown"]
            for question, step in (("", 1), ("?run=a", 1), ("?run=b", 2)):
                [row] = ask(server.server_port, f"/api/run{question}")["steps"]
                assert row["step"] == step
            status, _, body = request(server.server_port, "/api/run?run=../b")
            assert (status, "there is no run '../b'" in body.decode()) == (400, True)
        finally:
            server.shutdown()
            thread.join()


def options(out: Path, port: int, *against: Path) -> argparse.Namespace:
    return argparse.Namespace(out=str(out), port=port, against=[str(path) for path in against])


def test_a_port_in_use_is_said(root, port):
    with pytest.raises(ConfigError, match=f"port {port} cannot be had .another program"):
        inspect.run(options(root, port))


def test_wrong_arguments(root, tmp_path):
    with pytest.raises(ConfigError, match="not the output of a build"):
        inspect.run(options(tmp_path, 0))
    with pytest.raises(ConfigError, match="from 0"):
        inspect.run(options(root, 65536))
    with pytest.raises(ConfigError, match=r"--against .*: there is no training run"):
        inspect.run(options(root, 0, tmp_path))


def test_ctrl_c_ends_it_quietly(root):
    code = (
        "import argparse, sys; from massivetext.cli.inspect import run; "
        f"sys.exit(run(argparse.Namespace(out={str(root)!r}, port=0, against=[])))"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Where the tests run in a shell's background, SIGINT is ignored, and would be in the child.
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(command, preexec_fn=heard, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith(f"inspecting {root} at http://127.0.0.1:")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=200)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
