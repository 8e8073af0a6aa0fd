"""Makes the calls that a test asks for on standard input, and reports each on standard output as a
line of JSON."""

import json
import os
import sys


def answer_for(calls):
    """`calls` maps a name such as `openai stream` to a function that makes the call and yields the
    text as it comes.

    Each line of the input names calls, and the variables that they are made with.
    """
    for line in sys.stdin:
        task = json.loads(line)
        os.environ.update(task["variables"])
        for name in task["calls"]:
            pieces, error = [], None
            try:
                pieces = [piece for piece in calls[name]() if piece]
            except Exception as raised:  # a person would read this at the end of the traceback
                error = f"{type(raised).__name__}: {raised}"
            print(json.dumps({"call": name, "pieces": pieces, "error": error}), flush=True)
