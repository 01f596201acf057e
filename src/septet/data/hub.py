"""What the source `hub` needs of the Hugging Face hub: a commit for a name, the files at a commit, and files read in ranges.

`huggingface_hub` makes the requests, so its settings hold: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. What it cannot do is said in
words for people. Nothing is written to its cache.

What it is not: a downloader. Bytes are read as they are needed, 4 MiB at a time.

    python -m pytest tests/data/test_hub.py
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from septet.core.errors import DataError, OfflineError, SeptetError
from septet.data.files import PIECE, File
from septet.data.source import Bad

__all__ = ["HubFile", "Unreachable", "commit_of", "files_of", "is_offline", "open_file"]

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
def _in_words(repo: str) -> Iterator[None]:
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
            "The data set asks for consent: accept its terms on its page, and log in with `hf auth login`.", file=repo
        ) from None
    except RepositoryNotFoundError:
        raise DataError(
            f"The hub ({_endpoint()}) has no data set of this name, or it is private: then log in with `hf auth login`.",
            file=repo,
        ) from None
    except RevisionNotFoundError:
        raise DataError("The data set has no such revision.", file=repo) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status < 500:
            raise DataError(f"The hub ({_endpoint()}) refuses the request (status {status}).", file=repo) from None
        raise Unreachable(f"The hub ({_endpoint()}) fails (status {status})") from None
    except (HTTPError, OSError) as error:
        raise Unreachable(f"The hub ({_endpoint()}) does not answer ({type(error).__name__})") from None


def commit_of(repo: str, revision: str) -> str:
    """The commit that a branch or tag of a data set means now. Errors: Unreachable, DataError."""
    with _in_words(repo):
        sha = _api().dataset_info(repo, revision=revision, timeout=TIMEOUT).sha
    assert sha, f"the hub gave no commit for {repo}"
    return sha


def files_of(repo: str, commit: str, folder: str) -> dict[str, int]:
    """Bytes by path of the files below a folder of a data set, "" for all. Errors: Unreachable, DataError."""
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import EntryNotFoundError

    with _in_words(repo):
        try:
            found = _api().list_repo_tree(repo, folder or None, recursive=True, revision=commit, repo_type="dataset")
            return {item.path: item.size for item in found if isinstance(item, RepoFile)}
        except EntryNotFoundError:
            return {}


def open_file(repo: str, commit: str, path: str) -> io.BufferedReader:
    """A file of a data set, to be read anywhere. Errors while reading: Unreachable, DataError."""
    return io.BufferedReader(_Remote(repo, commit, path), buffer_size=BLOCK)


class _Remote(io.RawIOBase):
    def __init__(self, repo: str, commit: str, path: str) -> None:
        from huggingface_hub import hf_hub_url

        self._repo = repo
        self._url = hf_hub_url(repo, path, repo_type="dataset", revision=commit, endpoint=_endpoint())
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
        with _in_words(self._repo):
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
