"""Calls, from code that Numba compiles, of C functions by their address: one compilation serves whatever is called."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def call(_context: Any, address: Any, arguments: Any) -> Any:
    """Call the C function at an address, int64; of the arguments int64 are pointers, int32 are as they are.

    Returns:
        What it returns, int32.
    """

    def generate(_target: Any, builder: Any, signature: Any, values: Any) -> Any:
        where, packed = values
        passed = []
        for i, kind in enumerate(signature.args[1]):
            value = builder.extract_value(packed, i)
            passed.append(builder.inttoptr(value, ir.IntType(8).as_pointer()) if kind == types.int64 else value)
        function = ir.FunctionType(ir.IntType(32), [value.type for value in passed])
        return builder.call(builder.inttoptr(where, function.as_pointer()), passed)

    return types.int32(address, arguments), generate
