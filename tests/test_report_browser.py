"""The report in a real browser: it draws, its script works, and nothing leaves the page."""

import base64
import re
import socket
import threading

import pytest

from browser import browser
from compare_logs import evaluate, make_run, reader, replay_equal
from subsong.compare import compare
from test_compare_report import HOSTILE, hostile_runs

COUNTS = """
(() => {
  const drawn = (element) => { const box = element.getBoundingClientRect(); return box.width > 40 && box.height > 20; };
  return {
    curves: [...document.querySelectorAll("path.thin, path.bold")].filter(drawn).length,
    marks: document.querySelectorAll("svg.plot .mark").length,
    stroke: getComputedStyle(document.querySelector("path.bold.software")).stroke,
    paper: getComputedStyle(document.body).backgroundColor,
    wide: document.documentElement.scrollWidth,
    text: Math.min(...[...document.querySelectorAll("svg text")].map((text) => text.getBoundingClientRect().height)),
    loaded: performance.getEntriesByType("resource").length,
  };
})()
"""


@pytest.fixture(scope="module")
def chromium(need_tool, tmp_path_factory):
    """Yield a running browser."""
    program = need_tool("chromium", "chromium-browser", "google-chrome", apt="chromium")
    with browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def report(tmp_path):
    """Return report(runs, **options): the path of a page."""

    def make(runs, **options):
        named = {f"log{i}.mcap": found for i, found in enumerate(runs)}
        options = {"evaluate": evaluate, "replay": replay_equal, "episodes": 10, **options}
        found = compare([tmp_path / name for name in named], tmp_path / "report.html", read=reader(named), **options)
        return found.path

    return make


def quiet(page) -> None:
    """Assert that the browser has nothing to complain of and asked nobody for anything but the file."""
    for method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Audits.issueAdded"):
        assert page.seen(method) == []
    urls = [request["request"]["url"] for request in page.seen("Network.requestWillBeSent")]
    assert len(urls) == 1
    assert urls[0].startswith("file://")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_the_page_renders_at_every_width_and_scheme(chromium, report, tmp_path, width, scheme):
    runs = [make_run("sim", seed) for seed in (1, 2)] + [make_run("board", seed) for seed in (1, 2)]
    chromium.open(report(runs, margin=20.0), width, 900, scheme)
    found = chromium.evaluate(COUNTS)
    # Two charts: two thin lines a side, and a bold one. One of coarser sensors: seven markers.
    assert found["curves"] >= 2 * 2 * 3
    assert found["marks"] == 2 * (4 * 6) + 7
    assert found["stroke"] == {"light": "rgb(11, 92, 171)", "dark": "rgb(116, 180, 240)"}[scheme]
    assert found["paper"] == {"light": "rgb(251, 250, 247)", "dark": "rgb(21, 22, 26)"}[scheme]
    assert found["wide"] == width, "the page scrolls sideways"
    assert found["text"] >= 10, "a chart's text is too small to read"
    assert found["loaded"] == 0
    quiet(chromium)
    assert len(chromium.screenshot(tmp_path / "page.png")) > 30_000


PRINTED = """
(() => {
  const boxes = [...document.querySelectorAll(".picture")].map((each) => each.getBoundingClientRect());
  const style = (selector, key) =>
    [...new Set([...document.querySelectorAll(selector)].map((each) => getComputedStyle(each)[key]))];
  const hidden = [...document.querySelectorAll("details.source > pre, details.screen")];
  return {
    pictures: boxes.length,
    highest: Math.max(...boxes.map((box) => box.height)),
    columns: new Set(boxes.map((box) => Math.round(box.left))).size,
    wide: document.documentElement.scrollWidth,
    inks: style("svg.plot, svg.strip", "printColorAdjust"),
    divided: style(".picture, tr", "breakInside"),
    hidden: hidden.filter((each) => each.getBoundingClientRect().height > 0).length,
    experiment: [...document.querySelectorAll("details > pre")].at(-1).getBoundingClientRect().height,
  };
})()
"""


@pytest.mark.slow
def test_the_page_prints(chromium, report):
    """On A4 within its margins: every picture whole and in ink; what paper cannot unfold is unfolded, or left out."""
    runs = [make_run("sim", seed) for seed in (1, 2)] + [make_run("board", seed) for seed in (1, 2)]
    width, height = 182 / 25.4 * 96, 266 / 25.4 * 96
    chromium.open(report(runs), round(width), round(height))
    chromium.call("Emulation.setEmulatedMedia", media="print")
    found = chromium.evaluate(PRINTED)
    assert found["pictures"] == 4
    assert found["columns"] == 2
    assert found["highest"] < height / 2
    assert found["wide"] <= round(width)
    assert found["inks"] == ["exact"]
    assert found["divided"] == ["avoid"]
    assert found["hidden"] == 0
    assert found["experiment"] > 200
    pdf = base64.b64decode(
        chromium.call("Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69)["data"]
    )
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8
    quiet(chromium)


def test_the_figures_under_the_pointer_and_under_the_arrow_keys(chromium, report):
    chromium.open(report([make_run("sim"), make_run("board")]), 1200, 2000)
    box = chromium.evaluate(
        "(() => { const box = document.querySelector('#by-trial svg.plot').getBoundingClientRect();"
        " return [box.left, box.top, box.width, box.height]; })()"
    )
    outputs = "[...document.querySelectorAll('#by-trial output')].map((output) => output.textContent)"
    assert chromium.evaluate(outputs) == ["", "", ""]
    chromium.move(box[0] + box[2] / 2, box[1] + box[3] / 2)
    software, hardware, place = chromium.evaluate(outputs)
    assert place == "at 60 trials"
    points = chromium.evaluate(
        "JSON.parse(document.getElementById('by-trial-data').textContent).series.map((series) => series.points[59][1])"
    )
    for shown, value in zip((software, hardware), points, strict=True):
        assert float(shown.replace("\u2212", "-")) == pytest.approx(value, rel=1e-3)
    chromium.move(1, 1)
    assert chromium.evaluate(outputs) == ["", "", ""]
    chromium.evaluate("document.getElementById('by-trial').focus()")
    chromium.press("ArrowRight")
    assert chromium.evaluate(outputs)[2] == "at 1 trials"
    chromium.press("Escape")
    assert chromium.evaluate(outputs) == ["", "", ""]
    quiet(chromium)


def test_hostile_logs_run_nothing_and_load_nothing(chromium, report):
    chromium.open(report(hostile_runs()), 1200, 900)
    assert chromium.evaluate("document.images.length") == 0
    assert chromium.evaluate("document.scripts.length") == 4
    assert chromium.evaluate("document.body.textContent").count(HOSTILE.split("\u202e", maxsplit=1)[0]) > 3
    assert chromium.seen("Page.javascriptDialogOpening") == []
    quiet(chromium)


def test_the_policy_stops_what_should_slip_through(chromium, report, tmp_path):
    """Break the page on purpose: even unescaped markup would run nothing and reach nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = threading.Event()

        def listen() -> None:
            try:
                server.accept()
            except OSError:
                return
            reached.set()

        thread = threading.Thread(target=listen)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        attack = (
            f'<script>window.broken = 1; fetch("{url}")</script><img src="{url}" onerror="window.broken = 1">'
            f'<link rel="stylesheet" href="{url}">'
        )
        path = report([make_run("sim"), make_run("board")])
        broken = tmp_path / "broken.html"
        broken.write_text(path.read_text(encoding="utf-8").replace("</main>", attack + "</main>"), encoding="utf-8")
        chromium.open(broken, 1200, 900)
        assert chromium.evaluate("window.broken === undefined")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        assert not reached.is_set()
    blocked = [entry["entry"]["text"] for entry in chromium.seen("Log.entryAdded")]
    assert any("Content Security Policy" in text for text in blocked)
