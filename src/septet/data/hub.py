"""What is needed of the Hugging Face hub: a commit for a name, the files at a commit, and files read in ranges or brought here.

`huggingface_hub` makes the requests, so its settings hold: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. What it cannot do is said in
words for people. Nothing is written to its cache.

Bytes are read as they are needed, 4 MiB at a time.

What it is not: a copy of the hub. Only `bring` keeps a file, where it is told to.

    python -m pytest tests/data/test_hub.py
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from septet.core.errors import DataError, OfflineError, SeptetError
from septet.data.files import PIECE, File
from septet.data.source import Bad

__all__ = ["Entry", "HubFile", "Unreachable", "bring", "commit_of", "entries_of", "files_of", "is_offline", "open_file"]

Kind = Literal["dataset", "model"]
WORDS: Mapping[str, str] = {"dataset": "data set", "model": "model"}

BLOCK = 4 << 20  # bytes a request
TIMEOUT = 30  # seconds without an answer; every request is tried again a few times


class Unreachable(SeptetError):
    """The hub does not answer, or must not be asked."""


def is_offline() -> bool:
    """Whether the hub must not be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _api() -> Any:
    from huggingface_hub import HfApi  # 200 ms

    return HfApi(endpoint=_endpoint())


@contextmanager
def _in_words(repo: str, kind: Kind = "dataset") -> Iterator[None]:
    """Turn what the client raises into messages for people. Errors: Unreachable; DataError for what the hub refuses."""
    if is_offline():
        raise Unreachable("Offline mode")
    from httpx2 import HTTPError
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except OfflineError:
        raise Unreachable("Offline mode") from None
    except GatedRepoError:
        raise DataError(
            f"The {WORDS[kind]} asks for consent: accept its terms on its page, and log in with `hf auth login`.",
            file=repo,
        ) from None
    except RepositoryNotFoundError:
        raise DataError(
            f"The hub ({_endpoint()}) has no {WORDS[kind]} of this name, or it is private: then log in with `hf auth login`.",
            file=repo,
        ) from None
    except RevisionNotFoundError:
        raise DataError(f"The {WORDS[kind]} has no such revision.", file=repo) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status < 500:
            raise DataError(f"The hub ({_endpoint()}) refuses the request (status {status}).", file=repo) from None
        raise Unreachable(f"The hub ({_endpoint()}) fails (status {status})") from None
    except (HTTPError, OSError) as error:
        raise Unreachable(f"The hub ({_endpoint()}) does not answer ({type(error).__name__})") from None


def commit_of(repo: str, revision: str, kind: Kind = "dataset") -> str:
    """The commit that a branch or tag means now. Errors: Unreachable, DataError."""
    with _in_words(repo, kind):
        sha = _api().repo_info(repo, revision=revision, repo_type=kind, timeout=TIMEOUT).sha
    assert sha, f"the hub gave no commit for {repo}"
    return sha


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a repository: bytes, and the SHA-256 of a large one."""

    size: int
    sha256: str | None = None


def entries_of(repo: str, commit: str, folder: str, kind: Kind = "dataset") -> dict[str, Entry]:
    """The files below a folder of a repository by path, "" for all. Errors: Unreachable, DataError."""
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import EntryNotFoundError

    with _in_words(repo, kind):
        try:
            found = _api().list_repo_tree(repo, folder or None, recursive=True, revision=commit, repo_type=kind)
            return {
                item.path: Entry(item.size, item.lfs.sha256 if item.lfs else None)
                for item in found
                if isinstance(item, RepoFile)
            }
        except EntryNotFoundError:
            return {}


def files_of(repo: str, commit: str, folder: str) -> dict[str, int]:
    """Bytes by path of the files below a folder of a data set, "" for all. Errors: Unreachable, DataError."""
    return {path: entry.size for path, entry in entries_of(repo, commit, folder).items()}


def open_file(repo: str, commit: str, path: str, kind: Kind = "dataset") -> io.BufferedReader:
    """A file of a repository, to be read anywhere. Errors while reading: Unreachable, DataError."""
    return io.BufferedReader(_Remote(repo, commit, path, kind), buffer_size=BLOCK)


def bring(
    repo: str,
    commit: str,
    path: str,
    entry: Entry,
    to: Path,
    *,
    kind: Kind,
    told: Callable[[int], None] = lambda n: None,
) -> None:
    """Copy a file into a folder, under its path; what an earlier try brought is kept. told: called with the bytes that came.

    Errors: Unreachable, DataError; also where what came is not what the hub says it has.
    """
    whole, part = to / path, to / f"{path}.part"
    if whole.is_file():
        told(entry.size)
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() else 0
    told(have)
    with open_file(repo, commit, path, kind) as stream, part.open("ab") as file:
        stream.seek(have)
        while have < entry.size and (piece := stream.read(BLOCK)):
            file.write(piece)
            have += len(piece)
            told(len(piece))
        file.flush()
        os.fsync(file.fileno())
    if entry.sha256 is not None:
        with part.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    else:
        right = have == entry.size
    if not right:
        part.unlink()
        raise DataError(
            f"What came is not what the hub has ({have} of {entry.size} bytes; or the SHA-256 differs). Run again.",
            file=path,
        )
    part.replace(whole)


class _Remote(io.RawIOBase):
    def __init__(self, repo: str, commit: str, path: str, kind: Kind) -> None:
        from huggingface_hub import hf_hub_url

        self._repo = repo
        self._kind: Kind = kind
        self._url = hf_hub_url(repo, path, repo_type=kind, revision=commit, endpoint=_endpoint())
        self._at = 0
        self._size: int | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END and self._size is None:
            self._get(0, 1)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size or 0}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if not len(buffer) or (self._size is not None and self._at >= self._size):
            return 0
        got = self._get(self._at, self._at + len(buffer))
        buffer[: len(got)] = got
        self._at += len(got)
        return len(got)

    def _get(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, fewer at the end of the file; learns the file's size."""
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

        headers = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        with _in_words(self._repo, self._kind):
            response = http_backoff("GET", self._url, headers=headers, timeout=TIMEOUT, max_retries=3)
            if response.status_code == 416:  # nothing from there on
                self._size = start
                return b""
            hf_raise_for_status(response)
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if response.status_code != 206 or not total.isdigit():
            raise DataError(
                f"The hub ({_endpoint()}) gives no parts of files (status {response.status_code}).", file=self._url
            )
        self._size = int(total)
        return response.content


@dataclass(frozen=True, slots=True)
class HubFile(File):
    """A file of a data set on the hub, for the readers of rows."""

    opened: Callable[[], io.BufferedReader] | None = None

    def _stored(self, bad: Bad) -> Iterator[bytes | None]:
        assert self.opened is not None
        with self.opened() as stream:
            while piece := stream.read(PIECE):
                yield piece
