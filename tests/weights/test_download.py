import dataclasses
import hashlib
import http.server
import pathlib
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from jaxall import errors
from jaxall.weights import download

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "densenet-c1103571.pth"


@dataclasses.dataclass
class Server:
    """What the server shall do, and what it was asked for."""

    content: bytes = CONTENT
    etag: str = '"v1"'
    ranges: bool = True
    cut_after: int | None = None
    said_length: int | None = len(CONTENT)
    status: int = 200
    location: str = ""
    shifted: int = 0
    silent: bool = False
    requests: list[dict[str, str]] = dataclasses.field(default_factory=list)
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)
    url: str = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.requests.append(dict(handler.headers))
        if self.silent:
            self.stopped.wait()
        elif self.location and not handler.path.startswith("/moved"):
            handler.send_response(302)
            handler.send_header("Location", self.location)
            handler.end_headers()
        elif self.status != 200:
            handler.send_error(self.status)
        else:
            self.send(handler)

    def send(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range", self.etag) == self.etag
        start = int(wanted[1]) if wanted and self.ranges and same else 0
        size = len(self.content)
        if start and start >= size:
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            first = start + self.shifted
            handler.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        if self.said_length is not None:
            handler.send_header("Content-Length", str(self.said_length - start))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        handler.wfile.write(self.content[start : self.cut_after])


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.url = f"http://127.0.0.1:{running.server_port}/models/{NAME}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield state
        state.stopped.set()
        running.shutdown()
        thread.join()


def fetch(server: Server, cache: pathlib.Path, sha256: str = SHA256[:8], **more) -> pathlib.Path:
    return download.fetch(server.url, sha256, cache_dir=cache, **more)


def failure(server: Server, cache: pathlib.Path, **more) -> str:
    with pytest.raises(errors.UserError) as caught:
        fetch(server, cache, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert server.url in message and str(cache / "weights" / NAME) in message
    assert "--config.model.init=PATH" in message and "--file PATH" in message
    return message


def names(cache: pathlib.Path) -> set[str]:
    return {path.name for path in (cache / "weights").iterdir() if not path.name.startswith(".")}


def part_of(cache: pathlib.Path, content: bytes, etag: str = "") -> pathlib.Path:
    part = cache / "weights" / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    if etag:
        part.with_name(f"{part.name}.etag").write_text(etag)
    return part


def test_a_file_is_fetched_whole_and_the_second_time_taken_from_the_cache(server, tmp_path):
    seen = []
    path = fetch(server, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "weights" / NAME and path.read_bytes() == CONTENT
    assert names(tmp_path) == {NAME}
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen) and len(seen) > 3
    assert fetch(server, tmp_path, SHA256) == path
    assert len(server.requests) == 1


def test_a_file_put_there_by_hand_is_used_but_one_with_another_hash_is_not(server, tmp_path):
    path = tmp_path / "weights" / NAME
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server, tmp_path) == path
    path.write_bytes(CONTENT[1:])
    message = failure(server, tmp_path)
    assert f"begins with {SHA256[:8]}" in message and "delete it" in message
    assert path.exists() and not server.requests


@pytest.mark.parametrize("etag", ['"v1"', ""])
def test_a_download_that_was_cut_goes_on_where_it_stopped(server, tmp_path, etag):
    server.etag = etag
    server.cut_after = 600_000
    assert "ended after 600000 of 1048576 bytes" in failure(server, tmp_path)
    assert f"{NAME}.part" in names(tmp_path) and NAME not in names(tmp_path)
    server.cut_after = None
    seen = []
    path = fetch(server, tmp_path, progress=lambda done, total: seen.append(done))
    assert path.read_bytes() == CONTENT and names(tmp_path) == {NAME}
    assert seen[0] == 600_000
    assert server.requests[1]["Range"] == "bytes=600000-"
    assert server.requests[1].get("If-Range", "") == etag


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(server, tmp_path):
    part_of(tmp_path, b"of another version", '"v0"')
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[0]["If-Range"] == '"v0"'


def test_a_weak_mark_of_the_version_is_not_relied_on(server, tmp_path):
    server.etag, server.cut_after = 'W/"v1"', 100
    failure(server, tmp_path)
    assert names(tmp_path) == {f"{NAME}.part"}


def test_a_server_without_ranges_is_asked_for_everything(server, tmp_path):
    server.ranges = False
    part_of(tmp_path, CONTENT[:1000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert "Range" in server.requests[0]


def test_a_part_as_long_as_the_file_or_longer_is_fetched_anew(server, tmp_path):
    part_of(tmp_path, b"x" * len(CONTENT))
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2 and "Range" not in server.requests[1]


def test_an_answer_with_other_bytes_than_asked_for_is_refused(server, tmp_path):
    part = part_of(tmp_path, CONTENT[:1000])
    server.shifted = 1
    assert "asked for the bytes from 1000, got those from 1001" in failure(server, tmp_path)
    assert part.stat().st_size == 1000


def test_a_wrong_hash_deletes_what_came_and_leaves_nothing_under_the_name(server, tmp_path):
    server.content = CONTENT[::-1]
    message = failure(server, tmp_path)
    came = hashlib.sha256(server.content).hexdigest()
    assert SHA256[:8] in message and came[:8] in message and "deleted" in message
    assert names(tmp_path) == set()


def test_an_answer_without_a_length_is_checked_by_its_hash_alone(server, tmp_path):
    server.said_length = None
    seen = []
    path = fetch(server, tmp_path, progress=lambda done, total: seen.append(total))
    assert path.read_bytes() == CONTENT and set(seen) == {None}
    server.cut_after = 1000
    assert "sha256" in failure(server, tmp_path / "other")


@pytest.mark.parametrize("said_length", [len(CONTENT), None])
def test_a_file_larger_than_the_cap_is_refused(server, tmp_path, monkeypatch, said_length):
    monkeypatch.setattr(download, "MAX_BYTES", len(CONTENT) - 1)
    server.said_length = said_length
    assert "more than 1048575" in failure(server, tmp_path)
    assert NAME not in names(tmp_path)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_an_error_of_the_server_is_one_line(server, tmp_path, status):
    server.status = status
    assert f"the server answered {status}" in failure(server, tmp_path)
    assert names(tmp_path) == set()


def test_a_refused_connection_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = Server(url=f"http://127.0.0.1:{port}/{NAME}")
    assert "refused" in failure(nowhere, tmp_path)


def test_a_silent_server_is_given_up_after_the_timeout(server, tmp_path):
    server.silent = True
    assert "no answer for 0.1 s" in failure(server, tmp_path, timeout=0.1)


def test_a_redirect_on_this_machine_is_followed(server, tmp_path):
    server.location = f"/moved/{NAME}"
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "data:,a",
        "http://example.invalid/a",
        "http://127.0.0.1.example.invalid/a",
        "http://[broken/a",
        "http://127.0.0.1:99999/a",
        "/models/round-and-round",
    ],
)
def test_a_redirect_to_anything_but_https_is_refused(server, tmp_path, location):
    server.location = location
    failure(server, tmp_path)
    assert names(tmp_path) == set()


def test_a_redirect_from_https_to_this_machine_is_refused():
    assert download._is_allowed("https://example.invalid/a", local=False)
    assert not download._is_allowed("http://127.0.0.1/a", local=False)


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.invalid/{NAME}",
        "file:///etc/passwd",
        f"ftp://127.0.0.1/{NAME}",
        f"https:///{NAME}",
        f"https://[broken/{NAME}",
        f"https://example.invalid:99999/{NAME}",
        "https://example.invalid/",
        "https://example.invalid/..",
        "https://example.invalid/a%2F..%2Fb.pth",
        "https://example.invalid/.hidden",
        "https://example.invalid/a.pth?b=c",
        "weights.pth",
    ],
)
def test_an_address_that_is_not_of_a_file_over_https_is_refused(tmp_path, url):
    with pytest.raises(errors.UserError, match="wanted an https URL"):
        download.fetch(url, SHA256[:8], cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prefix", ["", SHA256[:7], SHA256 + "0", SHA256[:8].upper() + "G"])
def test_a_hash_too_short_to_prove_anything_is_refused(server, tmp_path, prefix):
    with pytest.raises(errors.UserError, match="8 to 64 digits"):
        fetch(server, tmp_path, prefix)
    assert not server.requests


@pytest.mark.parametrize("locks", [True, False])
def test_two_who_want_the_same_file_do_not_spoil_it(server, tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(download, "fcntl", None)
    elif download.fcntl is None:
        pytest.skip("this system has no fcntl")
    start = threading.Barrier(4)
    contents = []

    def want() -> None:
        start.wait()
        contents.append(fetch(server, tmp_path).read_bytes())

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents == [CONTENT] * 4
    assert names(tmp_path) == {NAME}
    assert len(server.requests) == 1 or not locks


def test_a_cache_that_cannot_be_written_is_one_line(server, tmp_path):
    (tmp_path / "weights").write_text("a file where the folder should be")
    assert str(tmp_path / "weights") in failure(server, tmp_path)
