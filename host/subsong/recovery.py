"""A board that has left its session goes on from its newest checkpoint: found again, and its firmware started anew.

The dead man, a restart and a power cut all end there. What was learned since the checkpoint is learned again; the log
keeps both, and says where the learner went back to.
"""

import time
from collections import Counter
from typing import NamedTuple

from subsong.bridge import Bridge, Checkpoint, LearnerBlock
from subsong.deploy import leave_link, start_firmware
from subsong.errors import BoardError, FirmwareError, LinkError, LinkLost, LogError, PortError
from subsong.ports import Port
from subsong.reconnect import LOOK_S, Reconnect, ask_who
from subsong.runlog import Recorder
from subsong.verify import Verified, verify_board


class HeldFrames:
    """Takes frames for a recorder that has no place for them yet."""

    def __init__(self) -> None:
        self._held: list[tuple[bool, bytes, int]] = []
        self._recorder: Recorder | None = None
        self._failed = False

    def __call__(self, to_board: bool, wire: bytes, t_ns: int) -> None:
        """Take a frame; see Recorder.frame. The first LogError is the last: the board is still to be told goodbye."""
        if self._recorder is None:
            self._held.append((to_board, wire, t_ns))
        elif not self._failed:
            try:
                self._recorder.frame(to_board, wire, t_ns)
            except LogError:
                self._failed = True
                raise

    def record(self, recorder: Recorder) -> None:
        """Record what was held, and from now on all that comes."""
        for frame in self._held:
            recorder.frame(*frame)
        self._held.clear()
        self._recorder = recorder


class Back(NamedTuple):
    """A board that goes on from a checkpoint.

    Attributes:
        checkpoint: which.
        was, now: names of the port.
        seconds: since it was missed.
    """

    checkpoint: Checkpoint
    was: str
    now: str
    seconds: float


class Recovery:
    """The board of a run, through whatever sessions it has.

    Args:
        port: open, with the board in its first session.
        bridge: that session.
        held: what the firmware on the board was proven to be.
        block: the run's learner at its beginning.
        deadman_ms: as for Bridge.open.
        recorder: takes every session's frames.
        reconnect: looks for the board while it is in a session; its patience is the patience for finding it in none.

    Attributes:
        bridge: the present session.
        patience_s: how long to look.
    """

    def __init__(
        self,
        port: Port,
        bridge: Bridge,
        held: Verified,
        block: LearnerBlock,
        deadman_ms: int,
        recorder: Recorder,
        reconnect: Reconnect,
    ) -> None:
        self.port, self.bridge, self.recorder = port, bridge, recorder
        self._held, self._block, self._deadman_ms = held, block, deadman_ms
        self._reconnect, self.patience_s = reconnect, reconnect.patience_s
        self._before: Counter[str] = Counter()

    @property
    def counters(self) -> dict[str, int]:
        """What was mended, over all sessions."""
        return {name: count + self._before[name] for name, count in vars(self.bridge.counters).items()}

    def go_back(self, run: int, error: LinkLost) -> Back:
        """Find the board, and let it go on from its newest checkpoint of a run.

        Args:
            run: whose checkpoint. A board of the same identity that has one is the board.
            error: how the session was lost.

        Raises:
            LinkLost: `error`, and that no board has such a checkpoint, as far as the patience went.
        """
        port, reconnect = self.port, self._reconnect
        was, began = port.name, reconnect.missed or time.monotonic()
        foreign: set[str] = set()
        while time.monotonic() < began + self.patience_s:
            places = [port.name] if port.connected else port.places()
            foreign &= set(places)
            for name in places:
                if name in foreign:
                    continue
                try:
                    if not port.connected:
                        port.reopen(name)
                    checkpoint = self._begin_again(run)
                except FirmwareError:
                    foreign.add(name)
                except (PortError, LinkError, BoardError):  # it is not ready yet, gone again, or somebody else's
                    pass
                else:
                    if checkpoint is not None:
                        reconnect.missed = None
                        return Back(checkpoint, was, port.name, time.monotonic() - began)
                    foreign.add(name)
                if port.board is None:
                    port.let_go()
            if port.board is not None:  # it can be nowhere else
                break
            time.sleep(LOOK_S)
        port.name = was
        raise LinkLost(f"{error}; no board was found that has a checkpoint of this run") from error

    def _begin_again(self, run: int) -> Checkpoint | None:
        """Start the firmware, open a session and load the newest checkpoint; None where this is not the board.

        Raises:
            PortError, BoardError, LinkError.
        """
        port = self.port
        who = ask_who(port)
        if who is not None and not self._reconnect.knows(who[0]):
            return None
        held = verify_board(port)
        if (held.device.unique_id, held.manifest.digest) != (self._held.device.unique_id, self._held.manifest.digest):
            return None
        frames = HeldFrames()
        start_firmware(port)
        bridge = Bridge(port, on_frame=frames)
        bridge.hello()
        bridge.open(self._block, self._deadman_ms)
        checkpoint = bridge.load(run)
        if checkpoint is None:
            leave_link(port, bridge)
            return None
        bridge.outlive(self._reconnect)
        frames.record(self.recorder)
        self._before.update(vars(self.bridge.counters))
        self.bridge = bridge
        return checkpoint
