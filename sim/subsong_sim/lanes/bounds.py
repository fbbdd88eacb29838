"""Between which two numbers a register's word lies, as far as that is seen from how it was computed."""

import ast

Bounds = tuple[int, int]

WHOLE: Bounds = (-(2**31), 2**31 - 1)


def bounds_of(op: ast.operator, a: Bounds, b: Bounds) -> Bounds:
    """Return the bounds of a op b: of what kernels compute an index by, else those of any int32."""
    low, high = WHOLE
    if isinstance(op, ast.Add):
        low, high = a[0] + b[0], a[1] + b[1]
    elif isinstance(op, ast.Sub):
        low, high = a[0] - b[1], a[1] - b[0]
    elif isinstance(op, ast.RShift) and b[0] == b[1]:
        low, high = a[0] >> b[0], a[1] >> b[0]
    elif isinstance(op, ast.BitAnd) and b[0] >= 0:
        low, high = 0, b[1]
    elif isinstance(op, ast.BitXor) and a[0] >= 0 and b[0] >= 0:
        low, high = 0, (1 << max(a[1], b[1]).bit_length()) - 1
    return (low, high) if WHOLE[0] <= low and high <= WHOLE[1] else WHOLE
