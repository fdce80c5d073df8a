"""Fetches an official file of weights once, checks its hash, and keeps it in a cache folder.

A download that was cut goes on where it stopped. The bytes lie in `NAME.part` until their hash is
right, and only then get their name, in one step; processes that want the same file wait for one
another at a lock (`fcntl`; where there is none, each writes a part of its own and never resumes).
"""

import contextlib
import hashlib
import http
import http.client
import os
import pathlib
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import IO, Any

from jaxall import errors

try:
    import fcntl
except ImportError:
    fcntl = None

MAX_BYTES = 2 * 2**30
CHUNK = 2**18
# an entity tag that is not weak
ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Progress = Callable[[int, int | None], None]


def fetch(
    url: str,
    sha256_prefix: str,
    *,
    cache_dir: pathlib.Path,
    progress: Progress | None = None,
    timeout: float = 30,
) -> pathlib.Path:
    """Returns `cache_dir/weights/NAME`, where NAME ends the URL; downloads it if it isn't there.

    Args:
        url: https; plain http only to the machine itself.
        sha256_prefix: The first 8 to 64 hexadecimal digits of the file's hash.
        cache_dir: Made if it doesn't exist.
        progress: Called with the bytes so far and, where the server says it, of the whole file.
        timeout: Seconds without an answer after which the server counts as gone.

    Raises:
        errors.UserError: If the file can't be had or its hash is wrong; says what to do by hand.
    """
    name = urllib.parse.unquote(url.rpartition("/")[2])
    if not _is_allowed(url, local=True) or not re.fullmatch(r"\w[\w.+-]*", name, re.ASCII):
        raise errors.UserError(f"wanted an https URL that ends with a file's name, got {url!r}")
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256_prefix):
        raise errors.UserError(
            f"wanted 8 to 64 digits of a sha256, got {sha256_prefix!r} for {url}"
        )
    path = cache_dir / "weights" / name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked_part(path) as part:
                # another process may have fetched it while this one waited for the lock
                if not path.exists():
                    _Download(url, path, part, timeout).run(progress)
                    _check_hash(part, sha256_prefix, url, path)
                    os.replace(part, path)
                    _discard(part)
                    return path
        _check_hash(path, sha256_prefix, url, path)
    except OSError as error:
        raise _failure(url, path, f"{path.parent}: {error.strerror or error}") from error
    return path


def _is_allowed(url: str, *, local: bool) -> bool:
    """Whether the address is https, or, if `local`, http on this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0  # ValueError if it is no port at all
    except ValueError:
        return False
    return named and (parts.scheme == "https" or (local and _is_local(url)))


def _is_local(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


@contextlib.contextmanager
def _locked_part(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields where to download to; nobody else writes there meanwhile."""
    if fcntl is None:
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            yield part
        finally:
            _discard(part)
        return
    with path.with_name(f".{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file lets go of it
        yield path.with_name(f"{path.name}.part")


def _etag_of(part: pathlib.Path) -> pathlib.Path:
    """Where the server's mark of the version that `part` belongs to is kept."""
    return part.with_name(f"{part.name}.etag")


def _discard(part: pathlib.Path) -> None:
    part.unlink(missing_ok=True)
    _etag_of(part).unlink(missing_ok=True)


def _check_hash(file_path: pathlib.Path, prefix: str, url: str, path: pathlib.Path) -> None:
    with file_path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest.startswith(prefix):
        return
    reason = f"wanted a sha256 that begins with {prefix}, got {digest[: len(prefix)]}"
    if file_path == path:
        raise _failure(url, path, f"{reason} in {path}; delete it to download it anew")
    _discard(file_path)
    raise _failure(url, path, f"{reason}; what came was deleted")


def _failure(url: str, path: pathlib.Path, reason: object) -> errors.UserError:
    return errors.UserError(
        f"cannot fetch {url} ({' '.join(str(reason).split())}): put the file by hand at {path}, "
        "or name another with --config.model.init=PATH (train) or --file PATH (port)"
    )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; on this machine, from http to http too."""

    def __init__(self, *, local: bool) -> None:
        self.local = local

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if not _is_allowed(request.full_url, local=self.local):
            raise urllib.error.URLError(f"refused to go to {request.full_url!r}: not https")
        return request

    https_request = http_request

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> Any:
        fp.close()  # urllib would read all of it, however long, or leave it open after an error
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener(*, local: bool) -> urllib.request.OpenerDirector:
    """Returns one that knows http and https only, where urllib's usual one reads files too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if local else None),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(local=local),
    ):
        opener.add_handler(handler)
    return opener


class _Download:
    """One download of `url` into `part`, from where an earlier one stopped."""

    def __init__(self, url: str, path: pathlib.Path, part: pathlib.Path, timeout: float) -> None:
        self.url = url
        self.path = path
        self.part = part
        self.timeout = timeout
        self.opener = _opener(local=_is_local(url))

    def run(self, progress: Progress | None) -> None:
        """Ends with `part` as long as the server said, which proves nothing of its content."""
        start = self.part.stat().st_size if self.part.exists() else 0
        with self.open(start) as response:
            done, total = self.resumed(response, start)
            if max(done, total or 0) > MAX_BYTES:
                raise self.failure(f"it is {total} bytes, more than {MAX_BYTES}")
            with self.part.open("ab" if done else "wb") as file:
                while True:
                    if progress:
                        progress(done, total)
                    with self.network_errors():
                        chunk = response.read(CHUNK)
                    if not chunk:
                        break
                    done += len(chunk)
                    if done > MAX_BYTES:
                        raise self.failure(f"it is more than {MAX_BYTES} bytes")
                    file.write(chunk)
        if total is not None and done != total:
            raise self.failure(f"ended after {done} of {total} bytes; the next try goes on there")

    def open(self, start: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": "jaxall"}
        if start:
            headers["Range"] = f"bytes={start}-"
            etag = _etag_of(self.part)
            if etag.exists() and ETAG.fullmatch(text := etag.read_text("latin-1")):
                headers["If-Range"] = text
        with self.network_errors():
            try:
                request = urllib.request.Request(self.url, headers=headers)
                return self.opener.open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                if not start or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise
                error.close()
        _discard(self.part)
        return self.open(0)

    def resumed(self, response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
        """Returns how many bytes of `part` stay, and how many there are in all, if known."""
        length = re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", ""))
        if response.status == http.HTTPStatus.OK:
            _discard(self.part)
            # only a strong mark promises the same bytes
            if ETAG.fullmatch(etag := response.headers.get("ETag", "")):
                _etag_of(self.part).write_text(etag, "latin-1")
            return 0, int(length[0]) if length else None
        found = RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or not start or not found:
            raise self.failure(f"unexpected answer {response.status} {response.reason}")
        if int(found[1]) != start:
            raise self.failure(f"asked for the bytes from {start}, got those from {found[1]}")
        return start, int(found[2])

    @contextlib.contextmanager
    def network_errors(self) -> Iterator[None]:
        """Tells what the network does wrong from what the disk does."""
        try:
            yield
        except urllib.error.HTTPError as error:
            error.close()
            raise self.failure(f"the server answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:  # the last: odd redirects
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                reason = f"no answer for {self.timeout:g} s"
            raise self.failure(reason) from error

    def failure(self, reason: object) -> errors.UserError:
        return _failure(self.url, self.path, reason)
