"""What a comparison leaves: `compare.json`, `table.md`, `samples.png` and `report.html`."""

import json
from pathlib import Path

from pushforward.compare.page import render
from pushforward.compare.picture import picture, samples
from pushforward.compare.plan import Comparison
from pushforward.compare.results import Results, as_json, collect, markdown
from pushforward.pictures import save_png
from pushforward.report.document import write_whole


def write_record(comparison: Comparison, folder: Path) -> Results:
    """Writes each of them whole or not at all, from what the runs have left so far; returns the numbers."""
    results = collect(comparison, folder)
    text = json.dumps(as_json(results), ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(folder / "compare.json", text + "\n")
    write_whole(folder / "table.md", markdown(results))
    shown = samples(folder, results)
    drawn = picture(shown)
    if drawn is not None:
        save_png(drawn, folder / "samples.png")
    write_whole(folder / "report.html", render(results, shown))
    return results
