"""HTML that cannot forget to escape: a string is text, always; only what `tag` returned is markup.

Run logs are untrusted, and every string of a report may come from one. So there are no templates to interpolate
into: elements are built by `tag`, which escapes text and attribute values, and characters that would disguise text
(controls, bidirectional overrides) are shown as their code points.
"""

import html
import json
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

_VOID = {"meta", "br", "hr", "col", "link", "input"}
_LONGEST = 20_000  # characters of one string from a log; what is longer is cut, visibly


class Markup(str):
    """A string that is already HTML: made by `tag` and `join`, or from package data. Never from a log."""

    __slots__ = ()


Child = Any  # Markup, str, int, float, None, or an iterable of these


def clean(value: str) -> str:
    """Make a log's string safe to read: cut to a bounded length, and characters that disguise text made visible."""
    if len(value) > _LONGEST:
        value = value[:_LONGEST] + f" [cut: {len(value) - _LONGEST} more characters]"
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else f"\\u{ord(character):04x}"
        for character in value
    )


def escape(child: Child) -> Markup:
    """Turn a child into markup: text escaped, Markup as it is, None nothing, iterables in order."""
    if isinstance(child, Markup):
        return child
    if child is None:
        return Markup()
    if isinstance(child, str):
        return Markup(html.escape(clean(child), quote=True))
    if isinstance(child, Iterable):
        return join(child)
    return Markup(html.escape(str(child), quote=True))


def join(children: Iterable[Child]) -> Markup:
    """Put children one after another."""
    return Markup("".join(escape(child) for child in children))


def tag(name: str, /, *children: Child, **attributes: Any) -> Markup:
    """Build one element.

    Args:
        name: of the element; never from a log.
        children: text, markup, or iterables of them.
        attributes: `class_` and `for_` lose their underscore, other underscores become hyphens; None and False leave
            an attribute out, True gives it without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        text = f"{value:g}" if isinstance(value, float) else str(value)
        safe = html.escape(text if isinstance(value, Markup) else clean(text), quote=True)
        parts.append(attribute if value is True else f'{attribute}="{safe}"')
    opening = "<" + " ".join(parts) + ">"
    return Markup(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def data(identity: str, value: Any) -> Markup:
    """Embed JSON that the page's script reads; no byte of it can end the element that holds it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(f'<script type="application/json" id="{html.escape(identity, quote=True)}">{safe}</script>')


def number(value: float | None, digits: int = 4, *, places: int | None = None) -> str:
    """Write a figure, without an exponent where a reader needs none; None is a dash.

    Args:
        value: finite or not.
        digits: significant digits.
        places: decimals, in place of `digits`.
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 7 or size < -4:
        return f"{value:.{digits - 1}e}"
    text = f"{value:,.{max(0, digits - 1 - size) if places is None else places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text and places is None else text
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def pretty(text: str) -> str:
    """Give the program's own sentences a true minus sign before figures."""
    return re.sub(r"(?<![\w.)-])-(?=[\d.])", "\u2212", text)
