"""A small web server on this machine that gives files away, in pieces and with mishaps if a test wants them."""

import threading
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PIECE = 64 * 1024


class FileServer(ThreadingHTTPServer):
    """Serves ``files`` by their path; the other attributes are the mishaps."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {}
        self.requests = []
        self.status = None  # answer every request with it
        self.content_type = "application/octet-stream"
        self.drop_after = None  # close the connection after so many bytes
        self.honours_ranges = True
        self.says_length = True
        self.sends_tags = True
        self.gate = threading.Event()  # closed, it lets a piece pass and holds the others back
        self.gate.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Nothing: clients that hang up are part of the tests."""

    @property
    def ranges(self):
        """The Range header of each request, or None."""
        return [headers.get("Range") for _, headers in self.requests]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing."""

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        data = server.files.get(urlsplit(self.path).path)
        if server.status or data is None:
            return self.send_error(server.status or 404)
        tag = f'"{sha256(data).hexdigest()[:16]}"'
        start = self._start(tag)
        if start is None:
            self.send_response(200)
        else:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", server.content_type)
        if server.sends_tags:
            self.send_header("ETag", tag)
        rest = data[start or 0 :]
        if server.says_length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self._send(rest if server.drop_after is None else rest[: server.drop_after])

    def _start(self, tag):
        wanted = self.headers.get("Range")
        if wanted is None or not self.server.honours_ranges or self.headers.get("If-Range", tag) != tag:
            return None
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _send(self, data):
        for place in range(0, len(data), PIECE):
            if place:
                self.server.gate.wait(20)
            self.wfile.write(data[place : place + PIECE])
            self.wfile.flush()


@contextmanager
def serving():
    """A running server."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
