"""What does this Python file define, as far as that can be known without running it?

Definitions of a feature store are Python, and running the Python of a stranger to audit a file would be rude. Most of
it is constants, though. Statements are followed as far as they are certain to run; what a condition decides that only
a run can tell becomes `Unknown`, which is an error only for who needs that value.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from streams.audit.static_values import Expressions, Function, Made, Module, Symbol, Unknown


class Reader:
    """Follows the files of one folder.

    Parameters
    ----------
    root
        The folder; imports between its files are followed.
    library
        Calls of what this package holds become `Made`.

    Examples
    --------
    >>> reader = Reader(Path("/nowhere"), "feast")
    >>> source = "from feast import Entity\\nname = 'driver'\\nkey = f'{name}_id'\\ndriver = Entity(name=name, key=key)"
    >>> names = reader.follow(Path("/nowhere/entities.py"), source).names
    >>> names["driver"].kind, dict(names["driver"].arguments), names["driver"].place
    ('Entity', {'name': 'driver', 'key': 'driver_id'}, 'entities.py:4')
    """

    def __init__(self, root: Path, library: str) -> None:
        self.root, self.library = root, library
        self.modules: dict[Path, Module] = {}
        self.steps = 0

    def follow(self, path: Path, source: str | None = None) -> Module:
        """The names that a file defines.

        Raises
        ------
        SyntaxError
            The file is no Python.
        """
        if path not in self.modules:
            tree = ast.parse(path.read_text(encoding="utf-8") if source is None else source, str(path))
            module = self.modules[path] = Module(path, tree)
            module.names.update(__file__=str(path), __name__=path.stem)
            _Run(self, module, module.names).block(tree.body)
        return self.modules[path]

    def place(self, module: Module, node: ast.AST) -> str:
        """``file:line``, the file relative to the folder."""
        path = module.path.relative_to(self.root) if module.path.is_relative_to(self.root) else module.path
        return f"{path.as_posix()}:{getattr(node, 'lineno', 1)}"

    def unreached(self, kinds: frozenset[str]) -> Iterator[tuple[str, str]]:
        """(place, kind) of calls of the library that a run might make and that were not followed."""
        for module in self.modules.values():
            idle = {id(n) for f in module.functions if not f.was_called for n in ast.walk(f.node)}
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and id(node) not in module.seen and id(node) not in idle:
                    symbol = _Run(self, module, module.names).value(node.func)
                    if isinstance(symbol, Symbol) and self.kind(symbol) in kinds:
                        yield self.place(module, node), self.kind(symbol)

    def kind(self, symbol: Symbol) -> str:
        """The last name of something of the library, ``""`` for anything else."""
        first, _, rest = symbol.name.partition(".")
        return rest.rpartition(".")[2] if first == self.library else ""

    def imported(self, module: Module, name: str, level: int) -> Module | None:
        """The file that an import of `module` means; None if it is none of this folder."""
        parts = [part for part in name.split(".") if part]
        above = [module.path.parent, *module.path.parents[1:]]
        starts = [above[level - 1]] if level else [module.path.parent, self.root, self.root.parent]
        for start in starts:
            for path in (start.joinpath(*parts).with_suffix(".py"), start.joinpath(*parts, "__init__.py")):
                if parts and path.is_file() and path.resolve().is_relative_to(self.root.parent.resolve()):
                    try:
                        return self.follow(path)
                    except (SyntaxError, UnicodeDecodeError):
                        return None
        return None


class _Returned(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class _Run(Expressions):
    """Follows statements in one scope."""

    reader: Reader

    def returned(self, body: Iterable[ast.stmt]) -> Any:
        try:
            self.block(body)
        except _Returned as returned:
            return returned.value
        return None

    def block(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self.bind(target, value)
            case ast.AnnAssign(value=ast.expr() as expression):
                self.bind(node.target, self.value(expression))
            case ast.AugAssign():
                left = self.value(ast.copy_location(ast.Name(ast.unparse(node.target), ast.Load()), node.target))
                self.bind(node.target, self.binary(node, node.op, left, self.value(node.value)))
            case ast.Expr():
                self.value(node.value)
            case ast.Return():
                raise _Returned(None if node.value is None else self.value(node.value))
            case ast.Import() | ast.ImportFrom():
                self.import_(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.function(node)
            case ast.ClassDef():
                self.names[node.name] = self.unknown(node, f"a class of the file, {node.name}")
            case ast.If():
                self.if_(node)
            case ast.For():
                self.for_(node)
            case ast.Try():
                self.block([*node.body, *node.orelse, *node.finalbody])
                self.skip([s for handler in node.handlers for s in handler.body])
            case ast.With():
                for item in node.items:
                    if item.optional_vars is not None:
                        self.bind(item.optional_vars, self.unknown(node, "what a 'with' opens"))
                self.block(node.body)
            case ast.While():
                self.blur(node.body, self.unknown(node, "set in a 'while'"))

    def if_(self, node: ast.If) -> None:
        test = self.value(node.test)
        if isinstance(test, Unknown | Symbol):
            why = "TYPE_CHECKING" if isinstance(test, Symbol) else test.why
            if why == "TYPE_CHECKING":
                self.block(node.body)
            else:
                self.blur([*node.body, *node.orelse], self.unknown(node, f"decided by an 'if' on {why}"))
            return
        taken, other = (node.body, node.orelse) if test else (node.orelse, node.body)
        self.block(taken)
        self.skip(other)

    def for_(self, node: ast.For) -> None:
        items = self.items(self.value(node.iter))
        if items is None:
            self.blur(node.body, self.unknown(node, f"set in a loop over {ast.unparse(node.iter)}"))
            return
        for item in items:
            self.bind(node.target, item)
            self.block(node.body)
        if not items:
            self.skip(node.body)

    def skip(self, body: Iterable[ast.stmt]) -> None:
        """These statements never run: what they call is not missing."""
        self.module.seen.update(id(n) for statement in body for n in ast.walk(statement) if isinstance(n, ast.Call))

    def blur(self, body: Iterable[ast.stmt], why: Unknown) -> None:
        """Who knows whether these statements run: what they set is unknown."""
        for statement in body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    self.names[node.id] = why

    def import_(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = self.reader.imported(self.module, alias.name, 0)
                if local is None:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.names[alias.asname or whole] = Symbol(whole)
                elif alias.asname or "." not in alias.name:
                    self.names[alias.asname or alias.name] = local
            return
        module = self.reader.imported(self.module, node.module or "", node.level)
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name == "*" and module is not None:
                self.names.update({n: v for n, v in module.names.items() if not n.startswith("_")})
            elif module is not None and alias.name in module.names:
                self.names[name] = module.names[alias.name]
            else:
                inner = f"{node.module}.{alias.name}" if node.module else alias.name
                local = self.reader.imported(self.module, inner, node.level)
                self.names[name] = Symbol(inner) if local is None else local

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        function = Function(node, self.module)
        self.module.functions.append(function)
        self.names[node.name] = function
        for decorator in node.decorator_list:
            made = self.value(decorator)
            if isinstance(made, Symbol) and self.reader.kind(made):
                made = Made(self.reader.kind(made), {}, self.reader.place(self.module, node))
            if isinstance(made, Made):
                arguments = {"name": node.name, **made.arguments}
                self.names[node.name] = Made(made.kind, arguments, made.place)
