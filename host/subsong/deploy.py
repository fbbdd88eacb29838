"""Puts the firmware on a board, proves that it is there, and starts it. All of it over the REPL, before a link is up.

The manifest is written last and removed first, so that an interrupted deploy shows.
"""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass

from subsong.bridge import Bridge
from subsong.device import DeviceInfo, ask_device, device_info
from subsong.errors import BoardError, FirmwareError
from subsong.firmware import PACKAGE, Firmware, Manifest, build_firmware
from subsong.first_flash import refuse_other_interpreter
from subsong.packed import CHUNK, can_unpack, write_file, write_packed
from subsong.policy import Policy
from subsong.ports import Port
from subsong.profile import TIERS, Profile, profile_of, remarks
from subsong.repl import Repl
from subsong.small_deploy import is_small, remove_small, scan_small, start_small, write_small
from subsong.small_firmware import require_version
from subsong.verify import MANIFEST, Found, check, refuse_shadows, scan, verify_board, verify_firmware
from subsong_device import faults
from subsong_device.policy_file import PATH as POLICY
from subsong_device.policy_file import SLOTS
from subsong_device.tiers import FOUND as TIER_FOUND

ENTRY = "subsong_device.main"
IMPORT_S = 60.0  # a board compiles what it imports
NO_TIER = "NoTier"
# From the raw REPL, where the firmware was started, to the prompt that a person expects. Ctrl-C first: a command that
# was sent again and came after the link had ended may have held the key of paste mode.
FRIENDLY = b"\r\x03\x02"
PROMPT = b">>> "
FAREWELLS = 5
FAREWELL_S = 0.5
MAIN = "main.py"
MAIN_MARK = b"# Written by `subsong deploy --policy`"

__all__ = [
    "DeployReport",
    "DeviceInfo",
    "PolicyReport",
    "deploy",
    "deploy_policy",
    "device_info",
    "leave_link",
    "start_firmware",
    "stop_firmware",
    "verify_board",
    "verify_firmware",
]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DeployReport:
    """What a deploy did.

    Attributes:
        copied: paths written, because they were missing or differed.
        deleted: paths of an earlier firmware, removed.
        unchanged: number of files that were right already.
        copied_bytes: sum over `copied`.
        target: the folder on the board.
        manifest: what the board now holds.
        profile: the board's.
        remarks: what its user should know, such as why its tiers are lower than the profile's.
    """

    copied: tuple[str, ...]
    deleted: tuple[str, ...]
    unchanged: int
    copied_bytes: int
    target: str
    manifest: Manifest
    profile: Profile
    remarks: tuple[str, ...]

    @property
    def tiers(self) -> tuple[str, ...]:
        """What may execute the kernels, best first; the board takes the first that computes the known answers."""
        return tuple(TIERS[tier] for tier in self.profile.tiers)


@dataclass(frozen=True)
class PolicyReport:
    """What deploying a policy did.

    Attributes:
        firmware: what deploying the firmware did.
        copied: which of policy.bin and main.py were written.
        drives: whether there is something to drive: the policy's own task, or a plant.py on the board.
        skip_pin: the pin that keeps the policy from starting; None without one.
    """

    firmware: DeployReport
    copied: tuple[str, ...]
    drives: bool
    skip_pin: int | str | None


def deploy(port: Port, firmware: Firmware | None = None, progress: Progress | None = None) -> DeployReport:
    """Make the board hold exactly this firmware. What is right already is not copied.

    Args:
        port: an open port, the board at its prompt or in any program.
        firmware: by default the one that this installation builds for the board.
        progress: called with a path, the bytes copied so far, and the bytes to copy in all.

    Raises:
        BoardError: no MicroPython answers, or the board cannot keep the files.
        FirmwareError: no profile covers the board's MicroPython; or, after copying, the board's hashes are not the
            firmware's; or the small firmware, which has no room to try known answers itself, computes wrong.
        CompileError, EngineError: a kernel cannot be compiled, or is outside the dialect or not
            proved to stay within 32 bits; nothing was copied.
        PortError: the port failed.
    """
    with Repl(port) as repl:
        report = deploy_over(repl, firmware, progress)
    if report.profile.firmware == "small":
        from subsong.small_proof import prove_small

        start_firmware(port)
        try:
            prove_small(port)
        finally:
            stop_firmware(port)
    return report


def deploy_over(repl: Repl, firmware: Firmware | None = None, progress: Progress | None = None) -> DeployReport:
    """Do `deploy` in a REPL that is open."""
    from subsong.ranges import prove_kernels
    from subsong_sim.engines import check_kernels

    # A kernel outside the dialect, or beyond 32 bits, would run here and compute something else there.
    check_kernels()
    prove_kernels()
    device = ask_device(repl)
    refuse_other_interpreter(repl.port.name, device)
    profile = profile_of(device)
    small = profile.firmware == "small"
    if small:
        require_version(repl.port.name, device.version)
    wanted = firmware if firmware is not None else build_firmware(profile)
    manifest = wanted.manifest
    found = scan_small(repl, wanted) if small else scan(repl)
    refuse_shadows(repl.port, found)
    right = {file.path for file in manifest.files if found.files.get(file.path) == (file.size, file.sha256)}
    copied = [file for file in manifest.files if file.path not in right]
    deleted = sorted(set(found.files) - {file.path for file in manifest.files} - {MANIFEST})
    stale_manifest = found.manifest is None or Manifest.from_json(found.manifest) != manifest
    if copied or deleted or stale_manifest:
        # Without its manifest a half-copied firmware is no firmware.
        if found.manifest is not None:
            _remove(repl, found.root, [MANIFEST], small)
        _remove(repl, found.root, deleted, small)
        if not small:
            _remove_folders(repl, found, [file.path for file in manifest.files])
            _make_folders(repl, found.root, [file.path for file in manifest.files])
        total = sum(file.size for file in copied)
        done = 0
        packed = bool(copied) and not small and can_unpack(repl)
        for file in copied:
            _write(repl, found.root, file.path, wanted.sources[file.path], small, packed)
            done += file.size
            if progress is not None:
                progress(file.path, done, total)
        _write(repl, found.root, MANIFEST, manifest.to_json(), small)
        check(repl.port, scan_small(repl, wanted) if small else scan(repl), manifest)
    if not small:
        # Whoever deploys again gives a tier that hung the board another chance.
        repl.run(f"import os\nif {TIER_FOUND!r} in os.listdir():\n os.remove({TIER_FOUND!r})")
    return DeployReport(
        tuple(file.path for file in copied),
        tuple(deleted),
        len(right),
        sum(file.size for file in copied),
        found.root,
        manifest,
        profile,
        remarks(device, profile),
    )


def _write(repl: Repl, root: str, path: str, content: bytes, small: bool, packed: bool = False) -> None:
    if small:
        write_small(repl, path, content)
    elif packed:
        write_packed(repl, root, path, content)
    else:
        write_file(repl, f"{root}/{path}", content)


def _remove(repl: Repl, root: str, paths: list[str], small: bool) -> None:
    for path in paths:
        if small:
            remove_small(repl, path)
            continue
        with repl.errors(f"removing {path}"):
            repl.transport.fs_rmfile(f"{root}/{path}")


def _remove_folders(repl: Repl, found: Found, paths: list[str]) -> None:
    for folder in reversed(found.folders):  # a folder comes before what it holds
        if not any(path.startswith(folder + "/") for path in paths):
            with repl.errors(f"removing {folder}"):
                repl.transport.fs_rmdir(f"{found.root}/{folder}")


def _make_folders(repl: Repl, root: str, paths: list[str]) -> None:
    folders = {path[:i] for path in (f"{root}/{path}" for path in paths) for i, c in enumerate(path) if c == "/" and i}
    repl.run(
        f"import os\nfor p in {sorted(folders)!r}:\n try:\n  os.mkdir(p)\n except OSError as e:\n  "
        "if e.errno != 17:\n   raise\n"
    )


def deploy_policy(
    port: Port,
    policy: Policy,
    learn: bool = False,
    *,
    skip_pin: int | str | None = None,
    save_every: int = 100,
    save_s: int = 60,
    replace_main: bool = False,
    progress: Progress | None = None,
) -> PolicyReport:
    """Put a policy on the board, to start at power-on without a host: policy.bin, and a thin main.py.

    The firmware is deployed first if it is not there. What the board has learned since an earlier deploy is removed.

    Args:
        port: an open port.
        policy: what to run.
        learn: whether the board goes on learning; else the policy is frozen.
        skip_pin: held low at power-on, the policy does not start: what machine.Pin takes on that board, which is asked.
            None: the profile's, if it has one.
        save_every: trials between two saves of what was learned; 0 never saves.
        save_s: seconds between two saves at least.
        replace_main: replace a main.py that is the user's own.
        progress: as for `deploy`.

    Raises:
        BoardError: no MicroPython answers, the board cannot keep the files, has a main.py of its own, or no such pin.
        FirmwareError, PortError: as for `deploy`.
    """
    with Repl(port) as repl:
        if is_small(repl):
            raise FirmwareError(
                f"port {port.name}: the small firmware runs no policy by itself; there, learn with `subsong run`, and "
                "take the policy to a larger board"
            )
        if skip_pin is None:
            skip_pin = profile_of(ask_device(repl)).pins.skip
        else:
            _check_pin(repl, skip_pin)
        start = _main_of_policy(learn, skip_pin, save_every, save_s)
        present = read_file(repl, MAIN)
        if present is not None and not present.startswith(MAIN_MARK) and not replace_main:
            raise BoardError(
                f"port {port.name}: the board has a main.py of its own, which starting a policy would replace; save it "
                f"(mpremote cp :main.py .), then deploy the policy again with --replace-main"
            )
        firmware = deploy_over(repl, progress=progress)
        copied = []
        for path, content in ((POLICY, policy.to_binary()), (MAIN, start)):
            if read_file(repl, path) != content:
                write_file(repl, path, content)
                copied.append(path)
        forget = "import os\nfor k in os.listdir():\n if k in {}:\n  os.remove(k)"
        repl.run(forget.format(SLOTS.files))
        has_plant = read_file(repl, "plant.py") is not None
    return PolicyReport(firmware, tuple(copied), policy.has_task or has_plant, skip_pin)


def _check_pin(repl: Repl, pin: int | str) -> None:
    """Raise BoardError if the board has no such pin. Its pins are looked at, none is changed."""
    # As policy_main does: where MicroPython has no pins, none keeps a policy from starting.
    said = repl.run(
        f"try:\n from machine import Pin\n Pin({pin!r})\nexcept ImportError:\n pass\n"
        "except (ValueError, TypeError) as e:\n print(e)"
    ).strip()
    if said:
        raise BoardError(
            f"port {repl.port.name}: the board has no pin {pin} ({said}); --skip-pin takes what machine.Pin takes there"
        )


def _main_of_policy(learn: bool, skip_pin: int | str | None, save_every: int, save_s: int) -> bytes:
    hold = f"hold pin {skip_pin} low at power-on, or " if skip_pin is not None else ""
    call = f"learn={learn}, skip_pin={skip_pin!r}, save_every={save_every}, save_s={save_s}"
    return (
        MAIN_MARK
        + (
            "; it starts the policy at power-on. Ctrl-C stops it.\n"
            f"# To keep it from starting: {hold}put a file named SKIP beside this one.\n"
            f"import subsong_device.policy_main\n\nsubsong_device.policy_main.main({call})\n"
        ).encode()
    )


def read_file(repl: Repl, path: str) -> bytes | None:
    """Return a file on the board; None if there is none."""
    with repl.errors(f"reading {path}"):
        try:
            return bytes(repl.transport.fs_readfile(path, chunk_size=CHUNK))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise


def start_firmware(port: Port) -> tuple[str, ...]:
    """Start the firmware's link server and hand the port over: the next bytes from it are the board's HELLO frame.

    Before, the board chooses its tier: after a deploy it tries the known answers, which takes a moment.

    Returns:
        Which tiers failed, and how; a line each.

    Raises:
        FirmwareError: the firmware does not load, or computes wrong on every tier; the message ends in what the board
            said.
        BoardError: the board's heap is too small for it.
        PortError: the port failed.
    """
    repl = Repl(port)
    repl.__enter__()
    if is_small(repl):
        start_small(repl)
        return ()
    said = ""
    try:
        # A process has had no soft reset: what an earlier session imported may be an earlier firmware.
        repl.run(f"import sys, gc\nfor k in list(sys.modules):\n if k.startswith({PACKAGE!r}):\n  del sys.modules[k]")
        repl.run(f"gc.collect()\nimport {ENTRY}", IMPORT_S)
        said = repl.run(f"{ENTRY}.prepare()", IMPORT_S)
    except BoardError as error:
        if error.code == faults.NO_MEMORY:  # deploying again would not help
            raise
        if NO_TIER in str(error):
            raise FirmwareError(
                f"{error}\non every tier the board computes something else than the simulator; redeploy "
                f"(subsong deploy --port {port.name}), and if that does not help, install another MicroPython",
                faults.KERNELS,
            ) from error
        raise FirmwareError(
            f"{error}\nthe firmware does not start; redeploy: subsong deploy --port {port.name}"
        ) from error
    repl.launch(f"{ENTRY}.serve()")
    return tuple(said.splitlines())


def leave_link(port: Port, bridge: Bridge) -> bool:
    """Close the link; bring the board from the raw REPL, where its firmware was started, to the prompt for people.

    Returns:
        Whether the prompt came. A board that did not hear CLOSE stays in its link until its dead-man time.

    Raises:
        PortError: the port failed.
    """
    heard = bridge.close()
    said = b""
    # More than once: a board that is just leaving may take the first keys for the link's.
    for _ in range(FAREWELLS if heard else 1):
        port.write(FRIENDLY)
        until = time.monotonic() + FAREWELL_S * port.slowdown
        while heard and not said.endswith(PROMPT) and (left := until - time.monotonic()) > 0:
            said += port.read_available(left)
        if said.endswith(PROMPT):
            return True
    return False


def stop_firmware(port: Port) -> None:
    """Bring the board back to its prompt, whether or not the link was closed before.

    Raises:
        BoardError: no prompt answers.
        PortError: the port failed.
    """
    with Repl(port):
        pass
