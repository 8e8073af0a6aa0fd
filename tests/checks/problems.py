#!/usr/bin/env python3
"""docs/API.md lists every type of problem of admin/src/problem/kind.rs with its status, and no
other.

Exit code 0 when it does, 1 with a line for each that is missing, wrong or unknown.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]
KIND = re.compile(r'\("([a-z0-9-]+)",\s*StatusCode::([A-Z_]+)')
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (\d{3}) \|", re.MULTILINE)
STATUS = {
    "BAD_GATEWAY": 502, "BAD_REQUEST": 400, "UNAUTHORIZED": 401, "FORBIDDEN": 403, "NOT_FOUND": 404, "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408, "CONFLICT": 409, "PRECONDITION_FAILED": 412, "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415, "UNPROCESSABLE_ENTITY": 422, "PRECONDITION_REQUIRED": 428,
    "TOO_MANY_REQUESTS": 429, "INTERNAL_SERVER_ERROR": 500, "SERVICE_UNAVAILABLE": 503,
}


def violations(code, page):
    known = {name: STATUS.get(status, status) for name, status in KIND.findall(code)}
    listed = {name: int(status) for name, status in ROW.findall(page)}
    for name in sorted(known.keys() | listed.keys()):
        if known.get(name) != listed.get(name):
            yield f"{name}: the code says {known.get(name)}, docs/API.md says {listed.get(name)}"
    if not known:
        yield "admin/src/problem/kind.rs has no kinds that this check can read"


def main():
    code = (ROOT / "admin/src/problem/kind.rs").read_text(encoding="utf-8")
    page = (ROOT / "docs/API.md").read_text(encoding="utf-8")
    found = list(violations(code, page))
    for problem in found:
        print(f"problems: {problem}", file=sys.stderr)
    if not found:
        print(f"problems: ok ({len(KIND.findall(code))} types)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
