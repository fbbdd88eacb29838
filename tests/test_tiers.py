"""A board takes the best tier that computes the known answers, and falls to the next when kernels are broken."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from learning import short_example, shortened
from subsong.board_session import run_on_board, run_over
from subsong.bridge import Bridge
from subsong.deploy import deploy, deploy_policy, start_firmware, stop_firmware
from subsong.errors import FirmwareError, PortError
from subsong.firmware import Firmware, build_firmware, firmware_of, kernel_file
from subsong.known_answers import CASES, KnownLearner, answers_of
from subsong.policy import export_policy, load_policy
from subsong.ports import Port, open_port
from subsong.profile import Profile, named_profile
from subsong.repl import Repl
from subsong.replay import replay
from subsong.runlog import read_run
from subsong.session import simulate
from subsong_device import faults
from subsong_device.frames import RULES
from subsong_device.tiers import FOUND
from subsong_hil.pico import SLOWDOWN
from subsong_sim import loader

pytest_plugins = ["subsong_hil.fixtures"]


FOLDERS = {2: "machine", 1: "viper"}
Alter = Callable[[str], str]


@cache
def plain(module: str, called: tuple[str, ...]) -> str:
    """Return kernels as one module of plain Python: what a process without emitters can take for machine code."""
    return loader.render(loader.gather(f"{loader.PACKAGE}.{module}", called), "cpython")


def with_tiers(alter: dict[int, Alter], kernels: str = "text") -> tuple[Profile, Firmware]:
    """Return a firmware of the unix board whose upper tiers are Python modules, each altered."""
    tiers = (*sorted(alter, reverse=True), 0)
    profile = named_profile("unix").model_copy(update={"tiers": tiers, "kernels": kernels})
    sources = dict(build_firmware(named_profile("unix")).sources)
    for tier, change in alter.items():
        sources[f"{FOLDERS[tier]}/__init__.py"] = b""
        for rule in RULES:
            text = change(plain(f"learners.{rule}", loader.LEARNER_KERNELS))
            sources[f"{FOLDERS[tier]}/{rule}.py"] = text.encode()
        sources[f"{FOLDERS[tier]}/tasks.py"] = plain("tasks", loader.TASK_KERNELS).encode()
    return profile, firmware_of(sources, profile)


def whole(text: str) -> str:
    return text


def one_number_wrong(text: str) -> str:
    """The activations' rounding: 0x80 becomes 0xC0, seen in one word of hundreds; in some rules it stands twice."""
    assert "+ 128 >> 8" in text
    return text.replace("+ 128 >> 8", "+ 192 >> 8")


def hello(port: Port) -> tuple[int, tuple[str, ...]]:
    """Start the firmware; return the tier of its HELLO, and which tiers failed."""
    failed = start_firmware(port)
    bridge = Bridge(port)
    tier = bridge.hello().tier
    bridge.close()
    stop_firmware(port)
    return tier, failed


def found(flash: Path) -> list[str]:
    return (flash / FOUND).read_text().splitlines()[1:] if (flash / FOUND).exists() else []


def test_the_best_tier_that_is_right_is_taken(deployed_port: Port, board_flash: Path) -> None:
    profile, firmware = with_tiers({2: whole, 1: whole})
    deploy(deployed_port, firmware)
    assert hello(deployed_port) == (2, ())
    assert found(board_flash) == ["ok", "2"]
    assert profile.tiers == (2, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (one_number_wrong, r"case \d+, trial \d+ of the known answers: [0-9a-f]{8} instead of [0-9a-f]{8}"),
        (lambda text: text.replace("def act(", "@micropython.asm_thumb\ndef act("), "invalid micropython decorator"),
        (lambda text: text + "def oops(:\n", "SyntaxError"),
        (lambda text: text + "raise MemoryError\n", "MemoryError"),
        (lambda text: text.replace("def act(", "def other("), "AttributeError"),
        # A word behind its buffer, where something else lies.
        (lambda text: text.replace("u[i] = mem[", "u[i + 1] = mem["), "case 0, trial 0"),
        (
            lambda text: text.replace("def begin(head, mem):", "def begin(head, mem):\n    mem[1 << 20] = 0"),
            "IndexError",
        ),
    ],
    ids=["wrong", "no emitter", "syntax", "memory", "missing", "beside", "beyond"],
)
def test_broken_kernels_are_left_for_the_next_tier(deployed_port: Port, broken: Alter, why: str) -> None:
    _, firmware = with_tiers({2: broken, 1: whole})
    deploy(deployed_port, firmware)
    tier, (line,) = hello(deployed_port)
    assert tier == 1
    assert re.match(f"tier 2, machine code: .*{why}", line), line


def test_machine_code_that_was_loaded_as_bytecode_is_never_called(deployed_port: Port) -> None:
    deploy(deployed_port, with_tiers({2: whole}, "mpy")[1])
    tier, failed = hello(deployed_port)
    assert tier == 0
    assert failed == ("tier 2, machine code: ImportError('machine code was loaded as bytecode',)",)


def test_where_viper_is_broken_too_bytecode_is_left(deployed_port: Port, board_flash: Path) -> None:
    _, firmware = with_tiers({2: one_number_wrong, 1: one_number_wrong})
    deploy(deployed_port, firmware)
    tier, failed = hello(deployed_port)
    assert tier == 0
    assert [line.split(":")[0] for line in failed] == ["tier 2, machine code", "tier 1, viper"]
    assert found(board_flash) == ["ok", "0"]


def test_a_board_that_computes_wrong_on_every_tier_is_refused(deployed_port: Port, board_flash: Path) -> None:
    _, firmware = with_tiers({1: one_number_wrong})
    sources = dict(firmware.sources)
    network = sources["kernels/network.py"].decode()
    assert "+ 0x80) >> 8" in network
    sources["kernels/network.py"] = network.replace("+ 0x80) >> 8", "+ 0xC0) >> 8").encode()
    deploy(deployed_port, firmware_of(sources, named_profile("unix").model_copy(update={"tiers": (1, 0)})))
    with pytest.raises(FirmwareError, match=r"(?s)no tier computes the known answers.*redeploy") as caught:
        start_firmware(deployed_port)
    assert caught.value.code == faults.KERNELS
    assert found(board_flash) == [], "the next start tries again"


# ------------------------------------------------------------------------------------------ what is kept


def test_the_known_answers_are_tried_once_a_deploy(deployed_port: Port, board_flash: Path) -> None:
    _, firmware = with_tiers({2: whole})
    deploy(deployed_port, firmware)
    assert hello(deployed_port) == (2, ())
    answers = board_flash / "lib" / "subsong_device" / "known_answers.bin"
    right = answers.read_bytes()
    answers.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))  # nothing could compute these
    assert hello(deployed_port) == (2, ())
    deploy(deployed_port, firmware)
    assert answers.read_bytes() == right
    assert found(board_flash) == []
    assert hello(deployed_port) == (2, ())


def test_another_firmware_or_micropython_is_tried_anew(deployed_port: Port, board_flash: Path) -> None:
    _, firmware = with_tiers({2: one_number_wrong})
    deploy(deployed_port, firmware)
    key, *_ = "another firmware 3.4.0; MicroPython v1.0", ""
    (board_flash / FOUND).write_text(f"{key}\nok\n2\n")
    assert hello(deployed_port)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\n", b"x\nok\n", b"ok\n2\n", b"\xff\xfe\0"])
def test_a_file_that_was_cut_is_no_answer(deployed_port: Port, board_flash: Path, content: bytes) -> None:
    deploy(deployed_port, with_tiers({2: whole})[1])
    (board_flash / FOUND).write_bytes(content)
    assert hello(deployed_port) == (2, ())


def test_want_of_memory_is_not_kept(deployed_port: Port, board_flash: Path) -> None:
    deploy(deployed_port, with_tiers({2: lambda text: text + "raise MemoryError\n"})[1])
    assert hello(deployed_port)[0] == 0
    assert found(board_flash) == []


def test_a_flash_that_takes_no_file_costs_a_test_each_time(deployed_port: Port, board_flash: Path) -> None:
    full = (
        "import builtins\n_open = open\ndef full(p, m='r'):\n if 'w' in m:\n  raise OSError(28)\n return _open(p, m)\n"
    )
    deploy(deployed_port, with_tiers({2: whole})[1])
    with Repl(deployed_port) as repl:
        repl.run(full + "builtins.open = full")
    tier, failed = hello(deployed_port)
    assert (tier, len(failed)) == (2, 2)
    assert all(line.startswith(f"{FOUND} cannot be written: OSError(28") for line in failed), failed
    assert found(board_flash) == []


def test_a_tier_that_took_the_board_down_twice_is_left_out(deployed_flash: Path, board_flash: Path) -> None:
    """SystemExit ends this board's process in the middle of the test, as a hard fault ends everything on another."""
    _, firmware = with_tiers(
        {2: lambda text: text.replace("def end(head, mem):", "def end(head, mem):\n    raise SystemExit")}
    )
    with open_port("unix") as port:
        deploy(port, firmware)
        with pytest.raises(PortError):
            start_firmware(port)
    assert found(board_flash) == ["trying", "2"]
    with open_port("unix") as port, pytest.raises(PortError):
        start_firmware(port)
    assert found(board_flash) == ["again", "2"]
    with open_port("unix") as port:
        tier, failed = hello(port)
        assert tier == 0
        assert failed == ("tier 2, machine code: the board did not come back from its known answers",)
        assert hello(port) == (0, ())
        deploy(port, firmware)  # whoever deploys again gives it another chance
    assert found(board_flash) == []


def test_one_power_cut_during_the_known_answers_costs_no_tier(deployed_port: Port, board_flash: Path) -> None:
    _, firmware = with_tiers({2: whole})
    deploy(deployed_port, firmware)
    assert hello(deployed_port) == (2, ())
    path = board_flash / FOUND
    path.write_text(path.read_text().replace("ok", "trying"))
    assert hello(deployed_port) == (2, ())
    assert found(board_flash) == ["ok", "2"]


# ------------------------------------------------------------------------------------------ runs


OWN_PROFILE = """
# A process that is said to be a Cortex-M0+: it has no inline assembler, and integers of another size.
title = "a board that its profile promises too much of"
recognise.platforms = ["linux", "darwin"]
target = "armv6m"
tiers = [2, 0]
micropython.tested = "1.29.0"
"""


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_run_on_a_lower_tier_says_so_and_replays_bit_for_bit(
    rule: str, deployed_flash: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "unix.toml").write_text(OWN_PROFILE)
    monkeypatch.setenv("SUBSONG_PROFILES", str(tmp_path / "profiles"))
    with open_port("unix") as port:
        report = deploy(port)
    assert report.tiers == ("machine code", "bytecode")
    result = run_on_board(short_example(rule, 4, 64), port="unix", out=tmp_path / "run.mcap")
    assert result.tier == "bytecode"
    assert "invalid micropython decorator" in result.failed[0]
    header = read_run(tmp_path / "run.mcap").header
    assert (header.engine["profile"], header.engine["tier"], header.engine["target"]) == ("unix", "bytecode", "")
    assert header.engine["failed_tiers"] == list(result.failed)
    assert set(header.manifest["kernels"]) == {"armv6m"}
    assert replay(tmp_path / "run.mcap").difference is None


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        ({2: whole}, "policy: weight_perturbation, frozen; Ctrl-C stops it\npolicy: done\n"),
        ({2: one_number_wrong}, "tier 2, machine code: case 0, trial 0 of the known answers: "),
        ({}, "policy: not started, no tier computes the known answers\n"),
    ],
    ids=["right", "falls", "none"],
)
def test_a_policy_starts_on_the_best_tier_that_is_right(
    alter: dict[int, Alter], said: str, deployed_port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, firmware = with_tiers(alter)
    if not alter:
        network = firmware.sources["kernels/network.py"].replace(b"+ 0x80) >> 8", b"+ 0xC0) >> 8")
        firmware = firmware_of({**firmware.sources, "kernels/network.py": network}, profile)
    monkeypatch.setattr("subsong.deploy.build_firmware", lambda _profile: firmware)
    simulate(shortened("xor"), out=tmp_path / "run.mcap")
    deploy_policy(deployed_port, load_policy(export_policy(tmp_path / "run.mcap", None)))
    with Repl(deployed_port) as repl:
        output = repl.run("import subsong_device.policy_main as p\np.main(trials=2)")
    assert said in output, output
    assert ("policy: done" in output) == bool(alter)


# ------------------------------------------------------------------------------------------ on the emulated Pico


PICO = named_profile("pico")
NODE = "node_perturbation"
# One rule, and few cases: all of them take a tier minutes of emulation (pico_deployed has the best one play them).
FEW = [case for case in CASES if isinstance(case, KnownLearner) and case.rule == NODE][:4]


def text_of(tier: int) -> str:
    """Return the text of the node kernels that a Pico's firmware is made of."""
    text = build_firmware(PICO.model_copy(update={"kernels": "text"}))
    return text.sources[f"{FOLDERS[tier]}/{NODE}.py"].decode()


def altered(changes: dict[int, str]) -> tuple[Firmware, list[str]]:
    """Return the firmware of a Pico with one rule, few known answers and other kernels, and what differs in it.

    Args:
        changes: tier -> text of the kernels.
    """
    sound = build_firmware(PICO)
    sources = {path: text for path, text in sound.sources.items() if Path(path).stem not in set(RULES) - {NODE}}
    files = dict(kernel_file(PICO, tier, NODE, text) for tier, text in changes.items())
    sources |= files | {"known_answers.bin": answers_of(FEW)}
    kernels = {
        target: {name: digest for name, digest in modules.items() if name in (NODE, "tasks")}
        for target, modules in sound.manifest.kernels.items()
    }
    return firmware_of(sources, PICO, kernels), sorted([*files, "known_answers.bin", "profile.py"])


# Says so when the tier is noted and its kernels are about to run.
TRY = """
from subsong_device import main, tiers
tries = tiers._try
def told(tier):
    print("trying")
    return tries(tier)
tiers._try = told
main.prepare()
"""
HANGS_S = SLOWDOWN  # at least one of the board's seconds; sound kernels give every answer sooner


@pytest.mark.slow
@pytest.mark.xdist_group("pico")
def test_a_pico_that_machine_code_hangs_twice_and_whose_viper_has_a_number_wrong_falls_to_bytecode(
    pico_deployed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = text_of(2).replace("data(2,0x", "data(2,0xe7fe,0x", 1)  # b .
    wrong = re.sub(r"\b128\b", "192", text_of(1))  # the rounding of an activation
    assert hanging != text_of(2)
    assert wrong != text_of(1)
    firmware, differing = altered({2: hanging, 1: wrong})
    monkeypatch.setattr("subsong.verify.build_firmware", lambda _profile: firmware)
    with open_port("pico") as port:
        assert deploy(port, firmware).copied == tuple(differing)
    for _ in range(2):
        with open_port("pico") as port:
            Repl(port).__enter__().launch(TRY)
            said = b""
            while not said.endswith(b"trying\r\n"):
                part = port.read_available(120.0)
                assert part, said
                said += part
            assert port.read_available(HANGS_S) == b""
    with open_port("pico") as port:
        experiment = shortened("xor", NODE, trials=6, evaluate_every=0)
        result = run_over(experiment, port, None, tmp_path / "run.mcap")
    hung, differs = result.failed
    assert hung == "tier 2, machine code: the board did not come back from its known answers"
    assert re.match(r"tier 1, viper: case \d+, trial \d+ of the known answers", differs)
    header = read_run(tmp_path / "run.mcap").header
    assert (header.engine["tier"], header.engine["target"]) == ("bytecode", "")
    assert replay(tmp_path / "run.mcap").difference is None
