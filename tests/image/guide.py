"""The commands of docs/DEPLOY.md that run here."""

from pages import table
from repository import page

PATH = "docs/DEPLOY.md"
PAGE, ROW = page(PATH), table()[PATH]


def commands(heading: str) -> list[list[str]]:
    """Those of each block of a section."""
    blocks = [block.commands for block in PAGE.blocks if block.heading == heading]
    run = [[command for _, command in block if not ROW.reason(command)] for block in blocks]
    return [block for block in run if block]
