"""A remote over http that asks for a password, and whoever reads the words of every process on the machine meanwhile."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

LONG_S = 0.1  # each answer takes that long: who asks for it is there to be seen


@contextmanager
def served(folder: Path, user: str, password: str) -> Iterator[str]:
    """The repositories below `folder`, for this user alone; gives host and port."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(LONG_S)
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            env = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": user,
                "PATH_INFO": url.path,
                "QUERY_STRING": url.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(sent)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "GIT_CONFIG_NOSYSTEM": "1",
                "HOME": str(folder),
            }
            ran = subprocess.run(["git", "http-backend"], input=sent, env=env, capture_output=True)
            head, _, body = ran.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200 OK").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def everybody_reads() -> Iterator[list[bytes]]:
    """The command lines of all processes that live meanwhile, as anybody on the machine can read them."""
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.004):
            for process in os.listdir("/proc"):
                if process.isdecimal():
                    try:
                        seen.add(Path(f"/proc/{process}/cmdline").read_bytes())
                    except OSError:
                        continue  # it is over

    reader = threading.Thread(target=read)
    reader.start()
    found: list[bytes] = []
    try:
        yield found
    finally:
        over.set()
        reader.join()
        found.extend(seen)
