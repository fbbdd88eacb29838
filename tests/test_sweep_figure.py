"""What a sweep came to, in figures and in pictures."""

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from subsong.experiment_text import example_text, parse_toml
from subsong.sweep import Outcome
from subsong.sweep.figure import draw, listing
from subsong.sweep.grid import grid, parse_varied
from subsong.sweep.summary import quartiles, summarise, wilson
from subsong.sweep.work import Run

XOR = parse_toml(example_text("xor"), "xor")
RATES, AMPLITUDES = "learner.rate_shift=9,11,12", "learner.amplitude=0.1,0.2"
RULES = "learner.rule=weight_perturbation,node_perturbation"
SVG = "{http://www.w3.org/2000/svg}"


def test_quartiles_are_values_and_never_is_one_of_them() -> None:
    never = float("inf")
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.0, 2.0, 3.0)
    assert quartiles([never, 1.0, never, 2.0]) == (1.0, 2.0, never)


def test_intervals_of_shares_are_wilsons() -> None:
    """The figures are those of Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(hits, n)
        assert (round(found.low, 4), found.middle, round(found.high, 4)) == (low, hits / n, high)
    for n in range(1, 100):
        assert wilson(0, n).low == 0
        assert wilson(n, n).high == 1


def outcome(
    *vary: str, goal: bool = True, reached: Callable[[int], int | None] = lambda k: None if k == 1 else 100 * k
) -> Outcome:
    """A sweep of two seeds that reached its goal, at setting k, after so many trials."""
    tables = XOR if goal else XOR | {"run": {key: value for key, value in XOR["run"].items() if key != "stop_cost"}}
    varied = parse_varied(vary)
    runs = [
        (each, [Run("", seed, "", 200, 800, 0.1 * k, reached(k), "", ()) for seed in (1, 2)])
        for k, each in enumerate(grid(tables, "xor", varied))
    ]
    return Outcome(varied, [summarise(*each) for each in runs], [], len(runs), 0)


def drawn(of: Outcome) -> ET.Element:
    """Draw it; see that it is XML, and that every text ends within the picture, were its letters 0.6 em wide."""
    picture = draw(of, "a <title> & more")
    assert "nan" not in picture
    assert "inf" not in picture
    root = ET.fromstring(picture)
    assert all(each.tag.startswith(SVG) for each in root.iter())
    left, _, width, _ = map(float, root.attrib["viewBox"].split())
    for text in root.iter(f"{SVG}text"):
        wide = 0.6 * float(text.attrib["font-size"]) * len(text.text or "")
        start = float(text.attrib["x"]) - wide * {"start": 0, "middle": 0.5, "end": 1}[text.attrib["text-anchor"]]
        assert left <= start < start + wide <= left + width, text.text
    assert all(float(each.attrib[side]) > 0 for each in root.iter(f"{SVG}rect") for side in ("width", "height"))
    return root


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def fills(root: ET.Element) -> list[str]:
    """The colours of a map's cells, the first map's before the second's."""
    return [each.attrib["fill"] for each in root.iter(f"{SVG}rect")][1:]


@pytest.mark.parametrize(
    ("of", "tag", "count"),
    [
        (outcome(RATES), "circle", 3 + 2),  # the share of every setting, the trials of those that got there
        (outcome(RATES, goal=False), "circle", 3),
        (outcome(RATES, AMPLITUDES), "rect", 1 + 2 * 6),
        (outcome(RATES, AMPLITUDES, RULES), "text", 2 + (3 + 3) + 12 * (3 + 3)),  # title, heading, headers, rows
    ],
)
def test_pictures_show_every_setting(of: Outcome, tag: str, count: int) -> None:
    root = drawn(of)
    assert len(list(root.iter(f"{SVG}{tag}"))) == count
    assert texts(root)[0] == "a <title> & more"


@pytest.mark.parametrize(
    "vary",
    [
        (RULES, AMPLITUDES),
        (AMPLITUDES, RULES),
        (RULES,),
        (RATES, AMPLITUDES, RULES),
        ("network.layers=" + ",".join(f"[2,{n},1]" for n in range(2, 30)),),
        ("learner.rule=weight_perturbation,node_perturbation", "run.trials=10001:10040"),
    ],
)
def test_no_text_leaves_the_picture(vary: tuple[str, ...]) -> None:
    drawn(outcome(*vary))


def test_many_rows_are_labelled_now_and_then() -> None:
    for rows in (40, 41, 600):
        found = texts(drawn(outcome(f"run.trials=1001:{1000 + rows}", AMPLITUDES)))
        labels = [text for text in found if text.isdigit() and len(text) == 4]
        assert labels[0] == "1001"
        assert 2 * 20 <= len(labels) <= 2 * 40


def test_values_that_are_one_make_one_row() -> None:
    found = texts(drawn(outcome("learner.amplitude=0.1,0.10,0.2", RATES)))
    assert (found.count("0.1"), found.count("0.2")) == (2, 2)


def test_maps_of_equals_have_the_colour_of_their_worth() -> None:
    best, worst, unknown = "#2a6f97", "#f1f4f6", "#eeeeee"
    assert fills(drawn(outcome(RATES, AMPLITUDES, reached=lambda _: 20))) == [best] * 12
    assert fills(drawn(outcome(RATES, AMPLITUDES, reached=lambda _: None))) == [worst] * 6 + [unknown] * 6


def test_a_curve_of_what_never_was_says_so() -> None:
    assert "none did" in texts(drawn(outcome(RATES, reached=lambda _: None)))
    assert "none did" not in texts(drawn(outcome(RATES)))


def test_headers_that_would_be_alike_are_told_apart() -> None:
    same = ("plant.parameters.gravity=9.8", "plant.mismatch.parameters.gravity=9", "run.trials=10", "run.steps=4")
    tables = parse_toml(example_text("cartpole"), "cartpole")
    varied = parse_varied(same)
    (setting,) = grid(tables, "cartpole", varied)
    summary = summarise(setting, [Run("", 1, "", 10, 10, 1.0, None, "", ())])
    headers, _ = listing(Outcome(varied, [summary], [], 1, 0))
    assert headers[:4] == ["plant.parameters.gravity", "mismatch.parameters.gravity", "run.trials", "steps"]
    headers, _ = listing(outcome("run.trials=20,30", "learner.rate_shift=9"))
    assert headers == ["run.trials", "rate_shift", "reached", "trials", "final cost"]
