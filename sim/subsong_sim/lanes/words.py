"""Words of the runs' buffers: which are known, which are the same in all runs, and what that makes of reading them."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from subsong_sim.lanes.emit import TABLES
from subsong_sim.lanes.flow import Word
from subsong_sim.lanes.loops import Loops
from subsong_sim.lanes.values import Register, Value


class Varies(Exception):
    """A word that was taken for constant, or for the same in all runs, is not: no error, the writer begins anew."""

    def __init__(self, word: Word) -> None:
        super().__init__(word)
        self.word = word


class Table(NamedTuple):
    """Words of a buffer that no kernel changes, the same in all runs: where they begin, and what they are."""

    start: int
    words: tuple[int, ...]

    def text(self, name: str) -> str:
        """Return the constant's definition; a word more, so that each can be read with the one behind it."""
        words = ", ".join(f"i16 {word}" for word in (*self.words, 0))
        return f"@{name} = internal constant [{len(self.words) + 1} x i16] [{words}], align 64"


class Words(Loops):
    """Reads and writes words.

    Args:
        lanes: runs side by side.
        unroll: short loops are written turn by turn.
        frozen: words that no kernel changes, and are the same in all runs.
        fixed: for each buffer, the index from which on a store to an index that is not known may go.
        alike: words that are the same in all runs that take part, whenever the function is called.
        tables: of 16-bit words, by buffer; no kernel stores there.
        shared: for each buffer, the index from which on words are the same in all runs, and no kernel changes them.

    Attributes:
        read_alike: of `alike`, what the function leans on.
    """

    def __init__(
        self,
        lanes: int,
        *,
        unroll: bool,
        frozen: Mapping[Word, int],
        fixed: Mapping[str, int],
        alike: Collection[Word],
        tables: Mapping[str, Table],
        shared: Mapping[str, int],
    ) -> None:
        super().__init__(lanes, unroll=unroll)
        self.frozen, self.fixed, self.alike, self.tables = frozen, fixed, alike, tables
        self.shared = shared
        self.read_alike: set[Word] = set()
        self.base: str | None = None
        self.first = "0"

    def begin(self, *, everybody: bool) -> None:
        """Write who takes part: the mask, and the first of those runs."""
        if self.lanes == 1 or everybody:
            return
        bits = self.participants()
        self.base = self.mask = self.result(f"bitcast i{self.lanes} {bits} to {self.type(True, 'i1')}")
        if self.alike or self.shared:
            self.needs.add("declare i32 @llvm.cttz.i32(i32, i1)")
            first = self.result("call i32 @llvm.cttz.i32(i32 %active, i1 false)")
            self.first = self.result(f"and i32 {first}, {self.lanes - 1}")

    def read(self, buffer: str, width: int, index: Value) -> Value:
        """Return a word."""
        if isinstance(index, Register):
            if not index.varying and buffer in self.shared:
                # An index that is computed is one of an array.
                return self.load_lone(buffer, width, index, self.first)
            return self._looked_up(buffer, width, index) or self.load(buffer, width, index)
        word = buffer, index
        if word in self.frozen:
            return self.frozen[word]
        if word not in self.memory:
            if word in self.alike:
                self.read_alike.add(word)
            lone = word in self.alike or (buffer in self.shared and index >= self.shared[buffer])
            self.memory[word] = (
                self.load_lone(buffer, width, index, self.first) if lone else self.load(buffer, width, index)
            )
        return self.memory[word]

    def _looked_up(self, buffer: str, width: int, index: Register) -> Value | None:
        """Return a word of a table, where the index is the run's own and cannot leave the table; else None.

        A table's word comes with its neighbour: what asks for one asks for the other, to interpolate.
        """
        table = self.tables.get(buffer)
        if table is None or width != 16 or not index.varying:
            return None
        low, high = self.bounds_of(index)
        if low < table.start or high >= table.start + len(table.words):
            return None
        base, offset = self.offsets.get(index.name, (index.name, 0))
        word = f"{buffer}[{base}]", offset
        if word not in self.memory:
            pair = self._pair(f"{buffer}_table", index, table.start, (low + high + 1) // 2)
            self.memory[word], self.memory[word[0], offset + 1] = pair
        return self.memory[word]

    def _pair(self, table: str, index: Register, start: int, middle: int) -> tuple[Register, Register]:
        """Load for every run, whoever takes part, a word of a constant and the one behind it, zero-extended.

        Args:
            table: the constant.
            index: of the word in its buffer.
            start: of the table there.
            middle: of the indices that may be, so that they are short on either side of it.
        """
        row, masks = self.type(True), self.type(True, "i1")
        name = self._gathers()
        way = self.result(f"sub {row} {index.name}, {self.constant(middle)}")
        base = f"getelementptr (i16, ptr @{table}, i32 {middle - start})"
        where = self.result(f"getelementptr i16, ptr {base}, {row} {way}")
        both = self.result(
            f"call {row} {name}({self.type(True, 'ptr')} {where}, i32 2, {masks} {self.constant(1, 'i1')}, "
            f"{row} zeroinitializer), !alias.scope {TABLES}"
        )
        low = self.result(f"and {row} {both}, {self.constant(0xFFFF)}")
        high = self.result(f"lshr {row} {both}, {self.constant(16)}")
        self.bounds[low] = self.bounds[high] = 0, 0xFFFF
        return Register(low, varying=True), Register(high, varying=True)

    def write(self, buffer: str, width: int, index: Value, value: Value) -> None:
        """Store a word, and note what is known by it.

        Raises:
            Varies: a word that was taken for constant changes; one that was taken for the same in all runs is not.
        """
        if buffer in self.shared and (isinstance(index, Register) or index >= self.shared[buffer]):
            raise Varies((buffer, self.shared[buffer]))
        if not isinstance(index, int):
            limit = self.fixed.get(buffer, 0)
            for word in (*self.frozen, *self.alike):
                if word[0] == buffer and word[1] >= limit:
                    raise Varies(word)
            self.store(buffer, width, index, value)
            for word in [w for w in self.memory if w[0] == buffer and w[1] >= limit]:
                del self.memory[word]
            return
        word = buffer, index
        if word in self.frozen or (
            word in self.alike and (self.mask != self.base or (isinstance(value, Register) and value.varying))
        ):
            raise Varies(word)
        self.store(buffer, width, index, value)
        value = self.kept(value, width)
        if self.mask == self.base:
            self.memory[word] = value
        elif word in self.memory:
            assert self.mask is not None
            self.memory[word] = self.select(self.mask, value, self.memory[word])
