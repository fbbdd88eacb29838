"""The kernel compiler: from the dialect to machine code that stock MicroPython runs."""

from subsong.compiler.assembler import assembler_module
from subsong.compiler.kernels import Compiled, Kernel, compile_kernels
from subsong.compiler.mpy import mpy
from subsong.compiler.targets import TARGETS
from subsong.compiler.viper import viper_module
from subsong.errors import CompileError

__all__ = [
    "TARGETS",
    "CompileError",
    "Compiled",
    "Kernel",
    "assembler_module",
    "compile_kernels",
    "mpy",
    "viper_module",
]
