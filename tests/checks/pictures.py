"""Pictures: each is on a page, and together they are light, because every clone has them."""

import posixpath

from repository import ROOT

FOLDER = "docs/pictures/"
LIMIT = 600_000


def pictures(repository):
    shown = {
        posixpath.normpath(posixpath.join(posixpath.dirname(page.path), target))
        for page in repository.documents.values()
        for _, target in page.links
    }
    found = [path for path in repository.files if path.startswith(FOLDER)]
    for path in found:
        if path not in shown:
            yield f"{path}: on no page"
    size = sum((ROOT / path).stat().st_size for path in found if (ROOT / path).exists())
    if size > LIMIT:
        yield f"{FOLDER}: {size} bytes, more than {LIMIT}"
