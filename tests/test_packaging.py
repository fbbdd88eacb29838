"""One distribution of four packages: the wheel holds what a user needs, and works far from the repository.

Builds without isolation and installs without dependencies, so no network is needed: the environment that the tests run
in lends its own, by one line in a .pth file.
"""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"subsong_device": "device", "subsong_sim": "sim", "subsong": "host", "subsong_hil": "hil"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = [
    pytest.mark.slow,
    # One worker for this file: the environments below are made once.
    pytest.mark.xdist_group("packaging"),
]


def call(*command: str | Path, cwd: Path) -> str:
    """Run a program as a user outside the repository would; return what it printed, or fail with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(target: str, source: Path, folder: Path) -> Path:
    """Build one wheel or sdist of the tree at `source`."""
    call(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=source)
    (built,) = folder.iterdir()
    return built


def make_environment(folder: Path, *install: str | Path) -> Path:
    """Make a virtual environment that borrows the dependencies of this one; return its Python."""
    call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    purelib = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip()
    # A folder named by a .pth file goes behind the environment's own, and .pth files in it stay unread: this
    # environment's editable subsong is out of sight.
    (Path(purelib) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    # --ignore-installed: the borrowed folder may hold a subsong of its own, which is not ours to remove.
    call(*pip, "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", *install, cwd=folder.parent)
    return python


def homes(python: Path, cwd: Path) -> dict[str, Path]:
    """Import every package and say where each came from."""
    program = "import importlib, sys; [print(importlib.import_module(name).__file__) for name in sys.argv[1:]]"
    files = call(python, "-c", program, *PACKAGES, cwd=cwd).splitlines()
    return {name: Path(file).resolve().parent for name, file in zip(PACKAGES, files, strict=True)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("user") / "venv", wheel)


def test_the_wheel_holds_exactly_what_the_packages_hold(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT / folder))
        for name, folder in PACKAGES.items()
        for path in (ROOT / folder / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == there


def test_the_wheel_holds_firmware_sources_examples_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        licence = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(licence[0]).decode().startswith("MIT License")
    assert "subsong_device/layout.py" in names
    assert {"subsong/examples/xor.toml", "subsong/examples/cartpole.toml"} <= set(names)
    assert {"subsong/profiles/pico.toml", "subsong/profiles/generic.toml"} <= set(names)
    assert f"subsong-{PROJECT['version']}-py3-none-any.whl" == wheel.name


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    source = build("sdist", ROOT, tmp_path / "sdist")
    call(sys.executable, "-m", "tarfile", "-e", source, tmp_path / "unpacked", cwd=tmp_path)
    (tree,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", tree, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_an_installed_wheel_works_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    for name, home in homes(installed, tmp_path).items():
        assert home.is_relative_to(installed.parent.parent), f"{name} came from {home}"
    script = installed.with_name("subsong")
    assert "Usage: subsong" in call(script, "--help", cwd=tmp_path)
    program = (
        "from importlib.resources import files as f; print(f('subsong').joinpath('examples/xor.toml').read_text())"
    )
    assert "[network]" in call(installed, "-c", program, cwd=tmp_path)
    program = (
        "from subsong.firmware import build_firmware as b; from subsong.profile import named_profile as n; "
        "print(b(n('esp32')).manifest.kernels.keys(), len(b(n('unix')).sources))"
    )
    assert "viper" in call(installed, "-c", program, cwd=tmp_path)


def test_an_editable_install_resolves_each_package_to_its_folder(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv", "--editable", ROOT)
    assert homes(python, tmp_path) == {name: ROOT / folder / name for name, folder in PACKAGES.items()}
    assert "Usage: subsong" in call(python.with_name("subsong"), "--help", cwd=tmp_path)
