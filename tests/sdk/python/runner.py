"""Runs checks on demand.

The argument is a directory of checks. Names of checks come as lines on standard
input; each gets one line of JSON on standard output, when it is done. Checks run
side by side, each once.
"""

import importlib
import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path


def main(directory: Path) -> None:
    # Standard output belongs to the verdicts, whatever a check prints.
    verdicts = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # It warns of connections that break, which some are meant to do.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    sys.path[:0] = [str(directory), str(Path(__file__).parent)]
    import checks

    for source in sorted(directory.glob("*.py")):
        if source != Path(__file__):
            importlib.import_module(source.stem)
    lock = threading.Lock()

    def run(name: str) -> None:
        error = None
        try:
            checks.CHECKS[name]()
        except BaseException:
            error = traceback.format_exc()
        with lock:
            print(json.dumps({"check": name, "error": error}), file=verdicts, flush=True)

    threads = []
    for line in sys.stdin:
        thread = threading.Thread(target=run, args=(line.strip(),))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
