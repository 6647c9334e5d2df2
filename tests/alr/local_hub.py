"""A Hugging Face hub on the loopback, for tests of the real client without a network.

It serves data sets and models with the routes by which huggingface_hub 2.x resolves a revision,
lists files, asks for sizes and fetches, and logs every request. As on the real hub, a text is
served by the hub itself, and a large file by a store on another host, to which a signed URL leads.
It knows nothing of Xet, by which the real hub serves large files to clients that have hf-xet.
"""

import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from huggingface_hub import close_session, constants, hf_api

NAME = "owner/small-alr"
MODEL = "owner/omni"
SIGNATURE = "Signature=geheim123&Key-Pair-Id=geheim456"
REPO = r"((?:datasets|models)/[^/]+/[^/]+)"
INFO = re.compile(rf"/api/{REPO}(?:/revision/([^/]+))?")
TREE = re.compile(rf"/api/{REPO}/tree/([^/]+)(?:/(.+))?")
SIZES = re.compile(rf"/api/{REPO}/paths-info/([^/]+)")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
STORE = re.compile(r"/store/([^/]+)/(.+)")
TEXTS = (".json", ".jsonl", ".txt", ".jinja", ".md")


class LocalHub:
    """The server; `commit` gives it content.

    The next `limited[route]` requests of a route are answered with 429. A large file whose path is
    in `cut` is sent up to that byte, once, and the connection is closed; one in `reset` is never
    sent (or not again), and the connection breaks; one in `denied` is answered with 403. `before`
    holds a function for each path, which is called once, before the file is served.
    """

    def __init__(self):
        self.commits: dict[str, dict[str, bytes]] = {}  # sha → path → content
        self.tags: dict[tuple[str, str], str] = {}  # repository, branch or tag → sha
        self.requests: list[tuple[str, str, str]] = []  # method, route, path
        self.ranges: list[str] = []  # of the large files that were asked for in part
        self.sent: Counter[str] = Counter()  # bytes of each large file
        self.limited: Counter[str] = Counter()
        self.cut: dict[str, int] = {}
        self.reset: set[str] = set()
        self.denied: set[str] = set()
        self.before = {}
        self.page = 1000  # entries of a listing
        self.lock = threading.Lock()
        self.routes = {
            "info": (INFO, self.send_info),
            "tree": (TREE, self.send_tree),
            "sizes": (SIZES, self.send_sizes),
            "resolve": (RESOLVE, self.send_file),
            "store": (STORE, self.send_large),
        }
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.port = self.server.server_port

    def commit(
        self, files: dict[str, bytes], tag: str = "main", repository: str = f"datasets/{NAME}"
    ) -> str:
        """Adds a commit, to which the tag then points; returns its sha."""
        sha = hashlib.sha1(str(len(self.commits)).encode()).hexdigest()
        self.commits[sha] = files
        self.tags[repository, tag] = sha
        return sha

    def counts(self) -> Counter:
        """Requests since the last call, as (method, route) → number."""
        counts = Counter((method, route) for method, route, _ in self.requests)
        self.requests.clear()
        return counts

    def handler(hub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                hub.answer(self)

            def do_HEAD(self):
                hub.answer(self)

            def do_POST(self):
                hub.answer(self)

        return Handler

    def answer(self, request) -> None:
        path = unquote(urlsplit(request.path).path)
        request.body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        for route, (pattern, send) in self.routes.items():
            if found := pattern.fullmatch(path):
                with self.lock:
                    self.requests.append((request.command, route, found[found.lastindex or 0]))
                    self.limited[route] -= 1
                    is_limited = self.limited[route] >= 0
                if is_limited:
                    return self.send(request, 429, Retry_After="0")
                return send(request, *found.groups())
        self.send(request, 404, error="RepoNotFound")

    def send(self, request, status: int, content: bytes = b"", error=None, **headers) -> None:
        request.send_response(status)
        if error:
            request.send_header("X-Error-Code", error)
        length = headers.pop("length", len(content))
        request.send_header("Content-Length", str(length))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def send_info(self, request, repository: str, revision: str | None) -> None:
        if (repository, "main") not in self.tags:
            return self.send(request, 404, error="RepoNotFound")
        sha = self.sha(repository, revision or "main")
        if sha not in self.commits:
            return self.send(request, 404, error="RevisionNotFound")
        name = repository.partition("/")[2]
        self.send(request, 200, json.dumps({"id": name, "sha": sha, "siblings": []}).encode())

    def sha(self, repository: str, revision: str) -> str:
        """The commit of a branch or tag; a sha is its own."""
        return self.tags.get((repository, revision), revision)

    def send_tree(self, request, repository: str, revision: str, folder: str | None) -> None:
        """A recursive listing, a page of it: the address of the next one stands in its head."""
        below = f"{folder}/" if folder else ""
        files = self.commits.get(self.sha(repository, revision), {})
        entries = [entry(*file) for file in sorted(files.items()) if file[0].startswith(below)]
        if not entries:
            return self.send(request, 404, error="EntryNotFound")
        url = urlsplit(request.path)
        start = int(parse_qs(url.query).get("cursor", ["0"])[0])
        page, head = entries[start : start + self.page], {}
        if start + self.page < len(entries):
            address = f"http://127.0.0.1:{self.port}{url.path}?cursor={start + self.page}"
            head = {"Link": f'<{address}>; rel="next"'}
        self.send(request, 200, json.dumps(page).encode(), **head)

    def send_sizes(self, request, _repository: str, sha: str) -> None:
        paths = parse_qs(request.body.decode())["paths"]
        there = {path: self.commits[sha][path] for path in paths if path in self.commits[sha]}
        infos = [entry(path, content) for path, content in there.items()]
        self.send(request, 200, json.dumps(infos).encode())

    def send_file(self, request, kind: str | None, name: str, revision: str, path: str) -> None:
        """A text itself, or a redirection to the store."""
        self.before.pop(path, bool)()
        sha = self.sha(f"{kind or 'models/'}{name}", revision)
        content = self.commits[sha].get(path)
        if content is None:
            return self.send(request, 404, error="EntryNotFound", X_Repo_Commit=sha)
        head = {"X_Repo_Commit": sha, "X_Linked_Etag": etag(content)}
        if path.endswith(TEXTS):
            return self.send(request, 200, content, **head)
        target = f"http://localhost:{self.port}/store/{sha}/{path}?{SIGNATURE}"
        self.send(request, 302, Location=target, X_Linked_Size=str(len(content)), **head)

    def send_large(self, request, sha: str, path: str) -> None:
        if path in self.denied:
            return self.send(request, 403)
        if path in self.reset and path not in self.cut:
            return break_connection(request)
        content, start = self.commits[sha][path], 0
        if wanted := request.headers.get("Range"):
            self.ranges.append(wanted)
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        rest = content[start:]
        sent = rest[: self.cut.pop(path, len(rest))]
        self.sent[path] += len(sent)
        if start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(request, 206, sent, length=len(rest), Content_Range=place)
        else:
            self.send(request, 200, sent, length=len(rest))
        request.close_connection = len(sent) < len(rest)


def entry(path: str, content: bytes) -> dict:
    """A file as a listing shows it."""
    shown = {"type": "file", "path": path, "size": len(content), "oid": etag(content)}
    if not path.endswith(TEXTS):
        shown["lfs"] = {"oid": etag(content), "size": len(content), "pointerSize": 134}
    return shown


def etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def break_connection(request) -> None:
    """Resets the connection: the client sees an error of the network, and no end of the file."""
    no_linger = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    request.close_connection = True
    request.wfile.close()
    request.rfile.close()
    request.connection.close()


@contextmanager
def serving(monkeypatch, cache):
    """A hub that huggingface_hub talks to in this process, with its cache in a folder."""
    hub = LocalHub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"http://127.0.0.1:{hub.port}"
    # the environment was read when these were imported
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(hf_api.api, "endpoint", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()
        close_session()
