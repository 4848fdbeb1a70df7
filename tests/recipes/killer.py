"""Trains recipes as processes of their own, kills each with SIGKILL on its way and resumes it, then trains it unharmed.

Children are forks of this process, which has imported what they need: starting each anew would take longer than it
trains.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from pushforward.cli import main
from pushforward.core.checkpoint import Checkpoints


def start(*words: str) -> int:
    """The process that runs this command."""
    process = os.fork()
    if process == 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os._exit(main(words))
    return process


def ended(process: int) -> int:
    """How it ended: its status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_and_resume(words: list[str], folder: Path, past: int) -> list[int]:
    """Examples in the checkpoint a run was killed at, at least `past` where it was in time; then how the killed run,
    the resumed one and the one left alone ended. The runs are in `killed` and `alone`."""
    killed, alone = folder / "killed", folder / "alone"
    process = start(*words, "--out", str(killed))
    while _seen(killed) < past and not _over(process):
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    status, seen = ended(process), _seen(killed)
    return [seen, status, ended(start("resume", str(killed))), ended(start(*words, "--out", str(alone)))]


def _seen(run: Path) -> int:
    """Examples behind the last checkpoint; 0 where there is none."""
    last = Checkpoints(run / "checkpoints").last()
    return 0 if last is None else int(last.name)


def _over(process: int) -> bool:
    """Whether it has ended; it can still be waited for."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


if __name__ == "__main__":
    out = Path(sys.argv[1])
    import pushforward.session  # noqa: F401 — before the forks

    asked = json.loads((out / "commands.json").read_text())
    found = {name: kill_and_resume(words, out / name, asked["past"]) for name, words in asked["commands"].items()}
    (out / "ended.json").write_text(json.dumps(found))
