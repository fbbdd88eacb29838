"""Kernels joined from several files into one module: what cannot be joined is refused, with the place."""

import ast
from collections.abc import Callable, Iterator

import pytest

from subsong_sim import loader
from subsong_sim.engines import LocalLearner
from subsong_sim.errors import EngineError

Write = Callable[..., None]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return write(name=text, ...): modules of kernels that take the firmware's place."""
    texts: dict[str, str] = {}

    def parse(module: str) -> tuple[ast.Module, str]:
        name = module.rsplit(".", maxsplit=1)[-1]
        return ast.parse(texts[name]), f"{name}.py"

    monkeypatch.setattr(loader, "_parse", parse)
    loader.gather.cache_clear()
    yield texts.update
    loader.gather.cache_clear()


KERNEL = "def {name}(n: int) -> int:\n    return n + {value}\n"


def test_imported_kernels_and_constants_come_first(write: Write) -> None:
    write(
        a="LIMIT = 5\n\n\n" + KERNEL.format(name="low", value="LIMIT"),
        b="from subsong_device.a import LIMIT, low\n\n\ndef high(n: int) -> int:\n    return low(n) * LIMIT\n",
    )
    gathered = loader.gather("subsong_device.b", ("high",))
    assert list(gathered.functions) == ["low", "high"]
    assert gathered.constants == {"LIMIT": 5}
    module = loader.import_text("joined", loader.render(gathered, "cpython"))
    assert module.high(2) == 35


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"a": "LIMIT = 5\n", "b": "from subsong_device.a import LIMIT\n\nLIMIT = 6\n"},
            r"b\.py:3: two constants are called LIMIT; rename one",
        ),
        (
            {"a": "LIMIT = 5\nX = 1\n", "c": "LIMIT = 6\nY = 1\n"}
            | {"b": "from subsong_device.a import X\nfrom subsong_device.c import Y\n"},
            r"b\.py:2: two constants are called LIMIT; rename one",
        ),
        (
            {
                "a": KERNEL.format(name="low", value=1),
                "b": "from subsong_device.a import low\n\n\n" + KERNEL.format(name="low", value=2),
            },
            r"b\.py: two kernels are called low; rename one",
        ),
        (
            {"a": "LIMIT = 5\n", "b": "from subsong_device.a import LIMITS\n"},
            r"b\.py:1: subsong_device\.a has no LIMITS",
        ),
        ({"b": "def f(n: int) -> int:\n    return -n\n"}, r"b\.py:2: unary USub"),
    ],
)
def test_what_cannot_be_joined_is_refused(write: Write, texts: dict[str, str], message: str) -> None:
    write(**texts)
    with pytest.raises(EngineError, match=message):
        loader.gather("subsong_device.b", ())


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match=r"kernel module subsong_device\.nothing: .*No such file"):
        loader.gather("subsong_device.nothing", ())


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineError, match="engine 'viper': choose cpython or numba"):
        loader.load("subsong_device.tasks", ("task_begin",), "viper")


def test_a_learner_of_an_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineError, match="engine 'viper': choose native, numba or cpython"):
        LocalLearner("hebb", b"", b"", "viper")
