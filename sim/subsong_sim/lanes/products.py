"""Weighted sums of one run, by an instruction that LLVM has no other words for.

A layer's inner loop is `for j in range(n): g += (w_j * x_j) >> shift`, words of 16 bits. LLVM widens both words and
multiplies 32 bits by 32. An x86 processor multiplies pairs of words and adds the two products: with one word of each
pair set to 0 that is one product, exact, and no word has to be widened.

A checksum's is `for k in range(16): t += words[last - k]; s += t`. It counts each word as often as turns are left, by
the same instruction.
"""

import ast
from typing import NamedTuple

from subsong_sim.lanes import native

SHORTEST = 32  # turns of a layer's; below, a row is hardly a vector
BLOCK = 16  # turns of a checksum's


class Routine(NamedTuple):
    """A function of a module.

    Attributes:
        feature: what it asks of the processor; without it LLVM's own vectors will do.
        needs: its text, and what that asks the module to declare.
    """

    feature: str
    needs: frozenset[str]

    def available(self) -> bool:
        """Return whether this computer's processor has the instruction."""
        return f"+{self.feature}" in native.processor()


def _block(name: str, at: str, sums: tuple[str, str], load: str) -> str:
    """Return the instructions that add 32 products, from an index on, to two rows of sums: %low{name}, %high{name}."""
    return f"""\
  %wp{name} = getelementptr inbounds i16, ptr %w, i32 {at}
  %xp{name} = getelementptr inbounds i16, ptr %x, i32 {at}
  %ws{name} = {load.format(pointer=f"%wp{name}")}
  %xs{name} = {load.format(pointer=f"%xp{name}")}
  %pairs{name} = bitcast <32 x i16> %xs{name} to <16 x i32>
  %even{name} = and <16 x i32> %pairs{name}, splat (i32 65535)
  %odd{name} = and <16 x i32> %pairs{name}, splat (i32 -65536)
  %evens{name} = bitcast <16 x i32> %even{name} to <32 x i16>
  %odds{name} = bitcast <16 x i32> %odd{name} to <32 x i16>
  %p{name} = call <16 x i32> @llvm.x86.avx512.pmaddw.d.512(<32 x i16> %ws{name}, <32 x i16> %evens{name})
  %q{name} = call <16 x i32> @llvm.x86.avx512.pmaddw.d.512(<32 x i16> %ws{name}, <32 x i16> %odds{name})
  %ps{name} = ashr <16 x i32> %p{name}, %shifts
  %qs{name} = ashr <16 x i32> %q{name}, %shifts
  %low{name} = add <16 x i32> {sums[0]}, %ps{name}
  %high{name} = add <16 x i32> {sums[1]}, %qs{name}"""


_MASKED = (
    "call <32 x i16> @llvm.masked.load.v32i16.p0(ptr {pointer}, i32 2, <32 x i1> %there, <32 x i16> zeroinitializer)"
)
# n is at least 32. Of the last block, words behind the n-th are not read.
_PRODUCTS = f"""\
define internal i32 @products(ptr %w, ptr %x, i32 %n, i32 %shift) #0 {{
entry:
  %first = insertelement <16 x i32> poison, i32 %shift, i32 0
  %shifts = shufflevector <16 x i32> %first, <16 x i32> poison, <16 x i32> zeroinitializer
  %whole = and i32 %n, -32
  br label %block
block:
  %at = phi i32 [ 0, %entry ], [ %next, %block ]
  %low = phi <16 x i32> [ zeroinitializer, %entry ], [ %low1, %block ]
  %high = phi <16 x i32> [ zeroinitializer, %entry ], [ %high1, %block ]
{_block("1", "%at", ("%low", "%high"), "load <32 x i16>, ptr {pointer}, align 2")}
  %next = add nuw nsw i32 %at, 32
  %more = icmp slt i32 %next, %whole
  br i1 %more, label %block, label %rest
rest:
  %over = and i32 %n, 31
  %bit = shl i32 1, %over
  %bits = sub i32 %bit, 1
  %there = bitcast i32 %bits to <32 x i1>
{_block("2", "%whole", ("%low1", "%high1"), _MASKED)}
  %sums = add <16 x i32> %low2, %high2
  %sum = call i32 @llvm.vector.reduce.add.v16i32(<16 x i32> %sums)
  ret i32 %sum
}}"""


# int32 products(int16 *w, int16 *x, int32 n, int32 shift)
PRODUCTS = Routine(
    "avx512bw",
    frozenset(
        {
            "declare <16 x i32> @llvm.x86.avx512.pmaddw.d.512(<32 x i16>, <32 x i16>)",
            "declare <32 x i16> @llvm.masked.load.v32i16.p0(ptr, i32, <32 x i1>, <32 x i16>)",
            "declare i32 @llvm.vector.reduce.add.v16i32(<16 x i32>)",
            _PRODUCTS,
        }
    ),
)
# The instruction takes a word as signed: 2**15 less each, which the weights' sum brings back.
_WEIGHED = """\
define internal i32 @weighed(ptr %words, <16 x i16> %weights, i32 %sum) #0 {
  %there = load <16 x i16>, ptr %words, align 2
  %signed = xor <16 x i16> %there, splat (i16 -32768)
  %pairs = call <8 x i32> @llvm.x86.avx2.pmadd.wd(<16 x i16> %signed, <16 x i16> %weights)
  %total = call i32 @llvm.vector.reduce.add.v8i32(<8 x i32> %pairs)
  %back = shl i32 %sum, 15
  %all = add i32 %total, %back
  ret i32 %all
}"""
# int32 weighed(uint16 *words, int16 weights[16], int32 sum), sum that of the weights
WEIGHED = Routine(
    "avx2",
    frozenset(
        {
            "declare <8 x i32> @llvm.x86.avx2.pmadd.wd(<16 x i16>, <16 x i16>)",
            "declare i32 @llvm.vector.reduce.add.v8i32(<8 x i32>)",
            _WEIGHED,
        }
    ),
)


class Products(NamedTuple):
    """A loop that is a weighted sum.

    Attributes:
        total: the name that it adds to.
        words: of each factor, the word of the first turn but for the loop's variable: buffer and offset.
        shift: of a product.
    """

    total: str
    words: tuple[tuple[str, ast.expr], tuple[str, ast.expr]]
    shift: ast.expr


def products(node: ast.For | ast.While) -> Products | None:
    """Return a loop as a weighted sum, if it is one."""
    match node:
        case ast.For(
            target=ast.Name(id=turn),
            body=[
                ast.AugAssign(
                    target=ast.Name(id=total),
                    op=ast.Add(),
                    value=ast.BinOp(
                        left=ast.BinOp(left=left, op=ast.Mult(), right=right),
                        op=ast.RShift(),
                        right=ast.Name(id=shift) as by,
                    ),
                )
            ],
        ):
            first, second = _word(left, turn), _word(right, turn)
            if first and second and total not in {turn, shift} and turn != shift:
                offsets = {n.id for _, offset in (first, second) for n in ast.walk(offset) if isinstance(n, ast.Name)}
                if total not in offsets:
                    return Products(total, (first, second), by)
    return None


def downwards(node: ast.expr, turn: str) -> tuple[str, ast.expr] | None:
    """Return buffer and offset of `buffer[offset - turn]`."""
    match node:
        case ast.Subscript(
            value=ast.Name(id=buffer),
            slice=ast.BinOp(left=ast.Name(id=offset) as start, op=ast.Sub(), right=ast.Name(id=variable)),
        ) if variable == turn != offset:
            return buffer, start
    return None


def _word(node: ast.expr, turn: str) -> tuple[str, ast.expr] | None:
    """Return buffer and offset of `(buffer[offset + turn] ^ 0x8000) - 0x8000`."""
    match node:
        case ast.BinOp(
            left=ast.BinOp(
                left=ast.Subscript(
                    value=ast.Name(id=buffer),
                    slice=ast.BinOp(left=ast.Name(id=offset) as start, op=ast.Add(), right=ast.Name(id=variable)),
                ),
                op=ast.BitXor(),
                right=ast.Constant(value=0x8000),
            ),
            op=ast.Sub(),
            right=ast.Constant(value=0x8000),
        ) if variable == turn != offset:
            return buffer, start
    return None
