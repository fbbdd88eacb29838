"""Runs of a task, or on the board's own plant: trial after trial on the board itself, telemetry to the host."""

from subsong_device import frames
from subsong_device.faults import LEARNER, Fault
from subsong_device.frames import ACK, CHUNK, T_DONE, T_SNAP, T_STEP, T_TIME, T_TRIAL
from subsong_device.layout import COST, EVALUATE
from subsong_device.link import Outbox, Silence
from subsong_device.loop_trial import summary_of

# In words: T_STEP is code+type, seq, number (2), trial (2), step, cost (2), x..., u...
_X_AT = 9


class TaskRun:
    """A block, its task or plant, and the telemetry of their trials.

    Args:
        learner: module with begin, act, end.
        tasks: module with task_begin, task_sense, task_cost: what it calls takes the block's task words.
        block: block.Block.
        guard: plant_guard.Guard: what it calls takes this instead, and is that module's; None: a task.

    Attributes:
        number: telemetry frames made in this session; the next one's number.
        stopping: end after the trial that is on. snapshot_wanted: send the state after it.
    """

    def __init__(self, learner, tasks, block, guard=None):
        self._learner = learner
        self._tasks = tasks
        self._guard = guard
        self._block = block
        self._box = Outbox(14 + 2 * (block.n_sensors + block.n_actuators))
        u_at = _X_AT + block.n_sensors
        words = memoryview(self._box.words)
        self._x = words[_X_AT:u_at]
        self._u = words[u_at : u_at + block.n_actuators]
        self.number = 0
        self.stopping = self.snapshot_wanted = False

    def plan(self, first, trials, steps, evaluate):
        """Take RUN's fields. Raises Fault: the plant's guard asks for what the board has not."""
        if self._guard is not None:
            self._guard.start(self._block.task, self._block.n_sensors, self._block.n_actuators)
        self._first, self._trials, self._steps, self._evaluate = first, trials, steps, evaluate
        self.stopping = self.snapshot_wanted = False

    def run(self, session):
        """Run the trials of the plan; between two of them, do what the host asked for meanwhile.

        Returns:
            The Fault that ended it, as the host was told; or None.

        Raises:
            Silence: the host was not heard, or did not read, for the dead-man time; or it has closed the link.
        """
        done = 0
        fault = None
        try:
            while done < self._trials and not self.stopping:
                trial = self._first + done
                self._run_trial(session, trial)
                done += 1
                session.listen()
                if self.snapshot_wanted:
                    self.snapshot_wanted = False
                    self._snapshot(session, trial)
        except Fault as error:
            fault = error
        finally:
            self._rest()
        if self._guard is not None and self._guard.unsafe is not None:
            fault = self._guard.unsafe
        if fault is not None:
            session.tell(ACK, fault.code, fault.detail)
        self._tell(session, T_DONE, done)
        return fault

    @property
    def seed(self):
        """Of the plant's last reset for a learning trial; 0 of a task."""
        return 0 if self._guard is None else self._guard.seed

    def go_on(self, seed):
        """Count the plant's seeds on from one that was kept."""
        if self._guard is not None:
            self._guard.seed = seed

    def close(self):
        """Leave the plant safe for good."""
        if self._guard is not None:
            self._guard.close()

    def _rest(self):
        if self._guard is not None:
            self._guard.rest()

    def _run_trial(self, session, trial):
        head, mem, guard = self._block.head, self._block.mem, self._guard
        task = self._block.task if guard is None else guard
        x, u, words = self._x, self._u, self._box.words
        n = frames.wire_length(self._box.body)
        sense, act, price = self._tasks.task_sense, self._learner.act, self._tasks.task_cost
        cost = 0
        try:
            head[EVALUATE] = self._evaluate
            self._tasks.task_begin(head, task)
            self._learner.begin(head, mem)
            for step in range(self._steps):
                sense(task, x)
                head[COST] = cost
                act(head, mem, x, u)
                words[7] = cost & 0xFFFF
                words[8] = (cost >> 16) & 0xFFFF
                cost = price(task, u)
                words[0] = T_STEP << 8
                words[1] = 0
                words[2] = self.number & 0xFFFF
                words[3] = self.number >> 16
                words[4] = trial & 0xFFFF
                words[5] = trial >> 16
                words[6] = step
                self.number += 1
                if guard is not None:
                    session.listen()  # a plant that is driven is not to wait for a trial's end
                session.reserve(n)
                session.write(self._box.seal())
                if guard is not None and guard.ended():
                    break
            if guard is not None:
                guard.finish()
            head[COST] = cost
            self._learner.end(head, mem)
        except (Silence, Fault):
            raise
        except Exception as error:  # kernels and plant are the user's: what they raise is reported
            fault = guard.fault_of(error) if guard is not None else None
            if fault is None and isinstance(error, OSError):
                raise  # the wire is gone
            raise fault or Fault(LEARNER)
        if guard is not None:
            self._tell(session, T_TIME, trial, *guard.timing())
        self._tell(session, T_TRIAL, *summary_of(head, trial), session.rx.damaged, cost)
        if guard is not None:
            guard.judge()

    def _snapshot(self, session, trial):
        """Send the learner's memory as it is after a trial."""
        for region in (frames.HEAD, frames.MEM):
            memory = self._block.regions[region]
            for offset in range(0, len(memory), CHUNK):
                data = bytes(memory[offset : offset + CHUNK])
                self._tell(session, T_SNAP, trial, region, offset, len(data), data)

    def _tell(self, session, kind, *fields):
        number = self.number
        self.number += 1
        session.tell(kind, number, *fields)
