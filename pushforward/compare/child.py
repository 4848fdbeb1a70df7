"""A process of a comparison: `python -m pushforward.compare.child run FOLDER [WORD …]`, or `probe FOLDER INDEX`.

Or `beside FOLDER INDEX`, which does a probe's work again and again, until it is killed, and writes nothing.

It holds the reading end of a pipe as its standard input. When the other end closes, because whoever holds it was
killed, it asks itself to stop, as Ctrl-C would: a run then saves a checkpoint, and no orphan takes time from others.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> int:
    """Does one thing; returns the exit status of `pushforward`."""
    what, folder, *words = argv
    if what == "run":
        return run(Path(folder), words)
    return look(Path(folder), int(words[0]), endless=what == "beside")


def run(folder: Path, words: Sequence[str]) -> int:
    """Carries out `pushforward WORD …`, where there are words; then measures the run's checkpoints."""
    from pushforward.cli import main as pushforward
    from pushforward.compare.lock import wait_for

    # One that an earlier comparison left behind may still be saving its checkpoint.
    wait_for(folder, seconds=60)
    status = pushforward(words) if words else 0
    if status == 0:
        from pushforward.compare.curve import measure_along

        measure_along(folder)
    return status


def look(folder: Path, index: int, *, endless: bool = False) -> int:
    """Probes one entry of the comparison in the folder; endless: over and over, as a load for others.

    One that joins others that have been trained is planned for the machine as these had it.
    """
    import dataclasses

    import torch

    from pushforward.compare.plan import read_plan
    from pushforward.compare.results import trained_before
    from pushforward.compare.speed import pace_of, probe, write_probe
    from pushforward.data.catalogue import open_data
    from pushforward.run import resolve_device

    comparison = read_plan(folder)
    assert comparison is not None
    entry = comparison.entries[index]
    # As a run has it: with denormal numbers, times would be others.
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")
    data = open_data(comparison.data, **dataclasses.asdict(comparison.data_options), progress=False)
    device = resolve_device(comparison.device)
    budget, pace = {"seconds": comparison.seconds, "examples": comparison.examples}, 1.0
    while endless:
        probe(entry, data, device, **budget)
    before = trained_before(comparison, folder, entry)
    if comparison.seconds is not None and before is not None:
        pace = pace_of(*before, data, device, comparison.seconds)
    found = probe(entry, data, device, **budget, pace=pace)
    write_probe(found, folder / "probes" / f"{entry.slug}.json")
    return 0


def stop_with_parent() -> None:
    """Has this process ask itself to stop when its standard input ends."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    stop_with_parent()
    sys.exit(main(sys.argv[1:]))
