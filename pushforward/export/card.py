"""The model card: what a generator is, what it was trained on, how good it was measured to be, and how to use it."""

import re
from typing import Any

from pushforward import recipes
from pushforward.core import runlog
from pushforward.export.folder import ONNX, PICTURE, PROGRAM, TENSORS
from pushforward.metrics.catalogue import known
from pushforward.run import Run

FEW = 10_000
"""Samples below which a measurement's interval is wide and its Fréchet distance biased."""


def card(run: Run, about: dict[str, Any], license: str | None) -> str:
    """The text of README.md, with the front matter that the Hugging Face hub reads.

    about: what `generator.json` holds. Every number is the run's own: of `config.json` and `metrics.jsonl`.
    """
    name = f"{about['recipe']} on {about['data']['name']}"
    measured = measurements(run, about["seen"])
    parts = [
        _front(about, license),
        f"# {_plain(name)}",
        _pictured(about),
        _linked(recipes.load(run.plan.recipe).__doc__ or ""),
        f"## Use\n\n{_use(about)}",
        f"## Training\n\n{_training(run, about)}",
        f"## Measurements\n\n{_measured(measured, about['seen'])}",
        "## Limitations\n\n" + "\n".join(f"- {line}" for line in limitations(run, about, measured)),
        f"## License\n\n{_license(license)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def measurements(run: Run, seen: int) -> dict[str, Any] | None:
    """The line of `metrics.jsonl` of the exported checkpoint, the full one where there is one; None: not measured."""
    rows = [row for row in runlog.rows(run.folder / "metrics.jsonl") if row["seen"] == seen]
    return min(rows, key=lambda row: row["quick"], default=None)


def limitations(run: Run, about: dict[str, Any], measured: dict[str, Any] | None) -> list[str]:
    """What is known against trusting the generator further than it was tried, a sentence or two each."""
    planned, found = about["config"]["examples"], []
    if about["seen"] < planned:
        found.append(f"It has seen {about['seen']:,} of the {planned:,} examples that were planned for it.")
    if measured is None:
        found.append("This checkpoint was not measured: nothing is known of its quality and its variety.")
    else:
        numbers = measured["metrics"]
        sizes = sorted({m["n"] for m in numbers.values()})
        if sizes and sizes[0] < FEW:
            found.append(
                f"The measurements rest on {sizes[0]:,} samples a side where they rest on fewest. A Fréchet distance "
                "is biased upwards by an amount that depends on that number: compare it at equal numbers alone, and "
                "beside its floor."
            )
        if measured["quick"]:
            found.append("It was measured quickly, along the training, and not in full.")
        if behind := [told for name, m in numbers.items() if (told := _behind(name, m))]:
            found.append(f"Real data score better, by more than the interval, in {'; '.join(behind)}.")
        limit = about["data"]["limit"]
        found.append(
            "It was measured against the data that it was trained on; a copy of them would score well."
            if limit is None
            else f"It was trained on {limit:,} examples, and measured against all of its data, with these among them."
        )
    made = "×".join(map(str, about["data"]["spec"]["shape"]))
    found.append(f"It makes {about['data']['spec']['kind']} of {made} alone, of the kind that its data hold.")
    if about["data"]["labels"]:
        told = "It knows these classes" if about["classes"] else "It takes no class, though its data have these"
        found.append(f"{told}: {', '.join(map(_plain, about['data']['labels']))}.")
    found.append("Faults of its data (what they lack, and whom they show wrongly) are faults of its samples too.")
    return found


def _behind(name: str, m: dict[str, Any]) -> str | None:
    """What is said where the floor lies on the better side of the value's interval; None where it does not."""
    metric = known(name)
    if metric is None or metric.better not in ("lower", "higher") or None in (m["floor"], m["low"], m["high"]):
        return None
    worse = m["low"] > m["floor"] if metric.better == "lower" else m["high"] < m["floor"]
    return f"`{name}`, {metric.summary} ({_number(m['floor'])} against {_number(m['value'])})" if worse else None


def _front(about: dict[str, Any], license: str | None) -> str:
    lines = ["library_name: pushforward", *([f"license: {license}"] if license else [])]
    if about["data"]["spec"]["kind"] == "images":
        lines.append("pipeline_tag: unconditional-image-generation")
    lines += ["tags:", "- generative-model", f"- {re.sub('[^a-z0-9-]', '-', about['recipe'].lower())}"]
    return "\n".join(["---", *lines, "---"])


def _pictured(about: dict[str, Any]) -> str:
    if PICTURE not in about["files"]:
        return ""
    return f"![Samples]({PICTURE})\n\nSamples of the seed 0, none of them chosen."


def _use(about: dict[str, Any]) -> str:
    spec, classes = about["data"]["spec"], about["classes"]
    shape = ", ".join(map(str, spec["shape"]))
    unit = "-1 is black, 1 is white" if spec["kind"] == "images" else "in the networks' units"
    own = "" if about["recipe_sha256"] is None else f', recipe="{about["recipe"]}"'
    lines = ["import pushforward as pf", "", f'G = pf.load_generator("FOLDER"{own})']
    lines.append(f"x = G.sample(64, seed=1)  # [64, {shape}] float32; {unit}")
    if classes:
        lines.append(f"one = G.sample(8, y=0)  # of one class, from 0 to {classes - 1}")
    if about["scale"] is not None:
        lines.append("points = x * G.scale  # in the units of the data")
    text = _code(lines)
    given, takes = "latents", f"`latents` [n, {', '.join(map(str, about['latent']))}], standard normal float32"
    if classes:
        given, takes = "latents, labels", f"{takes}, and `labels` [n], int64 from 0 to {classes - 1}"
    if ONNX in about["files"]:
        feed = ", ".join(f'"{name}": {name}' for name in given.split(", "))
        lines = ["import onnxruntime", "", f'session = onnxruntime.InferenceSession("FOLDER/{ONNX}")']
        text += f"\n\nIn ONNX: {takes}.\n\n" + _code([*lines, f'(x,) = session.run(["samples"], {{{feed}}})'])
    if PROGRAM in about["files"]:
        text += f"\n\nBy torch alone, where this card lies beside `{PROGRAM}`, which the hub is not sent: {takes}. "
        text += "Open such files only from people whom you trust.\n\n" + _code(
            ["import torch", "", f'G = torch.export.load("FOLDER/{PROGRAM}").module()', f"x = G({given})"]
        )
    return text


def _training(run: Run, about: dict[str, Any]) -> str:
    data, spec = about["data"], about["data"]["spec"]
    classes = f", {spec['classes']} classes" if spec["classes"] else ""
    some = "" if data["limit"] is None else f"; {data['limit']:,} of its examples"
    some += "; mirror images too" if data["mirror"] else ""
    average = any(place["average"] for place in about["networks"].values())
    options = run.plan.options
    rows = {
        "Data": f"{data['name']}: {spec['kind']} of {'×'.join(map(str, spec['shape']))}{classes}{some}",
        "Fingerprint of the data": f"`{data['fingerprint']}`",
        "Examples seen": f"{about['seen']:,}",
        "Weights": "an average over training (EMA)" if average else "as trained",
        "Precision": "bfloat16 autocast" if options.bf16 else "float32",
        "Seed": str(about["seed"]),
        "Made with": f"pushforward {about['pushforward']}, torch {about['torch']}",
        "Commit": f"`{about['commit'] or 'not known'}`",
        f"SHA-256 of `{TENSORS}`": f"`{about['files'][TENSORS]['sha256']}`",
    }
    config = {f"`{key}`": f"`{_option(value)}`" for key, value in about["config"].items()}
    return f"{_table(('', ''), [*rows.items()])}\n\n{_table(('option', 'value'), [*config.items()])}"


def _measured(measured: dict[str, Any] | None, seen: int) -> str:
    if measured is None:
        return "This checkpoint was not measured."
    rows = []
    for name, m in measured["metrics"].items():
        metric = known(name)
        interval = "" if m["low"] is None or m["high"] is None else f"{_number(m['low'])} – {_number(m['high'])}"
        floor = "" if m["floor"] is None else _number(m["floor"])
        better = "" if metric is None else metric.better
        rows.append((f"`{name}`", better, _number(m["value"]), interval, floor, f"{m['n']:,}"))
    heads = ("metric", "better", "value", "95 % interval", "floor", "n")
    return (
        f"After {seen:,} examples. The floor is the same number for real data against real data, at the same sizes: "
        f"what a perfect generator would score. n is the number of samples.\n\n{_table(heads, rows)}"
    )


def _license(license: str | None) -> str:
    if license is not None:
        return f"`{license}`, as its maker states."
    return (
        "None is stated yet. Its maker may write one here, and as `license:` among the lines at the top; until then, "
        "ask. The terms of the data may bind what was trained on them."
    )


def _linked(docstring: str) -> str:
    """The recipe's own words, its papers linked."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", docstring.strip())]
    papers = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
    return "\n\n".join(papers.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", part) for part in paragraphs)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _option(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(text: str) -> str:
    """A name from outside as text that no markup hides in."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def _code(lines: list[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
