"""One HTTP request, read in a thread of its own.

Owns the waiting for a server: whoever drives a download can stop within a moment, whatever the network does. Proxies
and certificates come from the environment, as ``requests`` reads them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty, Full, Queue

CHUNK = 64 * 1024
_CONNECT_S, _READ_S = 15, 60
_LOOK_S = 0.1
_AHEAD = 16


@dataclass(frozen=True)
class Answer:
    """What a server says before it sends a file.

    Parameters
    ----------
    status, reason
        Of HTTP, such as 200 and "OK".
    headers
        With names in lower case.
    """

    status: int
    reason: str
    headers: Mapping[str, str]

    @property
    def validator(self) -> str | None:
        """What tells this file from a later one at the same address, for ``If-Range``; None if nothing does."""
        tag = self.headers.get("etag", "")
        return tag if tag.startswith('"') else self.headers.get("last-modified")

    @property
    def length(self) -> int | None:
        """Bytes that follow, if the server says so and sends the file as it is."""
        length = self.headers.get("content-length", "")
        plain = self.headers.get("content-encoding", "identity") == "identity"
        return int(length) if length.isdigit() and plain else None


class Transfer:
    """A GET request that is under way.

    Parameters
    ----------
    url
        What to ask for.
    headers
        To send with the request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url, dict(headers)
        self._queue: Queue[Answer | bytes | Exception] = Queue(_AHEAD)
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="voxelsmith-transfer", daemon=True).start()

    def get(self) -> Answer | bytes | None:
        """The answer, then pieces of the file, then ``b""``; None if nothing has come for a tenth of a second.

        Raises
        ------
        OSError
            If the network fails; ``requests`` has a class for each reason.
        """
        try:
            item = self._queue.get(timeout=_LOOK_S)
        except Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """Stop reading; the thread ends by itself."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:
            self._put(error)

    def _read(self) -> None:
        import requests

        with requests.get(self._url, headers=self._headers, stream=True, timeout=(_CONNECT_S, _READ_S)) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            self._put(Answer(response.status_code, response.reason or "", headers))
            for chunk in response.iter_content(CHUNK):
                if self._stop.is_set():
                    return
                self._put(chunk)
        self._put(b"")

    def _put(self, item: Answer | bytes | Exception) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_LOOK_S)
            except Full:
                continue
