"""``python -m harness.commands.accompanied WORDS``: the command, interrupted once whoever began it is gone or lets it go.

Who began it holds the other end of its standard input, which the system closes even where that process is killed.
"""

from __future__ import annotations

import os
import signal
import threading

from harness.cli import main


def _end_with_input() -> None:
    """Read what nobody writes until it ends, then interrupt this process's group: itself and its workers."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup, and behind a script's &, it would be ignored
    threading.Thread(target=_end_with_input, daemon=True).start()
    main()
