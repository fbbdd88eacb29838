"""What is read from a board, a log or a file is data: nothing that would run it, and nothing that listens, is called.

Walks the sources. Each exception has its reason, and must still be there.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("device", "sim", "host", "hil")
# Unpickling runs what it reads; so does yaml without care.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "runpy", "code", "codeop"}
SERVERS = {"socketserver", "http.server", "xmlrpc", "asyncio", "wsgiref", "flask", "aiohttp", "tornado", "uvicorn"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
# Of any object: that run text, start a shell, name a file that somebody else may make first, or listen.
CALLS = {"exec_module", "import_module", "spec_from_file_location", "system", "popen", "mktemp", "bind", "listen"}
CALLS |= {"create_server", "start_server", "serve_forever", "extractall", "unpack_archive", "literal_eval", "make"}
ALLOWED = {
    # Kernels are this package's own files, or a file that the user names; joined text lies in a cache that is the
    # user's own (mode 0700), under the hash of its content.
    ("sim/subsong_sim/loader.py", "spec_from_file_location"),
    ("sim/subsong_sim/loader.py", "exec_module"),
    # A rule is an index into frames.RULES, checked before: no name comes over the link.
    ("device/subsong_device/block.py", "__import__"),
    # The user's plant on the user's board, by one fixed name.
    ("device/subsong_device/policy_main.py", "__import__"),
    ("device/subsong_device/plant_guard.py", "__import__"),
    # A session of the link listens to its host; a board's firmware imports no sockets (below).
    ("device/subsong_device/session.py", "listen"),
    ("device/subsong_device/task_run.py", "listen"),
    # pytest's, which makes the folder.
    ("hil/subsong_hil/fixtures.py", "mktemp"),
    # What a board prints is read as a literal: numbers, texts, tuples. It never runs.
    ("host/subsong/device.py", "literal_eval"),
    ("host/subsong/verify.py", "literal_eval"),
    ("host/subsong/small_deploy.py", "literal_eval"),
    # A sweep hands its work to processes of its own, through pipes of their own; joblib's files are not used.
    ("host/subsong/sweep/workers.py", "joblib"),
    ("host/subsong/sweep/workers.py", "joblib.externals.loky.process_executor"),
    # Gymnasium makes the environment that the user's experiment names; for "MODULE:ID" it imports MODULE. Experiments
    # in logs are read and replayed, and make no environment (below); compared, none whose id names a module.
    ("sim/subsong_sim/plants/gym.py", "make"),
}
MAKES_PLANTS = {"host/subsong/session.py", "host/subsong/defaults.py"}  # the latter what a command line names


@cache
def files(*folders: str) -> list[tuple[str, ast.Module]]:
    """Return (path, tree) of every file that ships."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in paths
        if path.parent.name != "hil"  # the suite for real boards: tests
    ]


def found(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield (what, line) of each call and import that runs what it is given, or listens."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                if name in SERVERS or name.split(".")[0] in MODULES | SERVERS:
                    yield name, node.lineno
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in RUNS_TEXT | {"literal_eval"}:
                yield function.id, node.lineno
            elif isinstance(function, ast.Attribute) and function.attr in CALLS:
                yield function.attr, node.lineno
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield keyword.arg, node.lineno
            loads = isinstance(function, ast.Attribute) and ast.unparse(function) in ("np.load", "numpy.load")
            if loads and not any(keyword.arg == "allow_pickle" for keyword in node.keywords):
                yield "np.load", node.lineno


def test_nothing_runs_what_it_reads_and_nothing_listens() -> None:
    seen = {(path, what): line for path, tree in files(*FOLDERS) for what, line in found(tree)}
    assert [f"{path}:{seen[path, what]}: {what}" for path, what in seen.keys() - ALLOWED] == []
    assert ALLOWED - seen.keys() == set(), "exceptions that are not needed any more"


def test_experiments_out_of_logs_make_no_environment() -> None:
    """Whoever calls make_plant has the experiment from a file that the user named."""
    callers = {
        path
        for path, tree in files("host")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "make_plant"
    }
    assert callers == MAKES_PLANTS


def test_the_firmware_has_no_network() -> None:
    for path, tree in files("device"):
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"socket", "network", "asyncio", "bluetooth", "webrepl"} & set(names), path


def test_the_board_imports_names_that_are_its_own() -> None:
    """Every __import__ there is of a constant, or of names out of the firmware's own tables."""
    for _, tree in files("device"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
                names = {each.id for each in ast.walk(node.args[0]) if isinstance(each, ast.Name)}
                assert names <= {"package", "frames", "rule", "tier"}, ast.unparse(node)


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from pickle import loads", "eval(x)", "exec(x)", "compile(x, '', 'exec')", "__import__(x)",
     "subprocess.run(x, shell=True)", "np.load(x)", "np.load(x, allow_pickle=True)", "tempfile.mktemp()",
     "s.bind(('', 1))", "s.listen()", "import http.server", "import socketserver", "os.system(x)", "t.extractall()",
     "importlib.import_module(x)", "import asyncio"],
)  # fmt: skip
def test_it_would_be_found(text: str) -> None:
    assert list(found(ast.parse(text)))
