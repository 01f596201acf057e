"""Reads Python source with `ast`: every definition with its docstring, signature and line, and every name it binds.

Nothing is imported or executed, so any file can be read, whatever it would do when run. It is not a type checker: what a
module binds in a way that only running it would show (`globals()[name] = ...`) is not seen.

    python -c "from septet.data.pydocs.syntax import read_module; print(read_module('shlex', 'shlex.py', open('/usr/lib/python3.11/shlex.py').read()).objects)"
"""  # noqa: E501

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Bound", "Module", "Object", "read_module"]


@dataclass(slots=True)
class Object:
    """One documented or undocumented definition. key = "module:qualified.name"."""

    key: str
    module: str
    qualname: str
    type: str  # function class method property
    doc: str
    signature: str  # "(a, *p)", without self; "" where it does not apply or is not known
    file: str
    line: int
    bases: tuple[ast.expr, ...] = ()
    members: dict[str, str] = field(default_factory=dict)  # name -> key
    compiled: bool = False

    @property
    def name(self) -> str:
        return self.qualname.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a module-level name was bound to: a definition, an import, or an expression that names something else."""

    kind: str  # object import module expr instance
    target: str = ""  # key, module, or module to import from
    name: str = ""  # the name imported
    expr: ast.expr | None = None


@dataclass(slots=True)
class Module:
    name: str
    file: str
    doc: str
    source: str = ""
    is_package: bool = False
    exports: tuple[str, ...] | None = None  # __all__, as far as the source tells; None: not given
    exports_known: bool = True  # False: a part of __all__ is computed
    objects: dict[str, Object] = field(default_factory=dict)  # key -> every definition, nested ones too
    names: dict[str, list[Bound]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    deprecated: bool = False
    compiled: bool = False


def read_module(name: str, file: str, source: str, *, is_package: bool = False) -> Module:
    """Parses one file. Errors: SyntaxError where the text is not Python of this version."""
    tree = ast.parse(source)
    module = Module(name=name, file=file, doc=ast.get_docstring(tree) or "", source=source, is_package=is_package)
    _Reader(module).block(tree.body)
    return module


def signature_of(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> str:
    """ "(a, *p)" with defaults and annotations as written; `bound` drops self or cls."""
    arguments = node.args
    if bound and (arguments.posonlyargs or arguments.args):
        positional = [*arguments.posonlyargs, *arguments.args][1:]
        only = max(len(arguments.posonlyargs) - 1, 0)
        defaults = arguments.defaults[-len(positional) :] if positional else []
        arguments = ast.arguments(
            posonlyargs=positional[:only], args=positional[only:], vararg=arguments.vararg, defaults=defaults,
            kwonlyargs=arguments.kwonlyargs, kw_defaults=arguments.kw_defaults, kwarg=arguments.kwarg,
        )  # fmt: skip
    text = f"({ast.unparse(arguments)})"
    return f"{text} -> {ast.unparse(node.returns)}" if node.returns else text


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """Last parts of the decorators' names: {"property"}, {"setter"}."""
    found = set()
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(target, ast.Attribute):
            found.add(target.attr)
        elif isinstance(target, ast.Name):
            found.add(target.id)
    return found


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a block and of the branches inside it, in the order of the text: first the usual case."""
    for node in body:
        if isinstance(node, ast.If):
            if not (isinstance(node.test, ast.Compare) and ast.unparse(node.test) == "__name__ == '__main__'"):
                yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            yield from _statements([*node.body, *node.orelse, *handlers, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _statements(node.body)
        else:
            yield node


class _Reader:
    """Fills a Module from its statements."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def block(self, body: list[ast.stmt]) -> None:
        module = self.module
        for node in _statements(body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                key = self.define(node, prefix="")
                if key is not None:
                    self.bind(node.name, Bound("object", key))
                if node.name == "__getattr__":  # names made on first use are imported inside it
                    for item in ast.walk(node):
                        if isinstance(item, ast.ImportFrom):
                            plain = [ast.alias(name=alias.name) for alias in item.names]
                            self.imports([ast.ImportFrom(module=item.module, names=plain, level=item.level)])
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.imports([node])
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self.assign(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.assign(node.target, node.value)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == "__all__":
                self.export(node.value)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self.call(node.value)
        module.doc = inspect.cleandoc(module.doc)

    def bind(self, name: str, bound: Bound) -> None:
        self.module.names.setdefault(name, []).append(bound)

    def imports(self, nodes: Iterable[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                for item in node.names:
                    whole = item.name if item.asname else item.name.partition(".")[0]
                    self.bind(item.asname or whole, Bound("module", whole))
            elif isinstance(node, ast.ImportFrom):
                origin = self.origin(node)
                for item in node.names:
                    if item.name == "*":
                        self.module.stars.append(origin)
                    else:
                        self.bind(item.asname or item.name, Bound("import", origin, item.name))

    def origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.name.split(".")
        drop = node.level - 1 if self.module.is_package else node.level
        parts = parts[: len(parts) - drop] if drop else parts
        return ".".join([*parts, *([node.module] if node.module else [])])

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, other in zip(target.elts, value.elts, strict=True):
                self.assign(one, other)
        elif isinstance(target, ast.Name):
            if target.id == "__all__":
                self.export(value)
            elif isinstance(value, ast.Name | ast.Attribute):
                self.bind(target.id, Bound("expr", expr=value))
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name | ast.Attribute):
                self.bind(target.id, Bound("instance", expr=value.func))

    def export(self, value: ast.expr) -> None:
        module = self.module
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            self.export(value.left)
            self.export(value.right)
            return
        if isinstance(value, ast.List | ast.Tuple | ast.Set):
            names = [
                item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
            module.exports = (*(module.exports or ()), *names)
            module.exports_known &= len(names) == len(value.elts)
        else:
            module.exports = module.exports or ()
            module.exports_known = False

    def call(self, node: ast.Call) -> None:
        text = ast.unparse(node.func)
        if text == "__all__.append" and node.args:
            self.export(ast.List(elts=[node.args[0]]))
        elif text == "__all__.extend" and node.args:
            self.export(node.args[0])
        elif text == "warnings._deprecated" or (text == "warnings.warn" and "deprecated" in ast.unparse(node)):
            self.module.deprecated = True

    def define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, prefix: str) -> str | None:
        """Records a definition; the first documented one of a name counts (a setter or a fallback comes later)."""
        module = self.module
        qualname = prefix + node.name
        key = f"{module.name}:{qualname}"
        doc = ast.get_docstring(node) or ""
        known = module.objects.get(key)
        if known is not None and (known.doc or not doc):
            return key
        decorators = _decorators(node)
        if isinstance(node, ast.ClassDef):
            kind, signature = "class", ""
        else:
            kind = "method" if prefix else "function"
            if decorators & {"property", "cached_property", "abstractproperty", "DynamicClassAttribute", "setter"}:
                kind = "property"
            bound = kind == "method" and "staticmethod" not in decorators
            # typing.Optional and its like are written as functions and are never called.
            special = any(decorator.endswith("SpecialForm") for decorator in decorators)
            signature = signature_of(node, bound=bound) if kind != "property" and not special else ""
        found = Object(key, module.name, qualname, kind, doc, signature, module.file, node.lineno)
        module.objects[key] = found
        if isinstance(node, ast.ClassDef):
            found.bases = tuple(node.bases)
            for inner in _statements(node.body):
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inner_key = self.define(inner, prefix=qualname + ".")
                    if inner_key is not None:
                        found.members[inner.name] = inner_key
                    makes = inner.name == "__init__" or (inner.name == "__new__" and not found.signature)
                    if makes and isinstance(inner, ast.FunctionDef):
                        found.signature = signature_of(inner, bound=True).removesuffix(" -> None")
            start = module.objects.get(found.members.get("__init__", ""))
            if not found.doc and start is not None:  # the class says what it is where it is made
                found.doc, start.doc = start.doc, ""
        return key
