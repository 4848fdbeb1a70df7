"""The part of a page of the docs that a benchmark writes: what stands between two marks."""

from pathlib import Path

from pushforward.core.checkpoint import write_text


def put(page: Path, name: str, text: str) -> None:
    """Writes `text` between the page's two marks `<!-- name -->`. Raises SystemExit where there are not two."""
    mark = f"<!-- {name} -->"
    parts = page.read_text(encoding="utf-8").split(mark)
    if len(parts) != 3:
        raise SystemExit(f"{page} has {len(parts) - 1} marks {mark}, and two are needed; put them where the text goes")
    write_text(page, f"{parts[0]}{mark}\n{text}{mark}{parts[2]}")
