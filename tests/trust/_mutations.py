"""Small changes of a module that ought to be noticed: one operator, number, condition or line."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
# What shows in no result: names, messages, annotations, and functions of typing alone.
UNSEEN = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)


@dataclass(frozen=True)
class Mutant:
    """A changed module: what was changed in which line, and the text that results."""

    file: str
    line: int
    change: str
    text: str


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a module's text, in the order of its nodes."""
    for place in places(text):
        yield mutant(file, text, *place)


def places(text: str) -> list[tuple[int, int]]:
    """Return what names each mutant of a text: the number of a node, and which of its changes."""
    nodes = enumerate(_seen(ast.parse(text)))
    return [(number, i) for number, node in nodes for i in range(len(list(_changes(node))))]


def mutant(file: str, text: str, number: int, index: int) -> Mutant:
    """Make one mutant."""
    changed = ast.parse(text)
    target = list(_seen(changed))[number]
    before = ast.unparse(target)
    change, apply = list(_changes(target))[index]
    apply()
    after = ast.unparse(ast.fix_missing_locations(target))
    told = f"{change}: {_short(before)} -> {_short(after)}"
    return Mutant(file, target.lineno, told, ast.unparse(changed))


def _short(text: str) -> str:
    return " ".join(text.split())[:70]


def _seen(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that do something, each before its children."""
    if isinstance(node, UNSEEN):
        return
    if hasattr(node, "lineno"):
        yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_text(child):
                yield from _seen(child)


def _is_text(node: ast.AST) -> bool:
    """Return whether a node is a docstring, or the list of public names."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST) -> Iterator[tuple]:
    """Yield (name, function that changes the node in place)."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "comparison", lambda: node.ops.__setitem__(0, COMPARISONS[type(node.ops[0])]())
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        yield "operator", lambda: setattr(node, "op", OPERATORS[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "operator", lambda: setattr(node, "op", other())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", lambda: setattr(node, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        yield "constant", lambda: setattr(node, "value", _other(node.value))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "condition", lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Call) and len(node.args) > 1:
        yield "arguments", node.args.reverse
    yield from _drops(node)


def _drops(node: ast.AST) -> Iterator[tuple]:
    """Yield the removal of each statement of a body that only acts: a call, or a change."""
    for index, child in enumerate(getattr(node, "body", []) if isinstance(node, ast.stmt) else []):
        if isinstance(child, (ast.Expr, ast.AugAssign)) and not _is_text(child):
            yield "dropped", lambda i=index: node.body.__setitem__(i, ast.Pass())


def _other(value: float) -> float:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 2 * value + 1
