"""The documentation of the Python that runs the tests.

python -m pytest tests/data/test_python_docs.py
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from septet.core.errors import DataError
from septet.data.documents import Document, read_documents
from septet.data.sources.python_docs import PythonDocs, _inventory


@pytest.fixture(scope="module")
def everything() -> list[Document]:
    return list(PythonDocs(code=True).read())


@pytest.fixture(scope="module")
def docs(everything: list[Document]) -> dict[str, Document]:
    return {doc.id: doc for doc in everything if doc.meta["type"] != "code"}


def test_counts(docs: dict[str, Document]):
    types = Counter(doc.meta["type"] for doc in docs.values())
    assert 8_500 < len(docs) < 12_000
    assert 6_500 < sum(doc.public for doc in docs.values()) < 9_000
    assert 70 <= types["topic"] <= 90
    assert types["method"] > 3_500
    assert 2_000_000 < sum(len(doc.text) for doc in docs.values()) < 4_000_000


def test_names_and_ids_are_unique(everything: list[Document], docs: dict[str, Document]):
    assert len({doc.id for doc in everything}) == len(everything)
    assert len({doc.name for doc in docs.values()}) == len(docs)


@pytest.mark.parametrize(
    ("name", "file", "alias"),
    [
        ("os.path.join", "posixpath.py", "posixpath.join"),
        ("os.path.exists", "genericpath.py", "genericpath.exists"),
        ("json.loads", "json/__init__.py", None),
        ("json.JSONDecoder", "json/decoder.py", "json.decoder.JSONDecoder"),
        ("asyncio.run", "asyncio/runners.py", "asyncio.runners.run"),
        ("collections.abc.Mapping", "_collections_abc.py", "_collections_abc.Mapping"),
        ("collections.Counter", "collections/__init__.py", None),
        (
            "concurrent.futures.ThreadPoolExecutor",
            "concurrent/futures/thread.py",
            "concurrent.futures.thread.ThreadPoolExecutor",
        ),
        ("unittest.mock.patch", "unittest/mock.py", None),
        ("unittest.TestCase", "unittest/case.py", "unittest.case.TestCase"),
        ("xml.etree.ElementTree.parse", "xml/etree/ElementTree.py", None),
        ("email.message_from_string", "email/__init__.py", None),
        ("logging.handlers.RotatingFileHandler", "logging/handlers.py", None),
        ("random.randint", "random.py", "random.Random.randint"),
        ("argparse.ArgumentParser.add_argument", "argparse.py", "argparse._ActionsContainer.add_argument"),
        ("contextlib.ExitStack.callback", "contextlib.py", "contextlib._BaseExitStack.callback"),
        ("multiprocessing.Pool", "multiprocessing/context.py", "multiprocessing.context.BaseContext.Pool"),
        ("tempfile.TemporaryDirectory", "tempfile.py", None),
        ("hashlib.file_digest", "hashlib.py", None),
        ("heapq.heappush", "heapq.py", None),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="os.path is another module there")
def test_names_with_file_and_line(docs: dict[str, Document], name: str, file: str, alias: str | None):
    doc = docs[name]
    assert doc.public
    assert doc.file == file
    assert alias is None or alias in doc.aliases
    source = Path(sysconfig.get_path("stdlib"), file).read_text(encoding="utf-8").split("\n")
    own = (alias or name).rpartition(".")[2]
    assert f" {own}" in source[doc.line - 1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("str.splitlines", "Return a list of the lines in the string"),
        ("itertools.chain", "chain"),
        ("collections.deque", "list-like sequence"),
        ("collections.deque.rotate", "Rotate the deque"),
        ("math.sqrt", "square root"),
        ("os.getcwd", "current working directory"),
        ("os.listdir", "Return a list containing the names of the files"),
        ("time.sleep", "Delay execution"),
        ("threading.Lock", "lock"),
        ("socket.socket.connect", "Connect the socket"),
        ("sqlite3.Connection.execute", "SQL"),
        ("random.random", "random"),
        ("re.Pattern.match", "Matches zero or more characters"),
        ("types.SimpleNamespace", "attribute"),
        ("open", "Open file and return a stream"),
        ("pickle.dumps", "pickled representation"),
        ("zlib.compress", "compress"),
    ],
)
def test_compiled_names(docs: dict[str, Document], name: str, says: str):
    assert docs[name].public
    assert says in docs[name].text
    assert docs[name].file
    assert docs[name].line == 0


@pytest.mark.parametrize(
    "module", "asyncio collections contextlib functools hashlib json os pathlib random re threading".split()
)
@pytest.mark.skipif(sys.platform == "win32", reason="other names exist there")
def test_public_names_are_what_running_code_finds(docs: dict[str, Document], module: str):
    """The names were found without importing; importing must find the same."""
    elsewhere = {"asyncio.windows_events", "asyncio.windows_utils", "asyncio.IocpProactor", "asyncio.ProactorEventLoop"}
    elsewhere |= {"os.add_dll_directory"}
    checked = 0
    for name, doc in docs.items():
        if doc.group != module or not doc.public or name.startswith(tuple(elsewhere)):
            continue
        parent = importlib.import_module(module)
        for part in name.split(".")[1:]:
            if not hasattr(parent, part):
                importlib.import_module(f"{parent.__name__}.{part}")
            parent = getattr(parent, part)
        checked += 1
    assert checked > 3


def test_form_of_a_document(docs: dict[str, Document]):
    join = docs["os.path.join"]
    assert join.text.startswith("os.path.join(a, *p)\n\nJoin two or more pathname components")
    assert join.group == "os"
    assert join.meta["signature"] == "join(a, *p)"
    assert join.meta["module"] == "os.path"
    assert join.meta["doc"] == join.text.split("\n\n", 1)[1]
    assert docs["str.splitlines"].meta["signature"] == "splitlines(keepends=False)"
    assert docs["hashlib.sha256"].meta["signature"].startswith("sha256(")


def test_private_and_hidden_names(docs: dict[str, Document]):
    for name, doc in docs.items():
        if doc.public and doc.meta["type"] != "topic":
            parts = name.split(".")
            assert not any(part.startswith("_") for part in parts if part != "__future__"), name
            assert parts[0] not in ("posix", "nt", "posixpath", "ntpath", "genericpath", "test", "idlelib"), name
    assert "functools.lru_cache" in docs
    assert not any(doc.public for name, doc in docs.items() if name.startswith("functools._"))
    assert not any(
        "/test/" in doc.file or "/tests/" in doc.file or "site-packages" in doc.file for doc in docs.values()
    )


def test_topics(docs: dict[str, Document]):
    topic = docs["topic:with"]
    assert topic.text.startswith('The "with" statement\n\n')
    assert topic.aliases == ("The with statement",)
    assert topic.file == "pydoc_data/topics.py"
    assert (
        "'with'"
        in Path(sysconfig.get_path("stdlib"), topic.file).read_text(encoding="utf-8").split("\n")[topic.line - 1]
    )


def test_every_process_reads_the_same(docs: dict[str, Document], tmp_path: Path):
    script = (
        "import sys; from septet.data.documents import write_documents;"
        "from septet.data.sources.python_docs import PythonDocs; write_documents(sys.argv[1], PythonDocs().read())"
    )
    other = tmp_path / "other.jsonl"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script, str(other)], check=True, env=environment)
    assert list(read_documents(other)) == list(docs.values())


def test_code_is_an_option(everything: list[Document]):
    with_code = [doc for doc in everything if doc.meta["type"] == "code"]
    size = sum(len(doc.text) for doc in with_code)
    assert 7_000_000 < size < 20_000_000
    assert not any(doc.public for doc in with_code)


def test_packages_are_read_and_unknown_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("septet.data.sources.python_docs._library", lambda: tmp_path)
    found = {doc.name: doc for doc in PythonDocs(packages=("click",)).read() if doc.group == "click"}
    assert found["click.command"].file == "click/decorators.py"
    assert "click.decorators.command" in found["click.command"].aliases
    with pytest.raises(DataError, match=r"'clik' is not installed.*Did you mean 'click'"):
        list(PythonDocs(packages=("clik",)).read())


def test_fingerprint_follows_what_is_read(monkeypatch: pytest.MonkeyPatch):
    first = PythonDocs().fingerprint()
    assert first == PythonDocs().fingerprint()
    assert first != PythonDocs(packages=("click",)).fingerprint()
    changed = {**_inventory(), "objects": {}}
    monkeypatch.setattr("septet.data.sources.python_docs._inventory", lambda: changed)
    assert first != PythonDocs().fingerprint()


def test_a_library_file_that_is_no_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "good.py").write_text('"""Good module."""\ndef f():\n    "Do it well."\n', encoding="utf-8")
    (tmp_path / "latin.py").write_bytes('# coding: latin-1\ndef g():\n    "Do it, café."\n'.encode("latin-1"))
    (tmp_path / "old.py").write_text("print 'x'\n", encoding="utf-8")
    monkeypatch.setattr("septet.data.sources.python_docs._library", lambda: tmp_path)
    bad: list[str] = []
    found = {doc.name: doc for doc in PythonDocs().read(bad=lambda place, reason: bad.append(place))}
    assert found["good.f"].line == 2
    assert found["latin.g"].text.endswith("café.")
    assert bad == ["old.py"]
