"""Names that the kernel loader (or MicroPython's viper emitter) supplies to the files in device/.

A kernel's buffers are `array('H')`, `array('i')` or `bytearray`; an element is an int, loaded unsigned from `ptr8` and
`ptr16`. Kernels only index, so only indexing is offered.
"""

from typing import Protocol

class _Words(Protocol):
    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...

ptr8 = _Words
ptr16 = _Words
ptr32 = _Words
