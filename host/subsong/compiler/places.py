"""Which file and line an instruction comes from, as LLVM's debug metadata keeps it."""


class Places:
    """Numbers the functions and statements of one IR module."""

    def __init__(self) -> None:
        self._nodes: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._unit = self._node("unit", "")
        self._type = self._node("type", "!DISubroutineType(types: !{})")
        self._functions: dict[str, tuple[int, str]] = {}

    def function(self, name: str, file: str, line: int) -> int:
        """Return the number of the node that stands for a function, which begins at a line of a file."""
        at = self._file(file)
        text = f"name: {quoted(name)}, scope: !{at}, file: !{at}, line: {line}, type: !{self._type}, scopeLine: {line}"
        number = self._node(
            f"function {name}", f"distinct !DISubprogram({text}, spFlags: DISPFlagDefinition, unit: !{self._unit})"
        )
        self._functions[name] = number, file
        return number

    def number(self, function: str, file: str, line: int) -> int:
        """Return the number of the node that stands for a line, where a function has it.

        A scope of its own stands for each file that the function draws on.
        """
        inside, _ = self._functions[function]
        block = f"!DILexicalBlockFile(scope: !{inside}, file: !{self._file(file)}, discriminator: 0)"
        scope = self._node(f"scope {function} {file}", block)
        place = f"!DILocation(line: {line}, column: 0, scope: !{scope})"
        return self._node(f"line {function} {file} {line}", place)

    def metadata(self) -> list[str]:
        """Return the nodes."""
        _, first = next(iter(self._functions.values()))
        unit = f"language: DW_LANG_C99, file: !{self._file(first)}, emissionKind: LineTablesOnly"
        self._nodes["unit"] = f"distinct !DICompileUnit({unit})"
        flags = [
            self._node("debug", '!{i32 2, !"Debug Info Version", i32 3}'),
            self._node("dwarf", '!{i32 7, !"Dwarf Version", i32 4}'),
        ]
        return [
            f"!llvm.module.flags = !{{{', '.join(f'!{number}' for number in flags)}}}",
            f"!llvm.dbg.cu = !{{!{self._unit}}}",
            *(f"!{self._numbers[key]} = {text}" for key, text in self._nodes.items()),
        ]

    def _file(self, file: str) -> int:
        return self._node(f"file {file}", f'!DIFile(filename: {quoted(file)}, directory: "")')

    def _node(self, key: str, text: str) -> int:
        self._nodes.setdefault(key, text)
        return self._numbers.setdefault(key, len(self._numbers))


def quoted(text: str) -> str:
    """Return a text as IR writes it, in quotes."""
    plain = (c if c.isascii() and (c.isalnum() or c in " ._-/") else _escaped(c) for c in text)
    return f'"{"".join(plain)}"'


def _escaped(character: str) -> str:
    return "".join(f"\\{byte:02x}" for byte in character.encode())
