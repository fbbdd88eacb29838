"""Instructions of LLVM's, written one after another: arithmetic, masks and memory for L runs side by side."""

import ast
from collections.abc import Iterable

from subsong_sim.lanes.bounds import WHOLE, Bounds, bounds_of
from subsong_sim.lanes.values import ARITHMETIC, COMPARISONS, Condition, Register, Value, int32

# No store reaches a constant: LLVM may leave out a store that another follows, whatever is looked up in between.
TABLES = "!0"
METADATA = "!0 = !{!1}\n!1 = distinct !{!1, !2}\n!2 = distinct !{!2}"
WIDTHS = {"ptr8": 8, "ptr16": 16, "ptr32": 32}


class Emitter:
    """Writes the instructions of one function.

    A buffer's word is a row of L elements, one a run: a known or uniform index is one load of a row, an index that
    differs from run to run a gather.

    Attributes:
        lanes: L; with 1 every value is uniform, and nothing is masked.
        lines: what is written; `label` is the block that the next instruction belongs to.
        mask: an <L x i1> of the runs that take part, or None: all do.
        count: of names handed out.
        needs: the intrinsics that the module has to declare, the functions that it has to define.
        bounds: between which numbers a register lies, by its name; any int32 where there is no entry.
        offsets: of registers that are another and a number: (its name, the number), by their names.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.lines: list[str] = []
        self.label = "entry"
        self.mask: str | None = None
        self.needs: set[str] = set()
        self.bounds: dict[str, Bounds] = {}
        self.offsets: dict[str, tuple[str, int]] = {}
        self.count = 0

    # ------------------------------------------------------------------------------------------ blocks

    def new(self, prefix: str = "%v") -> str:
        """Return a name that is not in use."""
        self.count += 1
        return f"{prefix}{self.count}"

    def emit(self, line: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {line}")

    def result(self, instruction: str) -> str:
        """Write an instruction; return its register."""
        name = self.new()
        self.emit(f"{name} = {instruction}")
        return name

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.label = label

    def jump(self, label: str) -> None:
        """End the block: go on at another."""
        self.emit(f"br label %{label}")

    def branch(self, test: str, yes: str, no: str) -> None:
        """End the block: go on at one of two."""
        self.emit(f"br i1 {test}, label %{yes}, label %{no}")

    # ------------------------------------------------------------------------------------------ values

    def type(self, varying: bool, element: str = "i32") -> str:
        """Return the type of one element, or of a row."""
        return f"<{self.lanes} x {element}>" if varying else element

    def constant(self, value: int, element: str = "i32") -> str:
        """Return a row of equal numbers."""
        return self.row([value] * self.lanes, element)

    def row(self, values: Iterable[int], element: str = "i32") -> str:
        """Return a row of numbers."""
        return "<" + ", ".join(f"{element} {value}" for value in values) + ">"

    def text(self, value: Value, varying: bool) -> str:
        """Return an operand: a number, a register, or a row made of one."""
        if isinstance(value, int):
            return self.constant(value) if varying else str(value)
        return self.spread(value.name, "i32") if varying and not value.varying else value.name

    def spread(self, name: str, element: str) -> str:
        """Return a row whose elements are all one register."""
        row = self.type(True, element)
        first = self.result(f"insertelement {row} poison, {element} {name}, i32 0")
        return self.result(f"shufflevector {row} {first}, {row} poison, {self.type(True)} zeroinitializer")

    def binary(self, operation: str, a: Value, b: Value) -> Register:
        """Write an operation on two operands, one at least a register."""
        varying = any(isinstance(v, Register) and v.varying for v in (a, b))
        left, right = self.text(a, varying), self.text(b, varying)
        return Register(self.result(f"{operation} {self.type(varying)} {left}, {right}"), varying)

    def compare(self, predicate: str, a: Value, b: Value) -> Register:
        """Write a comparison."""
        return self.binary(f"icmp {predicate}", a, b)

    def operation(self, op: ast.operator, a: Value, b: Value) -> Value:
        """Return a op b: a number where both are, else a register."""
        name, function = ARITHMETIC[type(op)]
        if isinstance(a, int) and isinstance(b, int):
            return int32(function(a, b))
        result = self.binary(name, a, b)
        self.bounds[result.name] = bounds_of(op, self.bounds_of(a), self.bounds_of(b))
        if isinstance(op, ast.Add) and isinstance(a, Register) and isinstance(b, int):
            base, offset = self.offsets.get(a.name, (a.name, 0))
            self.offsets[result.name] = base, offset + b
        return result

    def bounds_of(self, value: Value) -> Bounds:
        """Return the numbers between which a value lies."""
        return (value, value) if isinstance(value, int) else self.bounds.get(value.name, WHOLE)

    def compared(self, op: ast.cmpop, a: Value, b: Value) -> Condition:
        """Return whether a op b: known where both are numbers."""
        name, function = COMPARISONS[type(op)]
        if isinstance(a, int) and isinstance(b, int):
            return function(a, b)
        return self.compare(name, a, b)

    def select(self, mask: str, new: Value, old: Value) -> Value:
        """Return `new` in the runs of a mask, `old` in the others."""
        if new == old:
            return new
        a, b = self.text(new, True), self.text(old, True)
        row = self.type(True)
        return Register(self.result(f"select {self.type(True, 'i1')} {mask}, {row} {a}, {row} {b}"), True)

    # ------------------------------------------------------------------------------------------ conditions

    def joined(self, a: Register, b: Register, both: bool) -> Register:
        """Return a and b, or a or b; what b is does not matter where a decides."""
        varying = a.varying or b.varying
        left, right = self.test_text(a, varying), self.test_text(b, varying)
        kind = self.type(varying, "i1")
        other = self.constant(int(not both), "i1") if varying else str(int(not both))
        yes, no = (right, other) if both else (other, right)
        return Register(self.result(f"select {kind} {left}, {kind} {yes}, {kind} {no}"), varying)

    def test_text(self, condition: Condition, varying: bool) -> str:
        """Return a condition as an operand: an i1, or a row of them."""
        if isinstance(condition, bool):
            return self.constant(int(condition), "i1") if varying else str(int(condition))
        return self.spread(condition.name, "i1") if varying and not condition.varying else condition.name

    def number(self, condition: Condition) -> Value:
        """Return 1 where a condition holds, else 0."""
        if isinstance(condition, bool):
            return int(condition)
        kind = self.type(condition.varying, "i1")
        return Register(
            self.result(f"zext {kind} {condition.name} to {self.type(condition.varying)}"), condition.varying
        )

    def narrowed(self, condition: Register) -> str:
        """Return the mask of the runs that take part and meet a condition."""
        if self.mask is None:
            return condition.name
        kind = self.type(True, "i1")
        return self.result(f"select {kind} {self.mask}, {kind} {condition.name}, {kind} zeroinitializer")

    def opposite(self, condition: Register) -> Register:
        """Return the condition that holds where another does not."""
        kind = self.type(condition.varying, "i1")
        ones = self.constant(1, "i1") if condition.varying else "1"
        return Register(self.result(f"xor {kind} {condition.name}, {ones}"), condition.varying)

    def participants(self) -> str:
        """Return the runs that take part as an integer, a bit a run."""
        return self.result(f"trunc i32 %active to i{self.lanes}")

    def bits(self, mask: str) -> str:
        """Return a mask as an integer, a bit a run."""
        return self.result(f"bitcast {self.type(True, 'i1')} {mask} to i{self.lanes}")

    def any(self, mask: str) -> str:
        """Return an i1: whether a mask has a run at all."""
        return self.result(f"icmp ne i{self.lanes} {self.bits(mask)}, 0")

    # ------------------------------------------------------------------------------------------ memory

    def _address(self, buffer: str, width: int, index: Value) -> str:
        row = self.type(self.lanes > 1, f"i{width}")
        return self.result(f"getelementptr inbounds {row}, ptr %{buffer}, i32 {self.text(index, False)}")

    def load(self, buffer: str, width: int, index: Value) -> Register:
        """Load a word of every run, zero-extended."""
        if isinstance(index, Register) and index.varying:
            return self._gather(buffer, width, index)
        rows = self.lanes > 1
        row = self.type(rows, f"i{width}")
        value = self.result(
            f"load {row}, ptr {self._address(buffer, width, index)}, align {min(64, self.lanes * width // 8)}"
        )
        if width != 32:
            value = self.result(f"zext {row} {value} to {self.type(rows)}")
            self.bounds[value] = 0, (1 << width) - 1
        return Register(value, rows)

    def load_lone(self, buffer: str, width: int, index: Value, run: str) -> Register:
        """Load one run's word, which is that of all, zero-extended."""
        row = self.text(self.operation(ast.Mult(), index, self.lanes), False)
        at = self.result(f"add i32 {run}, {row}")
        address = self.result(f"getelementptr inbounds i{width}, ptr %{buffer}, i32 {at}")
        value = self.result(f"load i{width}, ptr {address}, align {width // 8}")
        if width != 32:
            value = self.result(f"zext i{width} {value} to i32")
            self.bounds[value] = 0, (1 << width) - 1
        return Register(value, varying=False)

    def kept(self, value: Value, width: int) -> Value:
        """Return what a word of so many bits keeps of a value."""
        return value if width == 32 else self.operation(ast.BitAnd(), value, (1 << width) - 1)

    def store(self, buffer: str, width: int, index: Value, value: Value) -> None:
        """Store a word of every run that takes part."""
        if isinstance(index, Register) and index.varying:
            self._scatter(buffer, width, index, value)
            return
        rows = self.lanes > 1
        row = self.type(rows, f"i{width}")
        word = self._narrow(self.text(value, rows), rows, width)
        address, align = self._address(buffer, width, index), min(64, self.lanes * width // 8)
        if self.mask is not None:
            old = self.result(f"load {row}, ptr {address}, align {align}")
            word = self.result(f"select {self.type(True, 'i1')} {self.mask}, {row} {word}, {row} {old}")
        self.emit(f"store {row} {word}, ptr {address}, align {align}, !noalias {TABLES}")

    def _narrow(self, word: str, rows: bool, width: int) -> str:
        if width == 32:
            return word
        return self.result(f"trunc {self.type(rows)} {word} to {self.type(rows, f'i{width}')}")

    def _elements(self, buffer: str, width: int, index: Register, lanes: Iterable[int]) -> str:
        """Return the addresses of one element a run, its own or the neighbour that `lanes` names."""
        first = self.result(f"mul {self.type(True)} {index.name}, {self.constant(self.lanes)}")
        at = self.result(f"add {self.type(True)} {first}, {self.row(lanes)}")
        return self.result(f"getelementptr i{width}, ptr %{buffer}, {self.type(True)} {at}")

    def everybody(self) -> str:
        """Return the mask of the runs that take part."""
        return self.constant(1, "i1") if self.mask is None else self.mask

    def _gather(self, buffer: str, width: int, index: Register) -> Register:
        # Processors gather words of 32 bits: the pair that holds a run's half, whose place in it is the run's parity.
        row, pointers, masks = self.type(True), self.type(True, "ptr"), self.type(True, "i1")
        step = 32 // width
        name = self._gathers()
        where = self._elements(buffer, width, index, (lane - lane % step for lane in range(self.lanes)))
        value = self.result(
            f"call {row} {name}({pointers} {where}, i32 4, {masks} {self.everybody()}, {row} zeroinitializer)"
        )
        if width != 32:
            shifts = self.row(lane % step * width for lane in range(self.lanes))
            value = self.result(f"lshr {row} {value}, {shifts}")
            value = self.result(f"and {row} {value}, {self.constant((1 << width) - 1)}")
        return Register(value, True)

    def _gathers(self) -> str:
        """Return the name of the function that loads an i32 from each run's address."""
        row, pointers, masks = self.type(True), self.type(True, "ptr"), self.type(True, "i1")
        name = f"@llvm.masked.gather.v{self.lanes}i32.v{self.lanes}p0"
        self.needs.add(f"declare {row} {name}({pointers}, i32, {masks}, {row})")
        return name

    def _scatter(self, buffer: str, width: int, index: Register, value: Value) -> None:
        row, pointers, masks = self.type(True, f"i{width}"), self.type(True, "ptr"), self.type(True, "i1")
        name = f"@llvm.masked.scatter.v{self.lanes}i{width}.v{self.lanes}p0"
        self.needs.add(f"declare void {name}({row}, {pointers}, i32, {masks})")
        where = self._elements(buffer, width, index, range(self.lanes))
        word = self._narrow(self.text(value, True), True, width)
        self.emit(f"call void {name}({row} {word}, {pointers} {where}, i32 {width // 8}, {masks} {self.everybody()})")
