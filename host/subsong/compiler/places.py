"""Which file and line an instruction comes from, as LLVM's debug metadata keeps it."""

_FIRST = 5


class Places:
    """Numbers the statements of one IR function."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._numbers: dict[tuple[str, int], int] = {}

    def number(self, file: str, line: int) -> int:
        """Return the number of the metadata node that stands for a line."""
        self._files.setdefault(file, len(self._files))
        return _FIRST + self._numbers.setdefault((file, line), len(self._numbers))

    def metadata(self, name: str, line: int) -> list[str]:
        """Return the nodes, for a function of this name that begins at a line of the first file.

        A scope of its own stands for each file that the function draws on.
        """
        first = _FIRST + len(self._numbers)
        scopes = {file: first + len(self._files) + number for file, number in self._files.items()}
        function = f"name: {quoted(name)}, scope: !{first}, file: !{first}, line: {line}, type: !2, scopeLine: {line}"
        lines = [
            "!llvm.module.flags = !{!0, !4}",
            "!llvm.dbg.cu = !{!1}",
            '!0 = !{i32 2, !"Debug Info Version", i32 3}',
            f"!1 = distinct !DICompileUnit(language: DW_LANG_C99, file: !{first}, emissionKind: LineTablesOnly)",
            '!4 = !{i32 7, !"Dwarf Version", i32 4}',
            "!2 = !DISubroutineType(types: !{})",
            f"!3 = distinct !DISubprogram({function}, spFlags: DISPFlagDefinition, unit: !1)",
        ]
        for (file, at), number in self._numbers.items():
            lines.append(f"!{_FIRST + number} = !DILocation(line: {at}, column: 0, scope: !{scopes[file]})")
        for file, number in self._files.items():
            lines.append(f'!{first + number} = !DIFile(filename: {quoted(file)}, directory: "")')
        for file, number in self._files.items():
            block = f"scope: !3, file: !{first + number}, discriminator: 0"
            lines.append(f"!{scopes[file]} = !DILexicalBlockFile({block})")
        return lines


def quoted(text: str) -> str:
    """Return a text as IR writes it, in quotes."""
    plain = (c if c.isascii() and (c.isalnum() or c in " ._-/") else _escaped(c) for c in text)
    return f'"{"".join(plain)}"'


def _escaped(character: str) -> str:
    return "".join(f"\\{byte:02x}" for byte in character.encode())
