"""The on-board tasks a second time, in plain Python with unbounded integers, written from docs/arithmetic.md alone."""

import struct
from collections.abc import Sequence


def signed(word: int) -> int:
    """Return a 16-bit word as int16."""
    return (word & 0xFFFF ^ 0x8000) - 0x8000


def clip(v: int, limit: int) -> int:
    """Bring v into -limit..limit."""
    return max(-limit, min(limit, v))


class Model:
    """A task's block and what the page says happens to it.

    Args:
        block: the words, little-endian.
    """

    def __init__(self, block: bytes) -> None:
        self.w = list(struct.unpack(f"<{len(block) // 2}H", block))
        self.kind, self.n, self.m, self.error_shift = self.w[:4]
        self.count = self.w[8]

    def state(self) -> bytes:
        """Return the block."""
        return struct.pack(f"<{len(self.w)}H", *self.w)

    # Streams and places.

    def draw(self, at: int) -> int:
        """Draw a word."""
        a, b = self.w[at], self.w[at + 1]
        t = (a ^ (a << 5)) & 0xFFFF
        t ^= t >> 3
        self.w[at], self.w[at + 1] = b, b ^ (b >> 1) ^ t
        return self.w[at + 1]

    def coins(self, at: int) -> int:
        """Return the heads of 64 coins, less 32."""
        return sum(self.draw(at).bit_count() for _ in range(4)) - 32

    def go_to(self, now: slice, start: slice, resume: slice, first: list[int], evaluate: bool, phase: int) -> None:
        """Bring a place, or a stream, to where the trial begins."""
        w = self.w
        if evaluate:
            if not w[7]:
                w[resume], w[7] = w[now], 1
                w[now] = first
            return
        if w[7]:
            w[now], w[7] = w[resume], 0
        if phase == 0:
            w[start] = w[now]
        else:
            w[now] = w[start]

    def place(self, evaluate: bool, phase: int) -> None:
        """Choose `next`."""
        self.go_to(slice(4, 5), slice(5, 6), slice(6, 7), [0], evaluate, phase)

    def stream(self, evaluate: bool, phase: int) -> None:
        """Choose where the stream is."""
        self.go_to(slice(9, 11), slice(11, 13), slice(13, 15), self.w[15:17], evaluate, phase)

    # Errors.

    def squared(self, u: Sequence[int], targets: Sequence[int]) -> int:
        """Return the squared error."""
        cost = 0
        for v, target in zip(u, targets, strict=True):
            cost = clip(cost + clip((v - signed(target)) >> self.error_shift, 16384) ** 2, 1 << 28)
        return cost

    def scaled(self, u: Sequence[int], targets: Sequence[int], shift: int) -> int:
        """Return the scaled error."""
        cost = 0
        for v, target in zip(u, targets, strict=True):
            e = clip((v - signed(target)) >> self.error_shift, 32767)
            cost = clip(cost + clip(e * e >> shift, 1 << 28), 1 << 28)
        return cost

    def advance(self) -> None:
        """Go to the next entry of a table."""
        self.w[4] = (self.w[4] + 1) % self.count

    # What a kind does.

    def begin(self, evaluate: bool, phase: int) -> None:
        """Begin a trial."""

    def sense(self) -> list[int]:
        """Return the sensor words."""
        raise NotImplementedError

    def cost(self, u: Sequence[int]) -> int:
        """Return the cost and go on."""
        raise NotImplementedError


class Table(Model):
    """Inputs and targets, entry after entry."""

    at = 9

    def begin(self, evaluate: bool, phase: int) -> None:
        """Choose the pattern."""
        self.place(evaluate, phase)

    def entry(self) -> list[int]:
        """Return the words of entry `next`."""
        size = self.n + self.m
        return self.w[self.at + self.w[4] * size :][:size]

    def sense(self) -> list[int]:
        """Return the inputs."""
        return [signed(v) for v in self.entry()[: self.n]]

    def cost(self, u: Sequence[int]) -> int:
        """Return the squared error."""
        cost = self.error(u, self.entry()[self.n :])
        self.advance()
        return cost

    def error(self, u: Sequence[int], targets: Sequence[int]) -> int:
        """Return the error that the kind charges."""
        return self.squared(u, targets)


class Extended(Table):
    """A table whose every trial begins with its first entry."""

    at = 10

    def begin(self, evaluate: bool, phase: int) -> None:  # noqa: ARG002 - as every kind's
        """Begin with the first step."""
        self.w[4] = 0

    def error(self, u: Sequence[int], targets: Sequence[int]) -> int:
        """Return the scaled error."""
        return self.scaled(u, targets, self.w[9])


class Teacher(Model):
    """A linear teacher."""

    def begin(self, evaluate: bool, phase: int) -> None:
        """Choose the stream."""
        self.stream(evaluate, phase)

    def sense(self) -> list[int]:
        """Draw the inputs and compute the targets."""
        signs, unit, s, d = self.w[19:23]
        if signs:
            words = [self.draw(9) for _ in range(-(-self.n // 16))]
            x = [(4 * unit if words[j // 16] >> j % 16 & 1 else -4 * unit) for j in range(self.n)]
        else:
            x = [self.coins(9) * unit for _ in range(self.n)]
        x = [clip(v, 32767) for v in x]
        for i in range(self.m):
            row = self.w[26 + self.m + i * self.n :][: self.n]
            y = sum(signed(w) * v >> s for w, v in zip(row, x, strict=True)) >> d
            self.w[26 + i] = max(-32768, min(32767, y)) & 0xFFFF
        return x

    def cost(self, u: Sequence[int]) -> int:
        """Return the scaled error, with noise where learning sees it."""
        cost = self.scaled(u, self.w[26 : 26 + self.m], self.w[23])
        if self.w[24] and not self.w[7]:
            cost = clip(cost + self.coins(17) * self.w[24] * 2 ** self.w[25], 1 << 28)
        return cost


class Letters(Model):
    """Images made from their numbers."""

    def begin(self, evaluate: bool, phase: int) -> None:
        """Choose the image."""
        self.place(evaluate, phase)

    def image(self, number: int) -> list[int]:
        """Return an image's 49 pixels, 0 or 1."""
        place, flips = divmod(number, 1226)
        letter, place = divmod(place, 9)
        down, right = divmod(place, 3)
        pixels = [0] * 49
        for row in range(5):
            for column in range(5):
                pixels[7 * (down + row) + right + column] = self.w[27 + 5 * letter + row] >> (4 - column) & 1
        pairs = [(a, b) for a in range(49) for b in range(a + 1, 49)]
        for pixel in [(), *((a,) for a in range(49)), *pairs][flips]:
            pixels[pixel] ^= 1
        return pixels

    def sense(self) -> list[int]:
        """Return the pixels as words."""
        return [32767 * pixel for pixel in self.image(self.w[4])]

    def cost(self, u: Sequence[int]) -> int:
        """Return the squared error, and go on by the stride."""
        letter = self.w[4] // (9 * 1226)
        cost = self.scaled(u, self.w[11 + 4 * letter :][:4], self.w[10])
        self.w[4] = (self.w[4] + self.w[9]) % 44136
        return cost


class Lqr(Model):
    """The regulator's system."""

    def states(self) -> list[int]:
        """Return the states, 1 LSB = 2**-12."""
        return [signed(self.w[21 + 2 * i]) * 8 + self.w[22 + 2 * i] for i in range(self.n)]

    def put(self, states: Sequence[int], at: int) -> None:
        """Write states as pairs of words."""
        for i, state in enumerate(states):
            v = clip(state, 262136)
            self.w[at + 2 * i], self.w[at + 2 * i + 1] = v >> 3 & 0xFFFF, v & 7

    def begin(self, evaluate: bool, phase: int) -> None:
        """Choose the stream, draw the initial state."""
        self.stream(evaluate, phase)
        start = self.w[17]
        self.put([self.coins(9) * start if start else 0 for _ in range(self.n)], 21)

    def sense(self) -> list[int]:
        """Return the states' sensor words."""
        return [signed(self.w[21 + 2 * i]) for i in range(self.n)]

    def cost(self, u: Sequence[int]) -> int:
        """Return the cost and move the states."""
        n, x = self.n, self.sense()
        noise, q, q_shift = self.w[18:21]
        matrix = self.w[21 + 2 * n :][: n * n]
        cost, moved = 0, []
        for i, state in enumerate(self.states()):
            v = max(u[i], -32767)
            cost = clip(cost + ((x[i] * x[i] >> 13) * q >> q_shift) + (v * v >> 8), 1 << 28)
            drift = 1024 + sum(signed(matrix[i * n + j]) * x[j] >> 4 for j in range(n)) >> 11
            moved.append(state + drift + v + self.coins(9) * noise)
        self.put(moved, 21 + 2 * n + n * n)
        self.put(moved, 21)
        return cost


class DelayedMatch(Model):
    """Cue, delay, probe."""

    def begin(self, evaluate: bool, phase: int) -> None:
        """Choose the stream; the first step."""
        self.stream(evaluate, phase)
        self.w[4] = 0

    def sense(self) -> list[int]:
        """Show cue or probe."""
        w, step = self.w, self.w[4]
        if step == 0:
            first, second = self.draw(9), self.draw(9)
            same, cue = first % 2, first // 2 * self.n // 2**15
            other = (cue + 1 + second * (self.n - 1) // 2**16) % self.n
            w[22:25] = [cue, cue if same else other, w[20] if same else w[21]]
        shown = w[22] if step < w[17] else w[23] if step >= w[18] else None
        return [32767 * (j == shown) for j in range(self.n)]

    def cost(self, u: Sequence[int]) -> int:
        """Judge the response."""
        cost = self.scaled(u, [self.w[24]], self.w[25]) if self.w[4] >= self.w[19] else 0
        self.advance()
        return cost


class Sequences(Model):
    """A cue, then what it stands for."""

    def begin(self, evaluate: bool, phase: int) -> None:
        """Choose the stream; the first step."""
        self.stream(evaluate, phase)
        self.w[4] = 0

    def sense(self) -> list[int]:
        """Show the cue."""
        if self.w[4] == 0:
            self.w[18] = self.draw(9) * self.n // 2**16
        return [32767 * (j == self.w[18] and self.w[4] < self.w[17]) for j in range(self.n)]

    def cost(self, u: Sequence[int]) -> int:
        """Compare with the sequence, after the cue."""
        step, length = self.w[4] - self.w[17], self.count - self.w[17]
        cost = 0
        if step >= 0:
            cost = self.scaled(u, self.w[20 + (self.w[18] * length + step) * self.m :][: self.m], self.w[19])
        self.advance()
        return cost


class Song(Model):
    """A song that is heard, and paid for late."""

    def __init__(self, block: bytes) -> None:
        super().__init__(block)
        self.song_at = 15 + self.count * self.m
        self.costs_at = self.song_at + self.m
        self.end = self.costs_at + 2 * self.w[11]

    def begin(self, evaluate: bool, phase: int) -> None:  # noqa: ARG002 - as every kind's
        """Begin the song in silence."""
        self.w[4] = self.w[14] = 0
        self.w[self.song_at : self.end] = [0] * (self.end - self.song_at)

    def sense(self) -> list[int]:
        """Let neurons burst, one behind the other."""
        spacing, burst, t = self.w[9], self.w[10], self.w[4]
        return [32767 * (0 <= t - j * spacing < burst and t < self.count) for j in range(self.n)]

    def cost(self, u: Sequence[int]) -> int:
        """Sing on; return a cost that is due."""
        delay, muscle, ceiling, ring = self.w[11:15]
        t, cost = self.w[4], 0
        song = [signed(y) for y in self.w[self.song_at : self.costs_at]]
        song = [y + ((v - y + (2**muscle >> 1)) >> muscle) for y, v in zip(song, u, strict=True)]
        self.w[self.song_at : self.costs_at] = [y & 0xFFFF for y in song]
        if t < self.count:
            cost = min(self.squared(song, self.w[15 + t * self.m :][: self.m]), (1 << 28) >> ceiling)
            self.w[4] = t + 1
        if not delay:
            return cost
        at = self.costs_at + 2 * ring
        due = self.w[at] | self.w[at + 1] << 16
        self.w[at : at + 2] = [cost & 0xFFFF, cost >> 16]
        self.w[14] = (ring + 1) % delay
        return due


KINDS = (Table, Teacher, Letters, Extended, Lqr, DelayedMatch, Sequences, Song)
MODELS: dict[int, type[Model]] = dict(enumerate(KINDS))


def model(block: bytes) -> Model:
    """Return the model of a task's block."""
    return MODELS[block[0] | block[1] << 8](block)
