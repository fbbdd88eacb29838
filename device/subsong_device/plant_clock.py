"""Keeps the control period of a plant on the board, and measures how well: what T_TIME of the link tells.

By deadlines in microseconds: a sleep that leaves callbacks their turn, then a busy wait of a millisecond or two.
On an emulated Pico that begins a step 12 us after its deadline, give or take 1, and so does a periodic machine.Timer
whose callback sets a flag; but that timer has whole milliseconds on many ports, is missing on others, and does not say
by how much a step was late.
"""

import time


class Clock:
    """The deadlines of a trial's steps. Times are microseconds, at most 8 seconds each.

    Attributes:
        period: from one step to the next.
    """

    def __init__(self):
        self._now, self._diff, self._add = time.ticks_us, time.ticks_diff, time.ticks_add  # looked up once
        self.period = 0
        self.begin()

    def start(self, period_us):
        """Take the control period; 0: steps follow each other as fast as they come."""
        self.period = period_us

    def begin(self):
        """Begin a trial."""
        self._steps = self._late = 0
        self._jitter = self._worst = 0  # from a step's deadline until it began: the sum, and the most
        self._busy = self._longest = 0  # what a step took, until the next one could begin
        self._began = self._due = 0

    def next(self, now):
        """Begin a step, when it is due; the one before ended now. Return the time.

        A step whose deadline has gone by begins at once, and its successor is due a period after that: what was missed
        is not made up for, and no two steps are nearer than a period.
        """
        late = self._ended(now) if self._steps else 0
        self._steps += 1
        period = self.period
        if period:
            due = self._due
            if self._steps == 1 or late:
                self._due = self._add(now, period)
            else:
                left = self._diff(due, now)
                if left > 2000:
                    time.sleep_ms(left // 1000 - 1)
                    left = self._diff(due, self._now())
                if left > 0:
                    time.sleep_us(left)
                now = self._now()
                late = self._diff(now, due)
                self._due = self._add(now, period - late)
            if late > self._worst:
                self._worst = late
            self._jitter += late
        self._began = now
        return now

    def end(self, now):
        """End a trial, and its last step."""
        if self._steps:
            self._ended(now)

    def _ended(self, now):
        """Count a step; return by how much it is late, 0 if it is not."""
        took = self._diff(now, self._began)
        self._busy += took
        if took > self._longest:
            self._longest = took
        if self.period:
            late = self._diff(now, self._due)
            if late > 0:
                self._late += 1
                return late
        return 0

    def told(self):
        """Return T_TIME's fields, from `steps` on; means are over the steps, and nothing is rounded up."""
        n = self._steps or 1
        jitter, busy = self._jitter // n, self._busy // n
        return self._steps, self.period, self._late, jitter, self._worst, busy, self._longest

    def excess(self, least):
        """Return by how much the mean step missed the period, where all of a trial's `least` or more did; else 0."""
        if self._steps < least or self._late < self._steps:
            return 0
        return max(1, self._busy // self._steps - self.period)
