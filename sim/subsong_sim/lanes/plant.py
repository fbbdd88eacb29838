"""A compiled plant's functions, as code in the kernel dialect calls them: by their addresses, one run at a time.

`plant` is five pointers: start, sense and step (subsong_sim.plants.compiled), state and settings.
"""

# By name: what code passes behind `plant`, which of the pointers it calls, and what that one takes.
_CALLS = {
    "plant_start": ("i32 %seed", 0, "i32 %seed, ptr %state, ptr %settings"),
    "plant_sense": ("ptr %x", 1, "ptr %state, ptr %settings, ptr %x, i32 1"),
    "plant_step": ("ptr %u, ptr %cost", 2, "ptr %state, ptr %settings, ptr %u, i32 1, ptr %cost"),
}
PLANT_CALLS = frozenset(_CALLS)


def plant_text() -> str:
    """Return the IR of the functions."""
    lines = []
    for name, (given, which, taken) in _CALLS.items():
        lines.append(f"define internal i32 @{name}(ptr %plant, {given}) #0 {{")
        for pointer, index in (("function", which), ("state", 3), ("settings", 4)):
            lines.append(f"  %{pointer}.at = getelementptr ptr, ptr %plant, i32 {index}")
            lines.append(f"  %{pointer} = load ptr, ptr %{pointer}.at")
        lines += [f"  %said = call i32 %function({taken})", "  ret i32 %said", "}"]
    return "\n".join(lines)
