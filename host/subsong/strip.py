"""The firmware's sources without what a board cannot use: docstrings, comments, annotations, deep indentation.

Every statement stays on its line, so that a traceback from a board names the line of the repository's file.
"""

import ast
import io
import tokenize
from collections.abc import Iterator

_DOCUMENTED = (ast.FunctionDef, ast.ClassDef, ast.Module)
_Span = tuple[int, int, int, int]  # line, column, end line, end column: lines from 1, columns in bytes


def strip_source(source: bytes, name: str = "source") -> bytes:
    """Return a module's source as a board gets it.

    Args:
        source: UTF-8.
        name: the file, for messages.

    Returns:
        The same statements on the same lines, which is checked: a file too cleverly written comes back as it is.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source, name)
    lines = source.splitlines()
    for span, instead in sorted(_spans(tree, source), reverse=True):
        _replace(lines, span, instead)
    stripped = source
    try:
        stripped = indent_by_one(b"\n".join(line.rstrip() for line in lines).rstrip() + b"\n")
        same = statements(ast.parse(stripped)) == statements(unannotated(tree))
    except (SyntaxError, tokenize.TokenError):
        same = False
    return stripped if same else source


def statements(tree: ast.Module) -> list[tuple[int, str]]:
    """Return every statement with its line; but for `pass`, which stripping may move."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not isinstance(node, ast.Pass)]
    return [(node.lineno, ast.dump(node)) for node in found]


def unannotated(tree: ast.Module) -> ast.Module:
    """Return a syntax tree without docstrings and annotations: what stripping must leave unchanged."""

    class Strip(ast.NodeTransformer):
        def visit_arg(self, node: ast.arg) -> ast.arg:
            node.annotation = None
            return node

        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
            if node.value is None:
                return None
            return ast.copy_location(ast.Assign([node.target], node.value), node)

        def generic_visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, False) is not None:
                node.body = node.body[1:]
            if isinstance(node, ast.FunctionDef):
                node.returns = None
            super().generic_visit(node)
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.body:
                node.body = [ast.Pass()]
            return node

    stripped = Strip().visit(tree)
    assert isinstance(stripped, ast.Module)
    return stripped


def _spans(tree: ast.Module, source: bytes) -> Iterator[tuple[_Span, bytes]]:
    """Yield what to cut out of the source, and what takes its place."""
    arrows = []
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        line, column = token.start[0], len(token.line[: token.start[1]].encode())
        if token.type == tokenize.COMMENT:
            yield (line, column, line, column + len(token.string.encode())), b""
        elif token.string == "->":
            arrows.append((line, column - 1))  # and the space before it
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, False) is not None:
            yield _span(node.body[0]), b"" if len(node.body) > 1 or isinstance(node, ast.Module) else b"pass"
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            # A body of nothing but bare annotations keeps one statement.
            bare = [each for each in node.body if isinstance(each, ast.AnnAssign) and each.value is None]
            rest = [each for each in node.body if each not in bare and not _is_text(each)]
            for at, each in enumerate(bare):
                yield _span(each), b"" if rest or at else b"pass"
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            end = (node.returns.end_lineno or 0, node.returns.end_col_offset or 0)
            yield (*max(each for each in arrows if each < end), *end), b""
        elif isinstance(node, ast.arg) and node.annotation is not None:
            line, column, *end2 = _span(node)
            yield (line, column + len(node.arg.encode()), end2[0], end2[1]), b""
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _, _, *start = _span(node.target)
            yield (start[0], start[1], *_span(node.annotation)[2:]), b""


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _span(node: ast.stmt | ast.expr | ast.arg) -> _Span:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def _replace(lines: list[bytes], span: _Span, instead: bytes) -> None:
    line, column, end_line, end_column = span
    after = lines[end_line - 1][end_column:]
    lines[line - 1] = lines[line - 1][:column] + instead + (after if end_line == line else b"")
    for number in range(line, end_line - 1):
        lines[number] = b""
    if end_line > line:
        lines[end_line - 1] = after


def indent_by_one(source: bytes) -> bytes:
    """Indent by one space a level, and not at all inside brackets."""
    depth = brackets = seen = 0
    indents: dict[int, int] = {}
    inside: set[int] = set()  # lines that begin inside a string
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            depth += 1 if token.type == tokenize.INDENT else -1
        elif token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING):
            if token.start[0] > seen:
                indents[token.start[0]] = 0 if brackets else depth
            seen = token.end[0]
            inside.update(range(token.start[0] + 1, token.end[0] + 1))
            if token.type == tokenize.OP:
                brackets += (token.string in "([{") - (token.string in ")]}")
    lines = source.splitlines(keepends=True)
    return b"".join(
        line if number in inside else b" " * indents.get(number, 0) + line.lstrip(b" \t")
        for number, line in enumerate(lines, 1)
    )
