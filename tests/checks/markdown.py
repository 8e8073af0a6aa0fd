"""Reads Markdown: headings, links, code blocks, code in text, tables and commands, each with its line.

Only what the tests of documentation need, as GitHub reads it.
"""

import dataclasses
import functools
import re

FENCE = re.compile(r"^([ >]*)(`{3,}|~{3,})\s*([\w+-]*).*$")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
SOURCE = re.compile(r"\bsrc(?:set)?=\"([^\"]+)\"")
DEFINITION = re.compile(r"^ {0,3}\[([^\]]+)\]:\s*<?(\S+?)>?(?:\s+\".*\")?\s*$", re.MULTILINE)
REFERENCE = re.compile(r"\[([^\[\]]+)\]\[([^\[\]]*)\]")
BARE = re.compile(r"<(https?://[^>\s]+)>|(?<![\w(<\[\"'])(https?://[^\s)>|\"']+)")
HTML = re.compile(r"<!--.*?-->", re.DOTALL)
#: What a command begins with in a block of each language.
SHELL = {"sh": "", "bash": "", "shell": "", "console": r"\$ "}
COMMENT = re.compile(r"(?:^|\s+)#(?:\s.*)?$")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of code."""

    language: str
    text: str
    line: int
    heading: str

    @property
    def commands(self):
        """[(line, command)], one from each line with what continues it after a backslash, without comments."""
        if self.language not in SHELL:
            return []
        lines = re.finditer(rf"^{SHELL[self.language]}((?:.*\\\n)*.*)", self.text, re.MULTILINE)
        texts = ((match.start(), COMMENT.sub("", re.sub(r"\\\n\s*", "", match[1]).strip())) for match in lines)
        return [(self.line + self.text.count("\n", 0, start), text) for start, text in texts if text]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, without the rows of headings and dashes."""

    line: int
    heading: str
    columns: tuple
    cells: tuple

    @property
    def commands(self):
        """[(line, command)] of the code below a heading that begins with "command"."""
        below = [cell for column, cell in zip(self.columns, self.cells) if column.startswith("command")]
        return [(self.line, code) for cell in below for code in codes(cell)]


class Page:
    """One document; `path` is relative to the root of the repository."""

    def __init__(self, path, text):
        self.path, self.text = path, text

    def at(self, line):
        return f"{self.path}:{line}"

    @functools.cached_property
    def _parts(self):
        """(the blocks, the text with blank lines instead of blocks and comments)."""
        blocks, prose, opened, heading = [], [], None, ""
        blank = HTML.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), self.text)
        for number, line in enumerate(blank.splitlines(), 1):
            fence = FENCE.match(line)
            if opened:
                indent, mark, language, first, lines = opened
                if fence and fence[2].startswith(mark) and not fence[3]:
                    blocks.append(Block(language, "\n".join(lines), first, heading))
                    opened = None
                else:
                    lines.append(line.removeprefix(indent))
                prose.append("")
            elif fence:
                opened = (fence[1], fence[2], fence[3], number + 1, [])
                prose.append("")
            else:
                heading = match[1] if (match := HEADING.match(line)) else heading
                prose.append(line)
        return blocks, "\n".join(prose)

    @property
    def blocks(self):
        return self._parts[0]

    @property
    def prose(self):
        return self._parts[1]

    def _line(self, position):
        return self.prose.count("\n", 0, position) + 1

    @functools.cached_property
    def headings(self):
        return [match[1] for match in map(HEADING.match, self.prose.splitlines()) if match]

    @functools.cached_property
    def anchors(self):
        """GitHub's anchors: lower case, punctuation dropped, spaces to hyphens, a number after a repeated one."""
        found = {}
        for heading in self.headings:
            name = anchor(heading)
            seen = found[name] = found.get(name, -1) + 1
            if seen:
                found[f"{name}-{seen}"] = 0
        return found.keys()

    @functools.cached_property
    def codes(self):
        """[(line, code)] of the code in text, with line ends as spaces."""
        paragraphs = re.finditer(r"(?:^(?![ \t]*$).*\n?)+", self.prose, re.MULTILINE)
        return [
            (self._line(paragraph.start() + match.start()), " ".join(match[2].split()))
            for paragraph in paragraphs
            for match in CODE.finditer(paragraph.group())
        ]

    @functools.cached_property
    def links(self):
        """[(line, target)] of links, their definitions, and addresses written as they are."""
        plain = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), self.prose)
        spans = [(match.start(), match[1]) for match in LINK.finditer(plain)]
        spans += [(match.start(), match[2]) for match in DEFINITION.finditer(plain)]
        spans += [(match.start(), match[1]) for match in SOURCE.finditer(plain)]
        spans += [(match.start(), match[1] or match[2].rstrip(".,;:")) for match in BARE.finditer(LINK.sub("]", plain))]
        return [(self._line(start), target) for start, target in sorted(spans)]

    def undefined(self):
        """(line, name) of each reference to a link that no line defines."""
        plain = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), self.prose)
        defined = {name.lower() for name, _ in DEFINITION.findall(plain)}
        for match in REFERENCE.finditer(plain):
            if (match[2] or match[1]).lower() not in defined:
                yield self._line(match.start()), match[2] or match[1]

    @functools.cached_property
    def rows(self):
        found, heading, header = [], "", None
        lines = self.prose.splitlines()
        for number, line in enumerate(lines, 1):
            if match := HEADING.match(line):
                heading, header = match[1], None
            elif not line.lstrip().startswith("|"):
                header = None
            elif header is None:
                header = cells(line)
            elif not re.fullmatch(r"[|\s:-]+", line):
                found.append(Row(number, heading, header, cells(line)))
        return found

    @property
    def commands(self):
        """[(line, command)] of blocks and tables, in order."""
        return [command for part in sorted([*self.blocks, *self.rows], key=lambda part: part.line) for command in part.commands]


def anchor(heading):
    """GitHub's anchor of the first heading with this text."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def cells(line):
    """The cells of a table's line; a bar in code or after a backslash separates nothing."""
    whole = CODE.sub(lambda match: match.group().replace("|", "\0"), line.strip().replace("\\|", "\0"))
    return tuple(cell.strip().replace("\0", "|") for cell in whole.strip("|").split("|"))


def codes(cell):
    """The pieces of code in a text."""
    return [match[2] for match in CODE.finditer(cell)]
