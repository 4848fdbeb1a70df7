"""A page as one file that asks for nothing from anywhere: its frame, its scripts, and how it is written."""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pushforward.report.script import SCRIPT
from pushforward.report.style import STYLE
from pushforward.report.text import escape


@dataclass(frozen=True)
class Section:
    """A heading of the page and what stands under it. html: markup whose text is escaped already."""

    id: str
    title: str
    html: str


def document(title: str, header: str, sections: Sequence[Section]) -> str:
    """The whole page; header: markup above the links to the sections."""
    from plotly.offline import get_plotlyjs

    plotly, title = get_plotlyjs(), escape(title)
    links = "".join(f"<a href='#{part.id}'>{part.id.replace('-', ' ').capitalize()}</a>" for part in sections)
    body = "".join(f"<section id='{part.id}'><h2>{part.title}</h2>{part.html}</section>" for part in sections)
    # Only these two scripts may run, and nothing may be fetched, whatever else finds its way into the page.
    policy = (
        f"default-src 'none'; script-src {_hash(plotly)} {_hash(SCRIPT)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        f"<title>{title} · pushforward</title><style>{STYLE}</style></head><body>"
        f"<header>{header}</header><nav aria-label='Sections'>{links}</nav><main>"
        f"<noscript><p class='nothing'>The charts of this page need JavaScript.</p></noscript>{body}</main>"
        f"<script>{plotly}</script><script>{SCRIPT}</script></body></html>\n"
    )


def facts(values: dict[str, object]) -> str:
    """Short facts in a row under a title; those that are None are left out."""
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in values.items() if v is not None)
    return f"<dl class='facts'>{items}</dl>"


def reproduce(command: str) -> str:
    """The command that makes the page's content again, with a button that copies it."""
    return (
        "<div class='command'><p id='again'>Reproduce it</p><div>"
        f"<pre tabindex='0' aria-labelledby='again'><code>{escape(command)}</code></pre>"
        "<button type='button' class='copy' aria-live='polite'>Copy</button></div></div>"
    )


def nothing(sentence: str) -> str:
    """Said in place of a section's content."""
    return f"<p class='nothing'>{escape(sentence)}</p>"


def write_whole(path: Path, text: str) -> Path:
    """Writes a file whole or not at all; returns where it is."""
    # Bytes: a platform's line ends would change the scripts, and their hashes would no longer allow them.
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(text.encode("utf-8", "replace"))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
