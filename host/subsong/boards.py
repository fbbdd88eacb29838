"""What `subsong boards` lists: emulated boards, what is plugged in, and what to do next with each.

By default no port is opened: what is known of a board is its USB identity, and what the last deploy or run learned of
it. `probe` opens ports.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from subsong import first_flash
from subsong.bridge import Bridge
from subsong.deploy import device_info, leave_link, start_firmware, verify_firmware
from subsong.errors import BoardError, PortError, ProfileError, SubsongError
from subsong.plugged_in import Drive, UsbDevice, drives, usb_devices
from subsong.ports import Port, PresentPort, emulated_boards, expand_name, open_port, present_ports
from subsong.profile import TIERS, Profile, Usb, load_profiles, profile_of, remarks
from subsong.remembered import Known, key_of, recall, remember


@dataclass(frozen=True)
class BoardEntry:
    """A board.

    Attributes:
        port: what to pass to --port; "" for a board that has no serial port now.
        kind: "emulated", "serial", or "bootloader".
        description: what it is, as far as its USB identity says, or it said itself.
        usable: whether it can be used now, as far as is known.
        hint: what to do next, in one line.
        steps: the same step by step, where one line is too little.
        drive: where it takes firmware, if that is mounted.
        profile: name of its profile; until it was asked, the likeliest one by its USB identity.
        known: what it said last.
        probed: whether it said so now.
        remarks: what its user should know: tiers that its MicroPython lacks, a version never tried.
    """

    port: str
    kind: str
    description: str
    usable: bool
    hint: str
    steps: tuple[str, ...] = ()
    drive: str = ""
    profile: str = ""
    known: Known | None = None
    probed: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def tier(self) -> str:
        """What executes the kernels, in words; "" where nobody asked."""
        return "" if self.known is None or self.known.tier is None else TIERS[self.known.tier]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {**asdict(self), "tier": self.tier}


def list_boards(
    ports: Sequence[PresentPort] | None = None,
    devices: Sequence[UsbDevice] | None = None,
    mounted: Sequence[Drive] | None = None,
) -> list[BoardEntry]:
    """Return every board: emulated ones first, then what is plugged in. Opens no port.

    Args:
        ports: serial ports; by default this machine's.
        devices: on USB; by default this machine's.
        mounted: drives that take firmware; by default this machine's.
    """
    ports = present_ports() if ports is None else ports
    devices = usb_devices() if devices is None else devices
    mounted = drives() if mounted is None else mounted
    entries = [_emulated_entry(name, board) for name, board in sorted(emulated_boards().items())]
    entries += [serial_entry(port, mounted) for port in ports]
    return entries + list(_without_port(ports, devices, mounted))


def profile_rows() -> list[dict[str, Any]]:
    """Return every profile as a row: what the board is, its tiers, its MicroPython, its emulator."""
    return [
        {
            "profile": profile.name,
            "title": profile.title,
            "architecture": profile.architecture,
            "target": profile.target,
            "tiers": [TIERS[tier] for tier in profile.tiers],
            "micropython": {"oldest": profile.micropython.oldest, "tested": profile.micropython.tested},
            "page": profile.micropython.page,
            "emulator": profile.emulator,
        }
        for profile in load_profiles().values()
    ]


def _emulated_entry(name: str, board: Any) -> BoardEntry:
    missing = board.missing()
    known = recall(name)
    profiles = load_profiles()
    profile = next((each for each in profiles.values() if each.emulator == name), profiles["generic"])
    ready = _run_hint(profile, name) if known and known.digest else f"subsong deploy --port {name}"
    hint = f"cannot start: it {missing}" if missing else ready
    return BoardEntry(name, "emulated", board.available, missing is None, hint, profile=profile.name, known=known)


def _run_hint(profile: Profile, port: str) -> str:
    """Return a run that the board has room for."""
    return f"subsong run {'xor' if profile.firmware == 'small' else 'cartpole'} --port {port}"


# ---------------------------------------------------------------------------------------------- serial ports


def serial_entry(port: PresentPort, mounted: Sequence[Drive] = ()) -> BoardEntry:
    """Return the entry of a port that something is plugged into, from its USB identity and what is remembered."""
    found = usb_identity(port.vid, port.pid)
    known = recall(key_of(port))
    title = found[1].title if found else port.product or "unknown USB device"
    drive = next((d for d in mounted if d.board_id and d.board_id == port.serial_number), None)
    profiles = load_profiles()
    profile = profiles.get(known.profile if known else "") or (found[0] if found else profiles["generic"])
    entry = BoardEntry(
        port.path,
        "serial",
        _described(title, known),
        True,
        f"subsong deploy --port {port.path}",
        drive=str(drive.path) if drive else "",
        profile=profile.name,
        known=known,
    )
    if drive is not None and drive.model == "Bootloader":
        hint = "its debugger waits for firmware of its own: unplug the board, and plug it in without pressing reset"
        return replace(entry, usable=False, hint=hint)
    other = first_flash.other_firmware(port.vid, port.pid, drive)
    if other is not None:
        profile = profiles[other[1]]
        steps = first_flash.install(profile, port.path)
        hint = f"runs {other[0]}, no MicroPython: {steps[0]}"
        return replace(entry, usable=False, hint=hint, steps=steps, profile=profile.name)
    if found is not None and found[1].what == "bootloader":
        steps = first_flash.install_on_drive(profile, drive)
        return replace(entry, usable=False, hint=f"waits for MicroPython: {steps[0]}", steps=steps)
    if found is None:
        hint = entry.hint + " (not a board that Subsong knows; anything that runs MicroPython will do)"
        return replace(entry, hint=hint)
    return entry


def _described(title: str, known: Known | None) -> str:
    return f"{title}: MicroPython {known.micropython} on {known.machine}" if known and known.micropython else title


def usb_identity(vid: int | None, pid: int | None) -> tuple[Profile, Usb] | None:
    """Return the profile, and the entry in it, of a USB identity; None if unknown. A product goes before its vendor."""
    every = [(profile, usb) for profile in load_profiles().values() for usb in profile.usb if usb.vid == vid]
    exact = next((pair for pair in every if pair[1].pid == pid), None)
    return exact or next((pair for pair in every if pair[1].pid is None), None)


# ---------------------------------------------------------------------------------------------- no serial port


def _without_port(
    ports: Sequence[PresentPort], devices: Sequence[UsbDevice], mounted: Sequence[Drive]
) -> Iterator[BoardEntry]:
    """Yield the boards that wait in a bootloader: USB devices, then drives whose device nobody names."""
    profiles = load_profiles()
    left = [drive for drive in mounted if drive.kind == "uf2"]
    for device in devices:
        found = usb_identity(device.vid, device.pid)
        if found is None or found[1].what != "bootloader" or _has_port(device, ports):
            continue
        profile, usb = found
        drive = _drive_of(device, left, profile.name)
        if drive is not None:
            left.remove(drive)
        yield _bootloader_entry(usb.title, profile, drive, device.blocks)
    for drive in left:
        profile = profiles.get(first_flash.UF2_CHIPS.get(drive.board_id, ""), profiles["generic"])
        yield _bootloader_entry(f"{drive.model} in its bootloader", profile, drive)


def _has_port(device: UsbDevice, ports: Sequence[PresentPort]) -> bool:
    return any(
        (port.vid, port.pid, port.serial_number) == (device.vid, device.pid, device.serial_number) for port in ports
    )


def _drive_of(device: UsbDevice, mounted: Sequence[Drive], profile: str) -> Drive | None:
    """Return a USB device's drive: by its device file; where none is known, by what the drive says that it is."""
    for drive in mounted:
        if drive.device in device.blocks or (
            not device.blocks and first_flash.UF2_CHIPS.get(drive.board_id) == profile
        ):
            return drive
    return None


def _bootloader_entry(title: str, profile: Profile, drive: Drive | None, blocks: tuple[str, ...] = ()) -> BoardEntry:
    steps = first_flash.install_on_drive(profile, drive, blocks)
    where = f" to {drive.path}" if drive else ""
    hint = f"copy MicroPython{where}: {profile.micropython.page}"
    path = str(drive.path) if drive else ""
    return BoardEntry("", "bootloader", title, False, hint, steps, path, profile.name)


# ---------------------------------------------------------------------------------------------- asking


def probe_boards(
    entries: Sequence[BoardEntry], only: str | None = None, note: Callable[[str], None] = lambda _text: None
) -> list[BoardEntry]:
    """Open ports and ask the boards behind them: whatever runs there is stopped.

    Args:
        entries: of `list_boards`; every serial port that may answer is asked.
        only: ask this port instead, by any of its names; an emulated board is started for it.
        note: told of each port before it is opened.

    Raises:
        PortError: `only` is `auto`, and not one board is plugged in.
    """
    by_path = {port.path: port for port in present_ports()}
    wanted = None if only is None else expand_name(only)
    if wanted is not None and wanted not in [entry.port for entry in entries]:
        entries = [*entries, BoardEntry(wanted, "serial", "named by --port", True, "", profile="generic")]
    asked = []
    for entry in entries:
        if entry.port == wanted if wanted else entry.kind == "serial":
            note(f"asking {entry.port}; what runs there is stopped")
            asked.append(probe(entry, by_path.get(entry.port)))
        else:
            asked.append(entry)
    return asked


def probe(entry: BoardEntry, port: PresentPort | None = None) -> BoardEntry:
    """Ask one board for its MicroPython, profile, firmware and tier.

    Args:
        entry: of the board; its port is opened, and what runs there stopped.
        port: under whose key the answers are remembered; None: under the port's name.
    """
    try:
        with open_port(entry.port) as opened:
            return _ask(entry, opened, key_of(port) if port else entry.port)
    except PortError as error:
        return replace(entry, usable=False, probed=True, hint=_said(error, entry))


def _ask(entry: BoardEntry, port: Port, key: str) -> BoardEntry:
    entry = replace(entry, probed=True)
    guess = load_profiles()[entry.profile]
    try:
        device = device_info(port)
    except BoardError as error:
        # Either it has no MicroPython, or one that a program keeps from its prompt.
        steps = (
            *first_flash.escape(guess, entry.port),
            "without MicroPython:",
            *first_flash.install(guess, entry.port),
        )
        return replace(entry, usable=False, hint=_said(error, entry), steps=steps)
    try:
        first_flash.refuse_other_interpreter(entry.port, device)
        profile = profile_of(device)
    except (BoardError, ProfileError) as error:
        steps = first_flash.install(guess, entry.port)
        return replace(entry, usable=False, hint=_said(error, entry), steps=steps)
    learned: dict[str, Any] = {
        "profile": profile.name,
        "machine": device.machine or device.platform,
        "micropython": device.version,
        "firmware": "",
        "digest": "",
        "tier": None,
    }
    entry = replace(entry, usable=True, profile=profile.name, remarks=remarks(device, profile), steps=())
    try:
        manifest = verify_firmware(port)
        tier, failed = _ask_tier(port)
        learned |= {"firmware": manifest.label, "digest": manifest.digest, "tier": tier}
        entry = replace(entry, remarks=(*entry.remarks, *failed))
        hint = _run_hint(profile, entry.port)
    except PortError:
        raise
    except SubsongError as error:  # the board's firmware, the link, or a kernel of one's own that does not compile
        hint = _said(error, entry)
    remember(key, **learned)
    known = recall(key) or Known(**learned)
    return replace(entry, hint=hint, known=known, description=_described(profile.title, known))


def _said(error: Exception, entry: BoardEntry) -> str:
    """Return an error for a row that names the port already."""
    return str(error).removeprefix(f"port {entry.port}: ")


def _ask_tier(port: Port) -> tuple[int, tuple[str, ...]]:
    """Start the firmware as a run does; return the tier that it chose, and how better ones failed."""
    failed = start_firmware(port)
    bridge = Bridge(port)
    greeting = bridge.hello()
    leave_link(port, bridge)
    return greeting.tier, failed
