"""The page by itself: well-formed, self-contained, strict, legible, and deaf to what logs would have it do."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compare_logs import FakeReplay, evaluate, make_run, reader, replay_equal
from subsong.compare import compare
from subsong.compare.figures import scale
from subsong.compare.markup import clean, data, escape, number, pretty, tag
from subsong.runlog.records import Event

VOID = {"meta", "br", "hr", "col", "link", "input"}
# Every way in which a page can load or run something else.
LOADING = {
    "src",
    "href",
    "srcset",
    "action",
    "formaction",
    "poster",
    "background",
    "xlink:href",
    "ping",
    "data",
    "style",
}
HOSTILE = '</script></style></title><script>alert("x")</script><img src=x onerror=alert(1)>\'"&\u202eevil\x00\x1b[31m'


class Strict(HTMLParser):
    """Parses a page and refuses what browsers merely repair."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def page(tmp_path):
    """Return page(runs, **options): the text of a report."""

    def make(runs=None, names=None, **options):
        runs = runs or [make_run("sim"), make_run("board")]
        named = dict(zip(names or [f"log{i}.mcap" for i in range(len(runs))], runs, strict=True))
        options = {"evaluate": evaluate, "replay": replay_equal, "episodes": 10, **options}
        compare([tmp_path / name for name in named], tmp_path / "report.html", read=reader(named), **options)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return make


def hostile_runs():
    """Return runs whose every string attacks the page."""
    board = make_run(
        "board",
        plant=HOSTILE,
        engine={HOSTILE: HOSTILE, "nested": {"tier": HOSTILE}},
        manifest={HOSTILE: HOSTILE},
        started_ns=1 << 80,
    )
    board.events.append(Event(HOSTILE, HOSTILE, {"repeated": HOSTILE}))
    return [make_run("sim", plant=HOSTILE, engine={"name": HOSTILE}), board]


def test_the_page_is_well_formed_and_says_what_it_is(page):
    text = page()
    parsed = Strict(text)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert parsed.texts["h1"] == ["CartPole-v1, weight perturbation"]
    found = ["What was found", "The gap, part by part", "The gap as a sum", "Transfer", "Statistics"]
    assert parsed.texts["h2"][:5] == found
    assert parsed.texts["h2"][-4:] == ["Left out, and to keep in mind", "Runs", "What was compared", "How to reproduce"]
    assert text.index("<figure") < text.index("<h2") < text.index("<table")
    assert text.rindex("</figure>") < text.index("<h2")
    assert len(parsed.all("h1")) == 1


def test_the_page_holds_everything_and_loads_nothing(page):
    text = page()
    parsed = Strict(text)
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    for name, attributes in parsed.tags:
        assert name not in {"link", "iframe", "object", "embed", "img", "image", "use", "base", "form", "a", "audio"}
        assert not LOADING & attributes.keys(), f"<{name}> {attributes}"
        assert not [key for key in attributes if key.startswith("on")]


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(page):
    parsed = Strict(page())
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    scripts = [text for text in parsed.texts["script"] if not text.startswith("{")]
    assert rules == {
        "default-src": "'none'",
        "style-src": hashed("".join(parsed.texts["style"])),
        "script-src": hashed("".join(scripts)),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # The policy stands before anything that it governs.
    names = [name for name, _ in parsed.tags]
    assert names.index("meta") < names.index("style")
    assert parsed.tags[3][1].get("http-equiv") == "Content-Security-Policy"


def test_hostile_strings_stay_text(page):
    found = FakeReplay(9, 9, difference=HOSTILE)
    text = page(hostile_runs(), names=["<b>sim.mcap", "$(touch x) `y`;'.mcap"], replay=lambda *_: found)
    parsed = Strict(text)
    assert not parsed.all("img")
    assert not parsed.all("b")
    # Three charts' data and the page's own script, as in any other report.
    assert [script.get("type") for script in parsed.all("script")] == ["application/json"] * 3 + [None]
    assert not any("onerror" in attributes for _, attributes in parsed.tags)
    # It is there, to be read; what would disguise it is shown as code points.
    assert '</script></style></title><script>alert("x")</script>' in "".join(
        "".join(texts) for texts in parsed.texts.values()
    )
    assert not set(text) & {"\u202e", "\x00", "\x1b"}
    assert "\\u202eevil\\u0000\\u001b[31m" in text


def test_names_of_logs_are_quoted_for_a_shell(page):
    parsed = Strict(page(names=["sim.mcap", "$(touch x) `y`;'.mcap"]))
    commands = next(text for text in parsed.texts["pre"] if text.startswith("subsong replay"))
    name = re.escape("""/$(touch x) `y`;'"'"'.mcap'""")
    assert re.search(rf"^subsong replay '/[^\n]*{name}$", commands, re.MULTILINE)


def test_a_string_without_end_is_cut(page):
    text = page([make_run("sim", plant="x" * 2_000_000), make_run("board")])
    assert len(text) < 500_000
    assert re.search(r"x \[cut: 19800\d\d more characters\]", text)


def test_the_charts_draw_every_run_and_carry_their_figures(page):
    runs = [make_run("sim", seed) for seed in (1, 2, 3)] + [make_run("board", seed, trials=60) for seed in (1, 2)]
    text = page(runs)
    parsed = Strict(text)
    paths = parsed.all("path")
    for chart in re.findall(r"<figure.*?</figure>", text, re.DOTALL)[:2]:
        looks = re.findall(r'<path class="([a-z ]+)"', chart)
        assert looks.count("thin software") == 3
        assert looks.count("thin hardware") == 2
        for look in ("band software", "bold software", "band hardware", "bold hardware"):
            assert looks.count(look) == 1
    for path in paths:
        places = [float(value) for value in re.findall(r"-?[\d.]+", path["d"])]
        assert places
        assert all(-0.1 <= place <= 1000.1 for place in places)
    charts = [json.loads(text) for text in parsed.texts["script"] if text.startswith("{")]
    assert [chart["name"] for chart in charts] == ["trials", "steps", "bits of every sensor"]
    assert [series["name"] for series in charts[0]["series"]] == ["Software", "Hardware"]
    assert charts[0]["series"][0]["points"][0][0] == 1


def test_trials_of_one_length_need_no_second_chart(page):
    runs = [make_run("sim"), make_run("board")]
    for found in runs:
        found.trials = [each if each.evaluate else each._replace(steps=200) for each in found.trials]
    text = page(runs)
    assert "Every trial had 200 steps." in text
    assert "by-step" not in text


def test_the_report_shows_what_was_compared(page):
    text = page(margin=12.5)
    parsed = Strict(text)
    cells = parsed.texts["td"]
    for word in ("as nominal", "0.1", "8", "mismatched"):
        assert word in cells
    items = parsed.texts["dd"]
    for word in ("unix", "1.29.0", "bytecode", "0.68.1", "a" * 64, "2025-10-09 08:54 UTC"):
        assert word in items
    assert "--episodes 10 --margin 12.5 -o" in text
    assert any("force_mag = 8.0" in shown for shown in parsed.texts["pre"])


# ---------------------------------------------------------------------------------------------- colours


def contrast(one: str, two: str) -> float:
    """Return the contrast ratio of two #rrggbb colours (WCAG 2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_of_text_is_legible_light_dark_and_printed():
    css = files("subsong.compare").joinpath("assets", "report.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(schemes) == 3
    for colours in schemes:
        for name in ("ink", "soft", "software", "hardware", "untrained", "good", "bad"):
            for ground in ("paper", "faint"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        # The sides differ in light as well as in hue, for those who see no hue: and by marker and name besides.
        assert contrast(colours["software"], colours["hardware"]) >= 1.05


# ---------------------------------------------------------------------------------------------- markup


@given(st.text())
def test_escaped_text_comes_back_as_it_was_cleaned(text):
    parsed = Strict(tag("p", text, title=text))
    assert "".join(parsed.texts.get("p", [])) == clean(text).replace("\r\n", "\n")
    assert parsed.all("p")[0]["title"] == clean(text)


@example(HOSTILE)
@example({"<!--<script>": "</ScRiPt >", "]]>": "&lt;"})
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_embedded_data_cannot_leave_its_element(value):
    markup = data("x", value)
    assert markup.count("<") == markup.count(">") == 2  # its own tags: browsers end a script at less than Python does
    parsed = Strict(markup)
    assert json.loads("".join(parsed.texts["script"])) == value
    assert len(parsed.tags) == 1


def test_nothing_but_markup_is_taken_for_markup():
    assert escape("<b>") == "&lt;b&gt;"
    assert escape(["<", None, 3, tag("i", "&")]) == "&lt;3<i>&amp;</i>"
    assert tag("p", hidden=True, id=None, data_x=0) == '<p hidden data-x="0"></p>'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1234.5678, "1,235"), (-475.0, "-475"), (0.00123456, "0.001235"), (9.99999, "10"),
        (3e-9, "3.000e-09"), (-2.5e12, "-2.500e+12"), (None, "-"), (float("nan"), "nan"), (99.995, "100"),
    ],
)  # fmt: skip
def test_numbers_are_written_to_be_read(value, text):
    assert number(value) == text


def test_decimals_can_be_fixed():
    assert number(15.5871, places=1) == "15.6"
    assert number(-0.04, places=1) == "0.0"
    assert number(12345.678, places=0) == "12,346"


def test_minus_signs_are_for_figures():
    assert pretty("-480 to (-2.5), CartPole-v1 a-3 p < -.5") == "M480 to (M2.5), CartPole-v1 a-3 p < M.5".replace(
        "M", "\u2212"
    )


# ---------------------------------------------------------------------------------------------- scales


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.booleans())
def test_an_axis_shows_its_values_and_few_ticks(low, width, tight):
    high = low + width
    axis = scale(low, high, tight=tight)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low - slack <= low <= high <= axis.high + slack
    assert 1 <= len(axis.ticks) <= 8
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in axis.ticks)
    assert list(axis.ticks) == sorted(set(axis.ticks))


def test_ticks_are_told_apart():
    assert scale(1186.2, 1187.9).labels == ["1,186", "1,186.5", "1,187", "1,187.5", "1,188"]
    assert scale(0.0, 100.0).labels == ["0", "20", "40", "60", "80", "100"]
