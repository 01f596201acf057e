"""The documentation of the Python that is installed here: docstrings, signatures, the language reference.

Source text is read with `ast`, never imported or executed; compiled modules are listed by a separate interpreter process
(`pydocs.compiled`); the language reference is the literal in `pydoc_data/topics.py`. It reads what is installed, so another
Python gives another corpus (and another artifact id). It is not the full library reference that the web site shows.

    septet corpus --source python-docs
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from septet.core.errors import DataError, nearest
from septet.data.documents import Document
from septet.data.pydocs import compiled as compiled_script
from septet.data.pydocs.names import HIDDEN, Named, compiled_modules, is_private, public_names
from septet.data.pydocs.syntax import Module, read_module
from septet.data.source import Bad, Source, stop

__all__ = ["PythonDocs"]

# Folders and modules of the library that hold tests, demonstrations, other programs' data, or generated tables.
_SKIPPED = (
    "test tests idlelib lib2to3 site-packages dist-packages turtledemo __pycache__ lib-dynload ensurepip _bundled"
    " idle_test pydoc_data __phello__ __hello__ _testcapi this antigravity"
)
SKIPPED = frozenset(_SKIPPED.split())
SKIPPED_PREFIXES = ("config-", "_sysconfigdata", "__phello__", "_test")


class PythonDocs(Source):
    """The documentation of the installed Python: docstrings, signatures, language reference."""

    packages: tuple[str, ...] = ()
    """Installed distributions to read as well, by the name pip knows them; their Python files only."""
    code: bool = False
    """Also give the source text of every module, as documents of type "code" that are not public."""

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """The documents, sorted by name; modules, classes, functions, methods, properties, then topics and code."""
        modules = self._modules(bad)
        everything = _merge(compiled_modules(_inventory()), modules)
        docs: dict[str, Document] = {}
        for named in public_names(everything):
            docs.setdefault(named.name, _definition(named, everything))
        for module in everything.values():
            doc = _module(module)
            if doc is not None:
                docs.setdefault(doc.name, doc)
        yield from (docs[name] for name in sorted(docs))
        yield from _topics()
        if self.code:
            for module in sorted(modules.values(), key=lambda module: module.file):
                if module.source.strip():
                    yield Document(
                        id=f"code:{module.file}", text=module.source, name=module.name, group=_group(module.name),
                        file=module.file, line=1, public=False, meta={"type": "code", "module": module.name},
                    )  # fmt: skip

    def fingerprint(self) -> str:
        """Hash of the Python version, of every file read, and of what the compiled modules say."""
        total = hashlib.sha256(sys.version.encode())
        for name, path, _ in self._files():
            total.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        topics = _topics_path()
        total.update(topics.read_bytes() if topics.exists() else b"")
        total.update(json.dumps(_inventory(), sort_keys=True).encode())
        return total.hexdigest()

    def _files(self) -> list[tuple[str, Path, str]]:
        """(module name, path, name of the file relative to its package's parent), sorted by module name."""
        found = {name: (path, file) for name, path, file in _library_files(_library())}
        for package in self.packages:
            for name, path, file in _package_files(package):
                found.setdefault(name, (path, file))
        return [(name, *found[name]) for name in sorted(found)]

    def _modules(self, bad: Bad) -> dict[str, Module]:
        modules = {}
        for name, path, file in self._files():
            try:
                with tokenize.open(path) as stream:  # honours the coding line of the file
                    source = stream.read()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # odd escapes in other people's strings
                    modules[name] = read_module(name, file, source, is_package=path.name == "__init__.py")
            except (SyntaxError, UnicodeDecodeError, ValueError) as error:
                # templates and files for other versions of Python, which this one could not import either
                bad(file, f"not Python {sys.version_info.major}.{sys.version_info.minor}: {error}")
        return modules


def _merge(compiled: dict[str, Module], modules: dict[str, Module]) -> dict[str, Module]:
    """All modules; a compiled type that a Python module offers (re.Pattern) is added to that module."""
    everything = {**compiled, **modules}
    for name in sorted(compiled.keys() & modules.keys()):
        modules[name].objects.update(compiled[name].objects)
        for bound, targets in compiled[name].names.items():
            modules[name].names[bound] = [*targets, *modules[name].names.get(bound, [])]
    return everything


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _skipped(part: str) -> bool:
    return part in SKIPPED or part.startswith(SKIPPED_PREFIXES) or part.endswith(".dist-info")


def _library_files(root: Path) -> Iterator[tuple[str, Path, str]]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not _skipped(name) and (Path(folder, name, "__init__.py")).exists()
        )
        for file in sorted(files):
            if file.endswith(".py") and not _skipped(file.removesuffix(".py")):
                path = Path(folder, file)
                relative = path.relative_to(root)
                name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
                yield name, path, relative.as_posix()


def _package_files(package: str) -> Iterator[tuple[str, Path, str]]:
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        installed = {str(found.metadata["Name"]) for found in importlib.metadata.distributions()}
        raise DataError(
            f"The package {package!r} is not installed here; an installed distribution is expected."
            f"{nearest(package, installed)}"
        ) from None
    for entry in sorted(distribution.files or [], key=str):
        path = Path(str(distribution.locate_file(entry)))
        parts = entry.parts
        if entry.suffix != ".py" or ".." in parts or any(_skipped(part) for part in parts) or not path.is_file():
            continue
        name = ".".join(Path(*parts).with_suffix("").parts).removesuffix(".__init__")
        if all(part.isidentifier() for part in name.split(".")):
            yield name, path, entry.as_posix()


@functools.cache
def _inventory() -> dict[str, Any]:
    """What `pydocs.compiled` prints, asked once a process."""
    script = Path(compiled_script.__file__)
    command = [sys.executable, "-I", "-X", "utf8", str(script)]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=120)
    if done.returncode != 0:
        tail = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise DataError(f"The compiled modules of {sys.executable} could not be listed: {' '.join(tail)}")
    # What a module itself prints when it is imported stands before the JSON.
    text = done.stdout.decode("utf-8")
    return json.loads(text[text.index('{"modules"') :])


def _group(module: str) -> str:
    return module.split(".")[0]


def _split_signature(doc: str, name: str) -> tuple[str, str]:
    """Takes leading call lines, "range(stop) -> range object", off a docstring: (first signature, rest)."""
    lines = doc.split("\n")
    pattern = re.compile(rf"(?:\w+\.)*{re.escape(name)}(\(.*)$")
    first = pattern.match(lines[0])
    if first is None:
        return "", doc
    end = 0
    while end < len(lines) and (pattern.match(lines[end]) or (end and lines[end].startswith(" "))):
        end += 1
    rest = "\n".join(lines[end:]).strip("\n").lstrip("-= ")
    if not rest.strip():  # nothing but call lines: they are the documentation
        return (first.group(1) if end == 1 else ""), doc
    return first.group(1), inspect.cleandoc(rest)


def _definition(named: Named, modules: dict[str, Module]) -> Document:
    obj = named.object
    doc, signature = obj.doc, obj.signature
    if not signature and obj.compiled and obj.type != "property":
        signature, doc = _split_signature(doc, obj.name)
    elif obj.compiled and obj.type != "property":
        doc = _split_signature(doc, obj.name)[1]
    heading = f"class {named.name}{signature}" if obj.type == "class" else f"{named.name}{signature}"
    meta: dict[str, Any] = {
        "type": obj.type,
        "signature": f"{named.name.rpartition('.')[2]}{signature}" if signature else "",
        "module": "builtins" if named.module == "builtins" else named.module,
        "doc": doc,
    }
    if obj.compiled:
        meta["compiled"] = True
    if not named.listed:
        meta["unlisted"] = True
    if modules[obj.module].deprecated or modules[obj.module.split(".")[0]].deprecated:
        meta["deprecated"] = True
    return Document(
        id=named.name, text=f"{heading}\n\n{doc}", name=named.name, group=_group(named.module), file=obj.file,
        line=obj.line, aliases=named.aliases, public=named.public, meta=meta,
    )  # fmt: skip


def _module(module: Module) -> Document | None:
    name = {os.path.__name__: "os.path"}.get(module.name, module.name)
    if not module.doc or module.name == "builtins":
        return None
    hidden = name.split(".")[0] in HIDDEN or is_private(name) or name.endswith("__main__")
    meta: dict[str, Any] = {"type": "module", "signature": "", "module": name, "doc": module.doc}
    if module.compiled:
        meta["compiled"] = True
    if module.deprecated:
        meta["deprecated"] = True
    return Document(
        id=name, text=f"module {name}\n\n{module.doc}", name=name, group=_group(name), file=module.file,
        line=0 if module.compiled else 1, aliases=(module.name,) if module.name != name else (),
        public=not hidden, meta=meta,
    )  # fmt: skip


def _topics_path() -> Path:
    return _library() / "pydoc_data" / "topics.py"


def _topics() -> Iterator[Document]:
    """The language reference that `help()` shows: the literal dictionary `topics`, title and text, with its line."""
    path = _topics_path()
    if not path.exists():
        return
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not (isinstance(target, ast.Name) and target.id == "topics" and isinstance(node, ast.Assign)):
            continue
        assert isinstance(node.value, ast.Dict)
        found = [(key, value) for key, value in zip(node.value.keys, node.value.values, strict=True) if key is not None]
        for key, value in sorted(found, key=lambda pair: ast.unparse(pair[0])):
            topic, text = ast.literal_eval(key), inspect.cleandoc(ast.literal_eval(value))
            title, _, body = text.partition("\n")
            body = body.lstrip("*=-~ \n")
            meta = {"type": "topic", "signature": "", "module": "", "doc": body, "title": title.replace('"', "")}
            yield Document(
                id=f"topic:{topic}", text=f"{title}\n\n{body}", name=f"topic:{topic}", group=f"topic:{topic}",
                file="pydoc_data/topics.py", line=key.lineno, aliases=(meta["title"],), meta=meta,
            )  # fmt: skip
