"""What a board, a device or a log calls itself: no file of that name outside its folder, no command to a terminal."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runlog_sessions import header
from subsong import console
from subsong.cli.app import report
from subsong.device import ask_device
from subsong.errors import BoardError
from subsong.experiment_text import example_text
from subsong.keys import key_path
from subsong.policy import export_policy
from subsong.remembered import key_of, recall, remember
from subsong.repl import Repl
from subsong.runlog import Recorder, recover
from subsong.verify import scan
from test_bridge import XOR, block_of

HOSTILE = [
    "../../x", "/etc/passwd", "..", ".", "", "a\0b", "C:\\Windows\\x", "\\\\host\\share", "~/x", "x/" * 500, "y" * 5000,
    "CON", "nul", "com1.txt", "\x1b]0;title\x07", "\u202egnp.exe", "a\nb", "$(touch x)", "*", "-rf",
]  # fmt: skip
RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))}


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_board_of_any_name_is_remembered_in_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cache" / "known"
    port = SimpleNamespace(serial_number=name, vid=0x2E8A, pid=5, path="/dev/ttyACM0")
    for key in (key_of(cast("Any", port)), name):
        assert remember(key, folder, machine="a board")
        known = recall(key, folder)
        assert known is not None
        assert known.machine == "a board"
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in everything} == {folder}
    for path in everything:
        assert path.name.split(".")[0].lower() not in RESERVED
        assert len(path.name) < 200
        assert path.name.isascii()


@pytest.mark.parametrize("board", [0, 1, 0xFFFFFFFF])
def test_a_key_is_kept_by_a_number(board: int) -> None:
    assert key_path(board).name == f"{board:08x}.key"


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a\0b", "y" * 5000], ids=["up", "absolute", "NUL", "long"])
def test_what_a_log_calls_itself_names_no_file(tmp_path: Path, name: str) -> None:
    """Recovered logs, policies and pictures lie beside the log, under its own name, whatever is written in it."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log, block = folder / "a.mcap", block_of(XOR)
    said = header("sim", block.n_sensors, block.n_actuators)
    told = {"plant": name, "engine": {"name": name, "machine": name}, "manifest": {name: name}}
    recorder = Recorder(log, replace(said, experiment_toml=example_text("xor"), **told))
    recorder.state(name, block.head, block.mem)
    recorder.state("trial-" + name, block.head, block.mem)
    recorder.state("final", block.head, block.mem)
    recorder.close()
    (folder / "b.mcap").write_bytes(log.read_bytes()[:-10])
    recover(folder / "b.mcap")
    export_policy(log)
    assert {path.name for path in folder.iterdir()} == {"a.mcap", "b.mcap", "b.recovered.mcap", "a.policy.json"}
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


# ------------------------------------------------------------------------------------------------- what a board says


class Talker:
    """A board that prints what it is told to, whatever is asked."""

    def __init__(self, says: str) -> None:
        self.says = says
        self.port = SimpleNamespace(name="a0")

    def run(self, _code: str, _timeout_s: float = 0.0) -> str:
        return self.says


@pytest.mark.parametrize(
    "says",
    ["F ('a', 1)", "F 5", "F ('a', 'b', b'c')", "F (['a'], 1, b'c')", "F ('a', 1, 'c')", "R 7", "D None", "S ['x']",
     "M 'x'", "M None", "X", "R " + "(" * 5000, "F __import__('os').system('true')", "R f'{1}'", "D " + "9" * 5000],
)  # fmt: skip
def test_a_list_of_files_that_is_none_is_one_clear_error(says: str) -> None:
    with pytest.raises(BoardError, match=r"^port a0: the board's list of files is garbled at ") as raised:
        scan(cast("Repl", Talker(says)))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("says", ["{'name': __import__('os')}", "(" * 5000, "{}", "[1]", "{'name': 'x' * 9}", ""])
def test_an_account_that_is_none_is_one_clear_error(says: str) -> None:
    with pytest.raises(BoardError, match=r"^port a0: the board's account of itself is garbled"):
        ask_device(cast("Repl", Talker(says)))


# ------------------------------------------------------------------------------------------------- terminals

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\r\u202e\u2066x\x7f\x00"


def harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


def test_text_keeps_its_letters_and_loses_its_commands() -> None:
    assert console.plain("a µs\tb\r\nc ▁▂█") == "a µs\tb\nc ▁▂█"
    assert console.plain("a\x1b[31mb\u202ec") == "a\\u001b[31mb\\u202ec"
    assert harmless(console.plain(ESCAPES + "".join(map(chr, range(0x300)))))


def test_nothing_that_is_printed_commands_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report(BoardError(f"port a0: the board failed while running code:\n{ESCAPES}"))
    report(OSError(2, f"no such file {ESCAPES}", ESCAPES))
    report(ValueError(ESCAPES))
    console.last_screen(f"title {ESCAPES}", [("board", ESCAPES)], then=ESCAPES)
    console.table(["port", ESCAPES], [["a0", ESCAPES]])
    console.PlainProgress().note(ESCAPES)
    said = capsys.readouterr()
    assert "owned" in said.out
    assert "owned" in said.err
    assert harmless(said.out)
    assert harmless(said.err)


def test_bars_and_notes_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bars = console.BarProgress()
    bars.start(f"label {ESCAPES}", 3)
    bars.note(f"note {ESCAPES}")
    bars.finish()
    said = capsys.readouterr().err
    assert "owned" in said
    assert "\x1b]0" not in said
    assert "\x07" not in said


def test_json_holds_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    from subsong.cli.options import show_json

    show_json({"board": ESCAPES})
    said = capsys.readouterr().out
    assert harmless(said)
    assert json.loads(said) == {"board": ESCAPES}
