"""Learned policies: as files, on a board that runs without a host, and how such a board is stopped."""

import dataclasses
import json
import os
import random
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from subsong.block import build_block
from subsong.deploy import deploy_policy, verify_firmware
from subsong.errors import BoardError, LogError, PortError
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.policy import Policy, export_policy, load_policy
from subsong.ports import Port, open_port
from subsong.repl import Repl
from subsong.runlog import Recorder, RunHeader, read_run
from subsong.session import simulate
from subsong_device import checkpoint, policy_file
from subsong_device.checkpoint import Header
from subsong_device.layout import ARITHMETIC_VERSION, EVALUATE
from subsong_hil.unix import UnixBoard, find_micropython
from subsong_sim.engines import LocalLearner
from subsong_sim.trials import TaskTrials

pytest_plugins = ["subsong_hil.fixtures"]

DEADLINE_S = 30.0
ESTIMATORS = ("running_baseline", "unperturbed_trial", "two_sided")
RULES = ("weight_perturbation", "node_perturbation")


def experiment_of(rule: str = "weight_perturbation", estimator: str = "two_sided", task: bool = True) -> Experiment:
    text = example_text("xor").replace('"two_sided" ', f'"{estimator}" ')
    text = text.replace('rule = "weight_perturbation"', f'rule = "{rule}"', 1).replace("trials = 20000", "trials = 6")
    if not task:
        text = text.replace('kind = "task"', 'kind = "gymnasium"').replace('name = "xor"', 'id = "Pendulum-v1"')
        text = text.replace("layers = [2, 4, 1]", "layers = [3, 4, 1]").replace("steps = 4 ", "steps = 5 ")
        text = text.replace("stop_cost = 0.04", "#")
    return parse_experiment(text, "test")


def policy_of(experiment: Experiment) -> Policy:
    """Return the policy of a learner that has learned nothing yet: its block is as good as any."""
    block = build_block(experiment)
    return Policy(
        ARITHMETIC_VERSION,
        block.rule,
        experiment.digest,
        experiment.to_toml(),
        "test",
        block.n_sensors,
        block.n_actuators,
        experiment.run.steps,
        0,
        block.head,
        block.mem,
        block.task,
    )


@pytest.fixture
def policy() -> Policy:
    """A policy of the on-board task xor."""
    return policy_of(experiment_of())


@pytest.fixture
def plant_policy() -> Policy:
    """A policy of 3 sensors and 1 actuator, for a plant.py."""
    return policy_of(experiment_of(task=False))


# ------------------------------------------------------------------------------------------ files on the host


def test_a_policy_survives_its_file(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "p.json")
    assert load_policy(tmp_path / "p.json") == policy


def test_any_altered_character_is_one_error(policy: Policy, tmp_path: Path) -> None:
    text = policy.to_json()
    path = tmp_path / "p.json"
    chosen = random.Random(1)
    for at in chosen.sample(range(len(text)), 100):
        altered = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        path.write_text(altered)
        try:
            same = json.loads(altered) == json.loads(text)
        except ValueError:
            same = False
        if not same:
            with pytest.raises(LogError, match=r"p\.json: "):
                load_policy(path)


def test_a_cut_policy_is_one_error(policy: Policy, tmp_path: Path) -> None:
    text = policy.to_json().rstrip()
    path = tmp_path / "p.json"
    for n in [*range(0, len(text), 97), len(text) - 1]:
        path.write_text(text[:n])
        with pytest.raises(LogError, match=r"p\.json: no policy, or damaged"):
            load_policy(path)


def resealed(policy: Policy, **changes: object) -> str:
    """Return a policy's file with fields changed and the sha256 made right again."""
    from subsong.policy import _digest

    body = {name: value for name, value in json.loads(policy.to_json()).items() if name != "sha256"}
    body |= {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        if value is None:
            del body[name]
    return json.dumps(body | {"sha256": _digest(body)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "other"}, "no policy; `subsong export"),
        ({"format": 2}, "a policy of format 2, this Subsong reads 1"),
        (
            {"arithmetic": ARITHMETIC_VERSION + 1},
            f"arithmetic version {ARITHMETIC_VERSION + 1}, .* version {ARITHMETIC_VERSION}",
        ),
        ({"rule": "hope"}, "rule"),
        ({"steps": 0}, "steps"),
        ({"steps": "4"}, "steps is missing or wrong"),
        ({"head": "!"}, "head is missing or wrong"),
        ({"mem": None}, "mem is missing or wrong"),
        ({"trials": True}, "trials is missing or wrong"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_policy_that_is_none_of_ours_is_one_error(
    policy: Policy, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "p.json"
    path.write_text(resealed(policy, **changes))
    with pytest.raises(LogError, match=message):
        load_policy(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff\xfe", b"{}", b"null"])
def test_what_is_no_policy_at_all_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with pytest.raises(LogError, match="no policy"):
        load_policy(path)
    with pytest.raises(LogError, match="cannot be read"):
        load_policy(tmp_path / "missing.json")
    with pytest.raises(LogError, match="cannot be read"):
        load_policy(tmp_path)


def test_export_takes_the_last_state_of_a_run(tmp_path: Path) -> None:
    experiment = experiment_of()
    log = tmp_path / "run.mcap"
    simulate(experiment, out=log, engine="cpython")
    path = export_policy(log)
    assert path == tmp_path / "run.policy.json"
    policy = load_policy(path)
    run = read_run(log)
    assert (policy.head, policy.mem) == run.states["final"]
    assert run.states["final"] != run.states["initial"]
    assert policy.task == build_block(experiment).task
    assert (policy.trials, policy.steps, policy.experiment_digest) == (6, 4, experiment.digest)
    assert export_policy(log, tmp_path / "other.json").read_text() == path.read_text()


def test_export_of_a_run_that_was_cut_short(tmp_path: Path) -> None:
    experiment = experiment_of()
    block = build_block(experiment)

    def record(name: str, labels: list[str]) -> Path:
        header = RunHeader(
            "sim", experiment.to_toml(), experiment.digest, 1, block.rule, 2, 1, ARITHMETIC_VERSION, False, "task xor"
        )
        recorder = Recorder(tmp_path / name, header)
        for i, label in enumerate(labels):
            recorder.state(label, block.head, bytes([i]) * len(block.mem))
        return recorder.close()

    kept = record("kept.mcap", ["initial", "trial-000010", "trial-000002"])
    assert load_policy(export_policy(kept)).mem[0] == 1
    with pytest.raises(LogError, match="no learned state, so there is no policy to export"):
        export_policy(record("bare.mcap", ["initial"]))
    with pytest.raises(LogError, match="cannot be written"):
        export_policy(kept, tmp_path / "no" / "folder.json")


# ------------------------------------------------------------------------------------------ files on the board


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: policy_file under CPython takes it for a board's flash."""
    flash = tmp_path / "flash"
    flash.mkdir()
    monkeypatch.chdir(flash)
    return flash


def test_a_board_reads_what_the_host_wrote_and_leaves_it(policy: Policy, folder: Path) -> None:
    (folder / "policy.bin").write_bytes(policy.to_binary())
    block, run, header = policy_file.read_latest()
    assert [bytes(region) for region in block.regions] == [policy.head, policy.mem, policy.task]
    assert (block.rule, block.n_sensors, block.n_actuators) == (0, 2, 1)
    assert (header.steps, header.seed, header.trials, header.count) == (4, 0, 0, 0)
    policy_file.SLOTS.save(block, run, header.steps, 6, 10, 11)
    _, again, header = policy_file.read_latest()
    assert (again, header.run, header.steps, header.seed, header.trial, header.trials) == (run, run, 4, 6, 10, 11)
    assert (folder / "policy.bin").read_bytes() == policy.to_binary()
    assert sorted(path.name for path in folder.iterdir()) == ["policy.0", "policy.bin"]


def test_any_flipped_bit_and_any_cut_is_refused(policy: Policy, folder: Path) -> None:
    good = policy.to_binary()
    path = folder / "policy.bin"
    chosen = random.Random(1)
    for at in [*range(72), *chosen.sample(range(72, len(good)), 200)]:
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        with pytest.raises(policy_file.PolicyError):
            policy_file.read_latest()
    for n in [*range(74), *chosen.sample(range(74, len(good)), 50), len(good) - 1]:
        path.write_bytes(good[:n])
        with pytest.raises(policy_file.PolicyError):
            policy_file.read_latest()


def test_what_was_learned_is_of_the_policy_that_is_deployed(policy: Policy, plant_policy: Policy, folder: Path) -> None:
    deployed = folder / "policy.bin"
    with pytest.raises(policy_file.PolicyError, match=r"policy\.bin is missing: .*subsong deploy --policy"):
        policy_file.read_latest()
    deployed.write_bytes(policy.to_binary())
    block, run, header = policy_file.read_latest()
    for trials in (5, 6):
        policy_file.SLOTS.save(block, run, header.steps, trials, trials, trials)
    for other in (plant_policy, dataclasses.replace(policy, trials=1), dataclasses.replace(policy, steps=5)):
        deployed.write_bytes(other.to_binary())
        assert policy_file.read_latest()[2].trials == other.trials
    deployed.write_bytes(policy.to_binary())
    assert policy_file.read_latest()[2].trials == 6
    flip(folder / "policy.1", 300)
    assert policy_file.read_latest()[2].trials == 5
    deployed.write_bytes(policy.to_binary()[:-1])  # its header says whose the slots are
    assert policy_file.read_latest()[2].trials == 5


# ------------------------------------------------------------------------------------------ deploying


def test_deploying_a_policy_twice_copies_nothing(board_flash: Path, unix_port: Port, policy: Policy) -> None:
    first = deploy_policy(unix_port, policy)
    assert first.copied == ("policy.bin", "main.py")
    assert first.firmware.copied
    assert (board_flash / "policy.bin").read_bytes() == policy.to_binary()
    verify_firmware(unix_port)
    second = deploy_policy(unix_port, policy)
    assert (second.copied, second.firmware.copied) == ((), ())
    assert deploy_policy(unix_port, policy, learn=True).copied == ("main.py",)


@pytest.mark.slow
def test_deploying_a_policy_again_begins_with_it_again(board_flash: Path, deployed_port: Port, policy: Policy) -> None:
    deploy_policy(deployed_port, policy)
    with Repl(deployed_port) as repl:
        repl.run("import subsong_device.policy_main as p\np.main(learn=True, save_every=2, save_s=0, trials=6)")
    assert newest(board_flash).trials == 6
    (board_flash / "policy.new").write_bytes(b"begun")
    deploy_policy(deployed_port, policy)
    assert newest(board_flash).trials == 0
    assert sorted(path.name for path in board_flash.glob("policy*")) == ["policy.bin"]


def test_main_py_says_how_to_stop_it(board_flash: Path, deployed_port: Port, policy: Policy) -> None:
    deploy_policy(deployed_port, policy, learn=True, skip_pin="GP22", save_every=7, save_s=9)
    text = (board_flash / "main.py").read_text()
    assert "hold pin GP22 low" in text
    assert "SKIP" in text
    assert "main(learn=True, skip_pin='GP22', save_every=7, save_s=9)" in text


def test_a_main_py_of_the_users_own_stays(board_flash: Path, unix_port: Port, policy: Policy) -> None:
    own = board_flash / "main.py"
    own.write_text("print('mine')\n")
    with pytest.raises(BoardError, match=r"main\.py of its own.*mpremote cp :main\.py.*--replace-main"):
        deploy_policy(unix_port, policy)
    assert own.read_text() == "print('mine')\n"
    assert sorted(path.name for path in board_flash.iterdir()) == ["main.py"]
    deploy_policy(unix_port, policy, replace_main=True)
    assert "policy_main" in own.read_text()


def test_the_report_tells_whether_there_is_something_to_drive(
    board_flash: Path, deployed_port: Port, policy: Policy, plant_policy: Policy
) -> None:
    assert deploy_policy(deployed_port, policy).drives
    assert not deploy_policy(deployed_port, plant_policy).drives
    (board_flash / "plant.py").write_text("")
    assert deploy_policy(deployed_port, plant_policy).drives


# ------------------------------------------------------------------------------------------ learning on without a host


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("rule", RULES)
def test_a_board_that_learns_on_is_bit_for_bit_the_simulator(
    board_flash: Path, deployed_port: Port, rule: str, estimator: str
) -> None:
    experiment = experiment_of(rule, estimator)
    policy = policy_of(experiment)
    deploy_policy(deployed_port, policy)
    with Repl(deployed_port) as repl:
        said = repl.run(
            "import subsong_device.policy_main as p\np.main(learn=True, save_every=10, save_s=0, trials=40)"
        )
    assert f"policy: {rule}, learning" in said
    local = TaskTrials(LocalLearner(rule, policy.head, policy.mem, "cpython"), policy.task, 4)
    list(local.run(0, range(40), evaluate=False))
    state, header = newest_state(board_flash)
    assert (state, header.trials) == (local.state(), 40)
    assert state[1] != policy.mem
    assert (board_flash / "policy.bin").read_bytes() == policy.to_binary()


@pytest.mark.parametrize(
    ("rule", "estimator"), [("node_perturbation", "two_sided"), ("weight_perturbation", "running_baseline")]
)
def test_learning_that_a_power_cut_interrupted_is_bit_for_bit_the_learning_that_none_did(
    deployed_flash: Path, rule: str, estimator: str
) -> None:
    """Killed and booted again and again, a board has at each save what the simulator has after as many trials."""
    policy = policy_of(experiment_of(rule, estimator))
    with open_port("unix") as port:
        deploy_policy(port, policy, learn=True, save_every=4, save_s=0)
    learned = 0
    for _ in range(3):
        with Booted(deployed_flash) as board:
            board.until(b"learning")
            wait_until(lambda seen=learned: newest(deployed_flash).trials > seen)  # type: ignore[misc]
            board.board.kill()
        state, header = newest_state(deployed_flash)
        learned = header.trials
        local = TaskTrials(LocalLearner(rule, policy.head, policy.mem, "cpython"), policy.task, 4)
        for _ in local.run(0, range(learned), evaluate=False):
            pass
        assert state == local.state()


def test_a_frozen_policy_stays_as_it_is(board_flash: Path, deployed_port: Port, policy: Policy) -> None:
    deploy_policy(deployed_port, policy)
    with Repl(deployed_port) as repl:
        assert "frozen" in repl.run("import subsong_device.policy_main as p\np.main(save_every=1, save_s=0, trials=5)")
    assert (board_flash / "policy.bin").read_bytes() == policy.to_binary()


def test_a_pair_is_saved_whole(board_flash: Path, deployed_port: Port, policy: Policy) -> None:
    deploy_policy(deployed_port, policy)
    with Repl(deployed_port) as repl:
        repl.run("import subsong_device.policy_main as p\np.main(learn=True, save_every=3, save_s=0, trials=5)")
    assert newest(board_flash).trials == 4


def test_a_flash_that_takes_no_more_stops_no_learning(board_flash: Path, deployed_port: Port, policy: Policy) -> None:
    deploy_policy(deployed_port, policy)
    learn = "import subsong_device.policy_main as p\np.main(learn=True, save_every=2, save_s=0, trials=4)"
    with Repl(deployed_port) as repl:
        repl.run(learn)
        (board_flash / "policy.new").mkdir()  # where a save cannot begin
        said = repl.run(learn)
    assert said.count("policy: not saved, [Errno") == 2
    assert "policy: done" in said
    assert newest(board_flash).trials == 4


def newest_state(flash: Path) -> tuple[tuple[bytes, bytes], Header]:
    """Return head and mem as a booting board would read them, and what their file says of them."""
    before = Path.cwd()
    os.chdir(flash)
    try:
        block, _, header = policy_file.read_latest()
    finally:
        os.chdir(before)
    return (bytes(block.regions[0]), bytes(block.regions[1])), header


def newest(flash: Path) -> Header:
    """Return what the file says that a booting board would read; while a board writes there, too."""
    deployed = checkpoint.read_header(str(flash / policy_file.PATH))
    found = [checkpoint.whole(str(flash / name)) for name in policy_file.SLOTS.files[:2]]
    return max(
        (slot for slot in found if slot and slot.run == deployed.check), key=lambda slot: slot.count, default=deployed
    )


def test_the_power_may_go_at_any_moment(deployed_flash: Path, policy: Policy) -> None:
    """Killed while it saves after every pair, a board goes on from a whole state: it never falls behind a save."""
    with open_port("unix") as port:
        deploy_policy(port, policy, learn=True, save_every=1, save_s=0)
    learned = 0
    for _ in range(8):
        with Booted(deployed_flash) as board:
            board.until(b"learning")
            wait_until(lambda seen=learned: newest(deployed_flash).trials > seen)  # type: ignore[misc]
            board.board.kill()
        learned = newest(deployed_flash).trials
    assert learned > 8


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        os.sched_yield()


# ------------------------------------------------------------------------------------------ a board without a host


class Booted:
    """A board that boots main.py, and all that it says."""

    def __init__(self, flash: Path) -> None:
        self.board = UnixBoard(flash, boot=True)
        self.said = b""

    def __enter__(self) -> Self:
        self.board.start()
        # Not through pyserial, which drops what was said before it came.
        self.fd = os.open(self.board.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        self.board.stop()

    def until(self, text: bytes) -> bytes:
        until = time.monotonic() + DEADLINE_S
        while text not in self.said:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no {text!r} in {self.said!r}"
            self.said += os.read(self.fd, 4096)
        return self.said


PLANT = """
# Sensor words from a generator of its own; everything that happens to it goes to a file.
log = open("plant.log", "a")
state = 1
def note(*what):
    print(*what, file=log)
    log.flush()
def reset(seed):
    note("reset", seed)
def sense(x):
    global state
    for i in range(len(x)):
        state = (state * 25173 + 13849) & 0xffff
        x[i] = state
    note("sense", *x)
def actuate(u):
    note("actuate", *u)
def cost():
    note("cost")
    return state
def safe():
    note("safe")
"""


@pytest.fixture
def plant_board(deployed_flash: Path, plant_policy: Policy) -> Path:
    """The flash of a board with a policy and a plant.py; switched off."""
    with open_port("unix") as port:
        deploy_policy(port, plant_policy)
    (deployed_flash / "plant.py").write_text(PLANT)
    return deployed_flash


def plant_log(flash: Path) -> list[list[str]]:
    return [line.split() for line in (flash / "plant.log").read_text().splitlines()]


def test_ctrl_c_stops_a_booted_policy_and_leaves_the_prompt(plant_board: Path) -> None:
    with Booted(plant_board) as board:
        board.until(b"policy: weight_perturbation, frozen; Ctrl-C stops it")
        wait_until(lambda: ["cost"] in plant_log(plant_board))
        assert board.board.interrupt()
        board.until(b"policy: stopped")
        board.until(b">>> ")
        assert plant_log(plant_board)[-1] == ["safe"]
        os.write(board.fd, b"6*7\r")
        board.until(b"42")
        assert board.board.running


def test_ctrl_c_ends_a_main_py_started_by_hand_cleanly(plant_board: Path) -> None:
    program = find_micropython()
    assert program is not None
    with subprocess.Popen(
        [program, "main.py"], cwd=plant_board, env={**os.environ, "MICROPYPATH": ":lib"}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert b"Ctrl-C stops it" in process.stdout.readline()
        wait_until(lambda: ["cost"] in plant_log(plant_board))
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"policy: stopped\n"
        assert process.wait(DEADLINE_S) == 0
    assert plant_log(plant_board)[-1] == ["safe"]


@pytest.mark.parametrize("learn", [False, True])
def test_a_plant_is_driven_by_the_words_that_the_simulator_computes(
    plant_board: Path, plant_policy: Policy, learn: bool
) -> None:
    with open_port("unix") as port, Repl(port) as repl:
        repl.run(f"import subsong_device.policy_main as p\np.main(learn={learn}, save_every=4, save_s=0, trials=4)")
    local = LocalLearner(plant_policy.rule, plant_policy.head, plant_policy.mem, "cpython")
    state = 1
    expected = []
    signed = lambda word: (word ^ 0x8000) - 0x8000  # noqa: E731
    for trial in range(4):
        # The trials of a two-sided pair have the same seed.
        expected.append(["reset", str(trial // 2 + 1 if learn else trial + 1)])
        local.begin(trial, not learn)
        cost = 0
        for _ in range(plant_policy.steps):
            x = []
            for _ in range(3):
                state = (state * 25173 + 13849) & 0xFFFF
                x.append(state)
            u = local.act(cost, [signed(word) for word in x])
            expected += [["sense", *map(str, x)], ["actuate", *(str(word & 0xFFFF) for word in u)], ["cost"]]
            cost = state
        expected.append(["safe"])
        local.end(cost)
    expected += [["safe"], ["safe"]]  # the guard's, and main's
    assert plant_log(plant_board) == expected
    if learn:
        head, mem = local.state()
        state, header = newest_state(plant_board)
        assert (state, header.seed, header.trials) == ((head, mem), 2, 4)
    assert plant_policy.head[4 * EVALUATE : 4 * EVALUATE + 4] == bytes(4)


def run_main(flash: Path, arguments: str = "trials=2") -> str:
    """Run the policy at the prompt of a fresh board; return what it said, traceback included."""
    try:
        with open_port("unix") as port, Repl(port) as repl:
            return repl.run(f"import subsong_device.policy_main as p\np.main({arguments})")
    except (BoardError, PortError) as error:
        return str(error)


def test_the_seeds_of_a_plant_go_on_behind_a_restart(plant_board: Path) -> None:
    for _ in range(2):
        assert "policy: done" in run_main(plant_board, "learn=True, save_every=2, save_s=0, trials=4")
    seeds = [int(line[1]) for line in plant_log(plant_board) if line[0] == "reset"]
    assert seeds == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said", "last"),
    [
        ("", "policy: done", "safe"),
        ("def actuate(u):\n    raise ValueError('stuck')\n", "ValueError: stuck", "safe"),
        ("def sense(x):\n    raise OSError(5)\n", "OSError: [Errno 5]", "safe"),
        ("def cost():\n    return 'x'\n", "TypeError", "safe"),
        ("def sense(x):\n    raise KeyboardInterrupt\n", "policy: stopped", "safe"),
        ("def reset(seed):\n    raise SystemExit\n", "ended with status 0", "safe"),  # a process has no soft reset
        (
            "n = 0\ndef safe():\n  global n\n  n += 1\n  note('safe', n)\n  if n < 3:\n    raise KeyboardInterrupt\n",
            "policy: stopped",
            "6",
        ),
        (
            "n = 0\ndef safe():\n  global n\n  n += 1\n  note('safe', n)\n  if n == 1:\n    raise ValueError\n",
            f"policy: stopped, safe() itself failed, in line {PLANT.count(chr(10)) + 7} of plant.py",
            "3",
        ),
        ("def cost():\n    return 1 << 40\n", "policy: done", "safe"),
    ],
    ids=["end", "actuate", "sense", "cost", "ctrl-c", "exit", "ctrl-c-in-safe", "safe-fails", "wild-cost"],
)
def test_the_plant_is_made_safe_on_every_way_out(plant_board: Path, change: str, said: str, last: str) -> None:
    (plant_board / "plant.py").write_text(PLANT + change)
    assert said in run_main(plant_board)
    assert plant_log(plant_board)[-1][-1] == last


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda flash: (flash / "policy.bin").unlink(), "policy: not started, policy.bin is missing"),
        (
            lambda flash: (flash / "policy.bin").write_bytes(b"x"),
            "policy: not started, policy.bin is cut, or nothing that was learned",
        ),
        (lambda flash: flip(flash / "policy.bin", 300), "policy: not started, policy.bin is damaged"),
        (lambda flash: flip(flash / "policy.bin", 9), "policy: not started, policy.bin is damaged in its header"),
    ],
    ids=["missing", "short", "damaged", "header"],
)
def test_a_policy_that_cannot_run_leaves_the_plant_safe(
    plant_board: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(plant_board)
    assert said in run_main(plant_board)
    assert plant_log(plant_board) == [["safe"]]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_a_policy_without_a_plant_says_so(plant_board: Path) -> None:
    (plant_board / "plant.py").unlink()
    assert "policy: not started, there is no plant.py" in run_main(plant_board)


def test_a_plant_may_end_its_trials(plant_board: Path) -> None:
    (plant_board / "plant.py").write_text(
        PLANT + "n = 0\ndef done():\n    global n\n    n += 1\n    return n % 2 == 0\n"
    )
    run_main(plant_board)
    kinds = [line[0] for line in plant_log(plant_board)]
    trial = ["reset", *["sense", "actuate", "cost"] * 2, "safe"]
    assert kinds == [*trial, *trial, "safe", "safe"]


def test_a_file_named_skip_keeps_it_from_starting(plant_board: Path) -> None:
    (plant_board / "SKIP").write_text("")
    with Booted(plant_board) as board:
        assert b"policy: not started, there is a file named SKIP" in board.until(b">>> ")
    assert not (plant_board / "plant.log").exists()


# `machine` of the unix port has no Pin; a file beside main.py stands in for it, as MicroPython looks there first.
MACHINE = """
class Pin:
    IN = "in"
    PULL_UP = "up"
    def __init__(self, name, mode, pull):
        assert (name, mode, pull) == ("GP22", "in", "up")
    def value(self):
        return LEVEL
"""


@pytest.mark.parametrize("level", [0, 1])
def test_the_skip_pin_held_low_keeps_it_from_starting(plant_board: Path, level: int) -> None:
    (plant_board / "machine.py").write_text(MACHINE.replace("LEVEL", str(level)))
    said = run_main(plant_board, "skip_pin='GP22', trials=1")
    assert ("policy: not started, pin GP22 is held low" in said) == (level == 0)
    assert ("policy: done" in said) == (level == 1)


def test_a_board_without_pins_starts_whatever_its_skip_pin(plant_board: Path) -> None:
    assert "policy: done" in run_main(plant_board, "skip_pin=22, trials=1")


def test_after_ctrl_c_a_host_takes_a_board_back_from_its_policy(plant_board: Path) -> None:
    """A booted policy runs for ever; once it is stopped, its port is any board's at the prompt."""
    with Booted(plant_board) as board:
        board.until(b"Ctrl-C stops it")
        board.board.interrupt()
        board.until(b">>> ")
        with open_port(board.board.path) as port:
            verify_firmware(port)
