"""Which name a user writes: `os.path.join` for a function of posixpath.py, `collections.deque` for one of a C module.

The modules' own statements decide: imports in a package's `__init__`, star imports, `__all__`, aliases such as
`randint = _inst.randint`, methods that a public class inherits from a private one. Nothing is imported here. Bindings that
only running the module would show are listed by hand (`COMPUTED`); others of that sort are missed.

    python -m pytest tests/data/test_python_docs.py
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from septet.data.pydocs.syntax import Bound, Module, Object

__all__ = ["Named", "compiled_modules", "public_names"]

# A module that users reach under another name.
RENAMED = {
    os.path.__name__: "os.path",
    "_collections_abc": "collections.abc",
    "_frozen_importlib": "importlib._bootstrap",
    "pyexpat": "xml.parsers.expat",
}
# Modules without an underscore that the library reference does not offer, or offers under another name.
_HIDDEN = (
    "posix nt genericpath posixpath ntpath nturl2path sre_compile sre_parse sre_constants opcode pydoc_data this antigravity"
    " pyexpat xxlimited xxsubtype xxlimited_35 lib2to3 idlelib turtledemo"
)
HIDDEN = frozenset(_HIDDEN.split())
_DIGESTS = "md5 sha1 sha224 sha256 sha384 sha512 sha3_224 sha3_256 sha3_384 sha3_512 shake_128 shake_256"
# Bindings made by running code (globals()[name] = ...): public name -> object of a compiled module.
COMPUTED = {
    **{f"hashlib.{name}": f"_hashlib:openssl_{name}" for name in _DIGESTS.split()},
    "hashlib.blake2b": "_blake2:blake2b",
    "hashlib.blake2s": "_blake2:blake2s",
    "multiprocessing.Process": "multiprocessing.process:BaseProcess",
}

# Modules that offer the methods of one hidden object as functions: module -> classes whose methods they are.
METHODS_AS_FUNCTIONS = {
    "multiprocessing": ("multiprocessing.context:BaseContext",),
    "turtle": ("turtle:RawTurtle", "turtle:_Screen"),
}

# So many heirs in the same package give a method of a public class another name: ThreadPoolExecutor.submit.
LENT = 4

Target = tuple[str, str]  # ("module", name), ("object", key), ("instance", class key)


@dataclass(frozen=True, slots=True)
class Named:
    """An object with the name a user writes, its other names, and whether the name is meant for users."""

    object: Object
    name: str
    aliases: tuple[str, ...]
    public: bool
    module: str  # the module part of the name ("os.path")
    listed: bool = True  # False: the module's __all__ leaves the name out


def compiled_modules(inventory: Mapping[str, Any]) -> dict[str, Module]:
    """The modules of `compiled.inventory`, in the shape that `syntax.read_module` gives."""
    modules = {}
    for name, entry in inventory["modules"].items():
        file = entry["file"] or f"{name} (built in)"
        modules[name] = Module(name=name, file=file, doc=entry["doc"], compiled=True)
        for bound, key in entry["names"].items():
            modules[name].names[bound] = [Bound("object", key)]
    for key, entry in inventory["objects"].items():
        module = modules[entry["module"]]
        found = Object(
            key, module.name, entry["name"], entry["type"], entry["doc"], _bound(entry["signature"], entry["type"]),
            module.file, 0, compiled=True,
        )  # fmt: skip
        module.objects[key] = found
        for name, member in entry["members"].items():
            inner = f"{key}.{name}"
            found.members[name] = inner
            module.objects[inner] = Object(
                inner, module.name, f"{entry['name']}.{name}", member["type"], member["doc"],
                _bound(member["signature"], member["type"]), module.file, 0, compiled=True,
            )  # fmt: skip
    return modules


def _bound(signature: str, kind: str) -> str:
    """Drops self from the signature of a method of a compiled class: "(self, /, n=1)" -> "(n=1)"."""
    if kind == "method":
        if signature in ("(self, /)", "(self)", "(type, /)", "($self, /)"):
            return "()"
        for start in ("(self, /, ", "(self, ", "(type, /, ", "($self, /, "):
            if signature.startswith(start):
                return "(" + signature.removeprefix(start)
    return signature


def is_private(name: str) -> bool:
    """True where a part of the dotted name begins with an underscore; `__future__` and `__main__` are modules for users."""
    return any(part.startswith("_") and part not in ("__future__", "__main__") for part in name.split("."))


class Names:
    """Resolves what a name of a module stands for, across all modules."""

    def __init__(self, modules: Mapping[str, Module]) -> None:
        self.modules = modules
        self.objects = {key: obj for module in modules.values() for key, obj in module.objects.items()}
        self._known: dict[tuple[str, str], Target | None] = {}
        self._stars: dict[str, tuple[str, ...]] = {}

    def resolve(self, module: str, name: str) -> Target | None:
        """What `module.name` stands for, or None where the source does not tell."""
        if (module, name) in self._known:
            return self._known[module, name]
        self._known[module, name] = None  # a cycle of imports ends here
        found = self._choose(module, name)
        self._known[module, name] = found
        return found

    def _choose(self, module: str, name: str) -> Target | None:
        known = self.modules.get(RENAMED_BACK.get(module, module))
        if known is None:
            return None
        bounds = known.names.get(name, [])
        # A definition with a docstring counts more than its replacement in C: it has a file, a line and a signature.
        for bound in bounds:
            if bound.kind == "object" and self.objects[bound.target].doc:
                return ("object", bound.target)
        weak: Target | None = None
        for bound in bounds:
            found = self._follow(known, bound)
            if found is not None and found[0] == "object" and not self.objects[found[1]].doc:
                weak = weak or found
            elif found is not None:
                return found
        for star in known.stars:
            if name in self.star_names(star):
                found = self.resolve(star, name)
                if found is not None:
                    return found
        if weak is None and f"{known.name}.{name}" in self.modules:
            return ("module", f"{known.name}.{name}")
        return weak

    def twins(self, module: Module, name: str) -> Iterator[str]:
        """Compiled classes that a module binds to the name of a class of its own: datetime of _datetime."""
        found = [self._follow(module, bound) for bound in module.names.get(name, [])]
        found += [self.resolve(star, name) for star in module.stars if name in self.star_names(star)]
        for target in found:
            if target is not None and target[0] == "object" and self.objects[target[1]].compiled:
                yield target[1]

    def star_names(self, module: str) -> tuple[str, ...]:
        """The names that `from module import *` brings, sorted."""
        if module not in self._stars:
            self._stars[module] = ()  # a circle of star imports ends here
            self._stars[module] = self._brought(module)
        return self._stars[module]

    def _brought(self, module: str) -> tuple[str, ...]:
        known = self.modules.get(RENAMED_BACK.get(module, module))
        if known is None:
            return ()
        public = {name for name in known.names if not name.startswith("_")}
        stars = {name for star in known.stars if star != module for name in self.star_names(star)}
        if known.exports is None:
            return tuple(sorted(public | stars))
        return tuple(sorted({*known.exports} | (set() if known.exports_known else public | stars)))

    def _follow(self, module: Module, bound: Bound) -> Target | None:
        if bound.kind == "object":
            return ("object", bound.target)
        if bound.kind == "module":
            return ("module", bound.target) if bound.target in self.modules else None
        if bound.kind == "import":
            return self.resolve(bound.target, bound.name)
        assert bound.expr is not None
        found = self.expression(module.name, bound.expr)
        if bound.kind == "instance":
            is_class = found is not None and found[0] == "object" and self.objects[found[1]].type == "class"
            return ("instance", found[1]) if found is not None and is_class else None
        return found

    def expression(self, module: str, expr: ast.expr) -> Target | None:
        """A name or a dotted name; indexing (Generic[T]) is looked through."""
        if isinstance(expr, ast.Subscript):
            return self.expression(module, expr.value)
        if isinstance(expr, ast.Name):
            return self.resolve(module, expr.id) or self.resolve("builtins", expr.id)
        if isinstance(expr, ast.Attribute):
            base = self.expression(module, expr.value)
            if base is None:
                return None
            if base[0] == "module":
                return self.resolve(base[1], expr.attr)
            key = self.member(base[1], expr.attr)
            return ("object", key) if key else None
        return None

    def member(self, key: str, name: str) -> str | None:
        """The key of a member of a class, its own or inherited; a documented one first."""
        fallback = None
        for cls in self.lineage(key):
            found = self.objects[cls].members.get(name)
            if found and self.objects[found].doc:
                return found
            fallback = fallback or found
        return fallback

    def lineage(self, key: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """The class and the classes it inherits from, nearest first."""
        if key in seen or key not in self.objects:
            return
        yield key
        obj = self.objects[key]
        for base in obj.bases:
            found = self.expression(obj.module, base)
            if found is not None and found[0] == "object":
                yield from self.lineage(found[1], seen | {key})


RENAMED_BACK = {new: old for old, new in RENAMED.items()}


def _module_name(module: str) -> str:
    return RENAMED.get(module, module)


def _hidden_module(module: str) -> bool:
    first = module.split(".")[0]
    return module not in RENAMED_BACK and (first in HIDDEN or module.endswith(".__main__"))


def _rank(obj: Object, module: str, name: str, exported: bool) -> tuple[Any, ...]:
    """Smaller is better: public, in a module for users, exported, short, under its own name, where it is defined."""
    full = f"{module}.{name}"
    return (
        is_private(full) or _hidden_module(module),
        module != "builtins",
        not exported,
        full.count(".") - (module == "os.path"),
        name != obj.qualname,
        module != _module_name(obj.module),
        full,
    )


def _candidates(names: Names) -> dict[str, set[tuple[str, str, bool]]]:
    """key of a top-level object, or of a method bound to a module's name -> {(module, name, exported)}."""
    found: dict[str, set[tuple[str, str, bool]]] = {}
    for module in names.modules.values():
        exports = None if module.exports is None else frozenset(module.exports)
        starred = {name for star in module.stars for name in names.star_names(star)}
        for name in sorted({*module.names, *starred, *(exports or ())}):
            target = names.resolve(module.name, name)
            if target is None or target[0] != "object":
                continue
            obj = names.objects[target[1]]
            own = obj.module == module.name
            listed = exports is not None and name in exports
            open_list = exports is None or not module.exports_known
            private_source = is_private(obj.module) or _hidden_module(_module_name(obj.module))
            inside = obj.module.startswith(module.name + ".")
            alias = any(bound.kind == "expr" for bound in module.names.get(name, []))
            related = private_source and module.name.split(".")[0].strip("_") in obj.module.strip("_")
            # `from functools import partial` in some other module is a use, not an offer.
            related = related and name == obj.name
            offers = own or listed or (open_list and (name in starred or inside or alias or related))
            if offers:
                exported = listed or (open_list and (own or name in starred or inside or related))
                found.setdefault(obj.key, set()).add((_module_name(module.name), name, exported))
            if obj.type == "class" and not obj.compiled:
                for key in names.twins(module, name):
                    for member, member_key in names.objects[key].members.items():
                        own_key = obj.members.get(member)
                        if own_key is None or not names.objects[own_key].doc:
                            exported = listed or open_list
                            option = (_module_name(module.name), f"{name}.{member}", exported)
                            found.setdefault(member_key, set()).add(option)
    for module_name, classes in METHODS_AS_FUNCTIONS.items():
        for cls in classes:
            for base in names.lineage(cls):
                for name, key in names.objects[base].members.items():
                    if not name.startswith("_") and names.objects[key].type == "method":
                        found.setdefault(key, set()).add((module_name, name, True))
    for full, key in COMPUTED.items():
        if key in names.objects:
            module, _, name = full.rpartition(".")
            found.setdefault(key, set()).add((module, name, True))
    return found


def public_names(modules: Mapping[str, Module]) -> list[Named]:
    """Every documented object under the best of its names, sorted by name. An object counts once, a name counts once.

    Aliases are the defining name, the other offered names, and names under classes that inherit the method. public is False
    where a part of the best name is private or the module is not for users. A public name that a module's complete `__all__`
    leaves out is kept, with listed=False: the library reference documents some of those.
    """
    names = Names(modules)
    offered = _candidates(names)
    chosen: dict[str, tuple[str, str, bool, list[str]]] = {}  # key -> module, name in it, public, aliases
    unlisted: set[str] = set()

    def settle(key: str) -> tuple[str, str, bool, list[str]]:
        if key in chosen:
            return chosen[key]
        obj = names.objects[key]
        module = _module_name(obj.module)
        options = set(offered.get(key, ()))
        parent_key, _, member = key.rpartition(".") if "." in key.partition(":")[2] else ("", "", "")
        if parent_key:
            up_module, up_name, up_public, _ = settle(parent_key)
            options.add((up_module, f"{up_name}.{member}", up_public and parent_key not in unlisted))
        options = options or {(module, obj.qualname, False)}
        ranked = sorted(options, key=lambda option: _rank(obj, *option))
        best_module, best_name, exported = ranked[0]
        full = _full(best_module, best_name)
        public = not is_private(full) and not _hidden_module(best_module)
        if not exported:
            unlisted.add(key)
        defining = _full(obj.module, obj.qualname)
        others = [_full(m, n) for m, n, _ in ranked]
        aliases = [defining, *(name for name in others if not is_private(name))]
        aliases = [*dict.fromkeys(name for name in aliases if name != full)]
        chosen[key] = (best_module, best_name, public, aliases)
        return chosen[key]

    for key in names.objects:
        settle(key)
    lent: Counter[str] = Counter()
    for heir_key, inherited in _inherited(names, chosen):
        heir_module, heir_name, _, _ = chosen[heir_key]
        for member, key in inherited:
            module, name, public, aliases = chosen[key]
            if not public:
                better = f"{heir_name}.{member}"
                unlisted.discard(key)
                chosen[key] = (heir_module, better, True, [*aliases, _full(module, name)])
                continue
            alias = _full(heir_module, f"{heir_name}.{member}")
            if alias not in aliases and lent[key] < LENT and heir_module.split(".")[0] == module.split(".")[0]:
                lent[key] += 1
                aliases.append(alias)

    rows = []
    for key, (module, name, public, aliases) in chosen.items():
        obj = names.objects[key]
        if obj.doc:
            full = _full(module, name)
            others = tuple(dict.fromkeys(alias for alias in aliases if alias != full))
            rows.append(Named(obj, full, others, public, module, key not in unlisted))
    rows.sort(key=lambda row: (row.name, not row.public, not row.listed, row.object.compiled, row.object.key))
    return list(_once(rows))


def _full(module: str, name: str) -> str:
    return name if module == "builtins" else f"{module}.{name}"


def _once(rows: Iterable[Named]) -> Iterator[Named]:
    last = None
    for row in rows:
        if row.name != last:
            yield row
        last = row.name


def _inherited(
    names: Names, chosen: Mapping[str, tuple[str, str, bool, list[str]]]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Public classes, short names first, with the documented methods that come from the classes they inherit from."""
    heirs = [key for key, (_, _, public, _) in chosen.items() if public and names.objects[key].type == "class"]
    heirs.sort(key=lambda key: (chosen[key][0].count("."), len(chosen[key][1]), chosen[key][0], chosen[key][1]))
    for heir in heirs:
        seen = {name for name, key in names.objects[heir].members.items() if names.objects[key].doc}
        found = []
        for base in list(names.lineage(heir))[1:]:
            for name, key in names.objects[base].members.items():
                if name in seen or name.startswith("_") or not names.objects[key].doc:
                    continue
                seen.add(name)
                found.append((name, key))
        if found:
            yield heir, found
