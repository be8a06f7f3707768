"""Python source in which ``${{ }}`` stands: parsed, never pasted.

Every expression is replaced by a placeholder name before Python parses the
text. In the syntax tree a placeholder inside a string literal (an f-string's
text, bytes and docstrings too) becomes the text of the value; elsewhere it is a
variable that holds the typed value. In a comment it is never evaluated. So a
value can hold quotes, newlines or code: it stays a value.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Set, Tuple

from airflow_stagecoach import expressions
from airflow_stagecoach.engine.errors import StageError

if TYPE_CHECKING:
    from types import CodeType
    from typing import Callable


class Prepared(NamedTuple):
    """Source that can run."""

    code: CodeType
    values: Dict[str, Any]  # placeholder -> value, to be put into the globals
    assigned: Set[str]  # names that the code itself gives a value to
    imported: Set[str]


class _Placeholders(NamedTuple):
    text: str  # the source with placeholders
    expressions: Dict[str, str]  # placeholder -> expression with its braces
    prefix: str
    lines: List[Tuple[int, int]]  # (line in `text`, newlines that the expressions on it have lost)
    moved: Set[int]  # lines in `text` that hold a placeholder


def prepare(source: str, filename: str, evaluate: Callable[[str], Any]) -> Prepared:
    """Parse source and evaluate the expressions in it.

    :param source: Python, with ``${{ }}``
    :param filename: what tracebacks call it
    :param evaluate: gives the value of one expression with its braces
    :raises StageError: the source is no Python, or an expression stands where no value can stand
    :raises ExpressionError: an expression could not be evaluated
    """
    marked = _mark(source)
    try:
        tree = ast.parse(marked.text, filename)
    except SyntaxError as error:
        raise _syntax_error(error, source, marked) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise StageError(f"run: Python cannot read the code: {error}", type="SyntaxError") from None
    values: Dict[str, Any] = {}
    if marked.expressions:
        filled = _Fill(marked, evaluate)
        tree = filled.visit(tree)
        values = filled.values
    assigned, imported = _bindings(tree)
    try:
        code = compile(tree, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _syntax_error(error, source, None) from None
    return Prepared(code, values, assigned, imported)


def _mark(source: str) -> _Placeholders:
    prefix = "__expression_"
    while prefix in source:
        prefix = "_" + prefix
    found: Dict[str, str] = {}
    pieces: List[str] = []
    lines: List[Tuple[int, int]] = []
    moved: Set[int] = set()
    line = 1
    for is_expression, piece in split(source):
        if is_expression:
            name = f"{prefix}{len(found)}__"
            found[name] = piece
            pieces.append(name)
            moved.add(line)
            if "\n" in piece:
                lines.append((line, piece.count("\n")))
        else:
            pieces.append(piece)
            line += piece.count("\n")
    return _Placeholders("".join(pieces), found, prefix, lines, moved)


def split(source: str) -> List[Tuple[bool, str]]:
    """The source in pieces: ``(is an expression, text)``. An expression keeps its braces.

    ``$${{`` is the text ``${{``; Jinja's braces are text like any other here.

    :raises ExpressionSyntaxError: an expression is malformed
    """
    return [
        (True, source[part.start : part.end])
        if isinstance(part, expressions.ExpressionPart)
        else (False, part.text)
        for part in expressions.parse_template(source, jinja=False).parts
    ]


def _original_line(line: int, marked: _Placeholders) -> int:
    return line + sum(lost for at, lost in marked.lines if at < line)


def _syntax_error(error: SyntaxError, source: str, marked: _Placeholders | None) -> StageError:
    line = error.lineno or 1
    if marked is not None:
        line = _original_line(line, marked)
    lines = source.splitlines()
    text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    return StageError(
        f"run: line {line}: {error.msg}" + (f": {text}" if text else ""),
        type=type(error).__name__,
        details={"line": line},
    )


class _Fill(ast.NodeTransformer):
    """Puts values into the tree, and lines back to where they were."""

    def __init__(self, marked: _Placeholders, evaluate: Callable[[str], Any]) -> None:
        self._marked = marked
        self._evaluate = evaluate
        self._texts: Dict[str, str] = {}
        self.values: Dict[str, Any] = {}

    def visit(self, node: ast.AST) -> Any:
        self._place(node)
        for field, value in ast.iter_fields(node):
            if isinstance(node, ast.Constant) and field == "value":
                node.value = self._fill(value)
                continue
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and self._marked.prefix in text:
                    self._check_name(node, text)
        return self.generic_visit(node)

    def _fill(self, value: Any) -> Any:
        """A literal with its placeholders replaced by the texts of their values."""
        prefix = self._marked.prefix
        if isinstance(value, bytes) and prefix.encode() in value:
            for name in self._marked.expressions:
                if name.encode() in value:
                    value = value.replace(name.encode(), self._text(name).encode())
        elif isinstance(value, str) and prefix in value:
            pieces = value.split(prefix)
            for at, piece in enumerate(pieces[1:], 1):
                number, _, rest = piece.partition("__")
                pieces[at] = self._text(f"{prefix}{number}__") + rest
            value = "".join(pieces)
        return value

    def _check_name(self, node: ast.AST, name: str) -> None:
        line = getattr(node, "lineno", 0)
        expression = self._marked.expressions.get(name)
        if expression is None or not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
            raise StageError(
                f"run: line {line}: an expression stands for a value; it cannot be a name or a part of one",
                type="SyntaxError",
                details={"line": line},
            )
        self._value(name)

    def _value(self, name: str) -> Any:
        if name not in self.values:
            self.values[name] = self._evaluate(self._marked.expressions[name])
        return self.values[name]

    def _text(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = expressions.to_text(self._value(name))
        return self._texts[name]

    def _place(self, node: ast.AST) -> None:
        """Give a node its original lines; where an expression moved its columns, it has none.

        A traceback would mark the wrong text with wrong columns; without any it shows the whole line.
        """
        if not isinstance(node, (ast.stmt, ast.expr, ast.excepthandler, ast.arg, ast.keyword, ast.alias)):
            return
        line = getattr(node, "lineno", None)
        if line is None:
            return
        end = getattr(node, "end_lineno", None) or line
        if any(at in self._marked.moved for at in (line, end)):
            node.col_offset = node.end_col_offset = -1
        node.lineno = _original_line(line, self._marked)
        node.end_lineno = _original_line(end, self._marked)


def _bindings(tree: ast.AST) -> Tuple[Set[str], Set[str]]:
    """Names that module-level code assigns, and that it imports; what is local to a function stays there."""
    assigned: Set[str] = set()
    imported: Set[str] = set()
    waiting: List[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    assigned.update(inner.names)
            continue
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            # Targets of a comprehension are its own, what `:=` assigns in it is not.
            waiting += [inner.target for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr)]
            continue
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assigned.add(node.id)
        elif type(node).__name__ in ("MatchAs", "MatchStar", "MatchMapping"):  # not known to Python 3.8
            bound = getattr(node, "name", None) or getattr(node, "rest", None)
            if bound:
                assigned.add(bound)
        waiting += ast.iter_child_nodes(node)
    return assigned, imported
