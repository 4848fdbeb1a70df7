"""Says what there is: recipes, data, metrics, experiments."""

import dataclasses
import json
import shutil
import textwrap
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from pushforward.commands._words import parse


@dataclass(frozen=True)
class List:
    """Recipes, data, metrics and the lab's experiments."""

    kind: Positional[Literal["all", "recipes", "data", "metrics", "lab"]] = "all"
    """What to list; of `metrics` alone also range, what fools them, and source."""
    json: bool = False
    """Print JSON: [{"kind": …, "name": …, "summary": …}], metrics with all that is known of them."""


def do_list(arguments: list[str]) -> int:
    asked = parse(List, arguments, "pushforward list")
    from pushforward import lab, recipes
    from pushforward.data.catalogue import CATALOGUE
    from pushforward.metrics.catalogue import METRICS

    rows = [("recipe", name, recipes.summary(name)) for name in recipes.names()]
    rows += [("data", name, entry.summary) for name, entry in CATALOGUE.items()]
    rows += [("metric", name, metric.summary) for name, metric in METRICS.items()]
    rows += [("lab", name, lab.summary(name)) for name in lab.names()]
    rows = [row for row in rows if asked.kind in ("all", row[0], f"{row[0]}s")]
    if asked.json:
        said = [{"kind": kind, "name": name, "summary": summary} for kind, name, summary in rows]
        print(
            json.dumps(
                [row | (dataclasses.asdict(METRICS[row["name"]]) if row["kind"] == "metric" else {}) for row in said]
            )
        )
    elif asked.kind == "metrics":
        width = shutil.get_terminal_size().columns
        for name, m in METRICS.items():
            told = (m.summary, f"{m.range}; better: {m.better}; takes: {m.takes}", f"fooled: {m.fooled}", m.source)
            print(
                name,
                *(textwrap.fill(line, width, initial_indent="  ", subsequent_indent="    ") for line in told),
                sep="\n",
            )
    else:
        for kind, name, summary in rows:
            print(f"{kind:8s}{name:20s}{summary}")
    return 0
