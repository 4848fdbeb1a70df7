"""The page on which people judge: one document that asks only this server, and is told no truth before an answer."""

import base64
import hashlib
import math

from pushforward.judge.script import FIXATION, MASK, SCRIPT
from pushforward.judge.style import STYLE
from pushforward.judge.trial import Design
from pushforward.report.document import facts
from pushforward.report.style import STYLE as REPORT_STYLE
from pushforward.report.text import count, number

_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
POLICY = (
    f"default-src 'none'; script-src 'sha256-{_HASH}'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
THINKING = 1.2
"""Seconds that people are taken to need for an answer, in the time the start screen announces."""


def render(design: Design) -> str:
    """The whole page; it says of the design what raters are to know."""
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'><link rel='icon' href='data:,'>"
        f"<title>Real or generated? · pushforward</title><style>{REPORT_STYLE}{STYLE}</style></head><body><main>"
        "<p id='status' class='seen-by-readers' role='status' aria-live='polite'></p>"
        f"<noscript><p class='nothing'>This page needs JavaScript.</p></noscript>{_start(design)}{_TRIAL}{_PANEL}{_END}"
        f"</main><script>{SCRIPT}</script></body></html>\n"
    )


def _start(design: Design) -> str:
    shown = f"{number(design.seconds)} s" if design.seconds else "until you answer"
    each = (FIXATION + MASK) / 1000 + design.seconds + THINKING
    time = f"about {math.ceil(design.total * each / 60)} min"
    then = "It appears after a small cross, once, and is gone." if design.seconds else "Look as long as you like."
    first = f" The first {count(design.practice, 'picture')} are practice: after each you are told the truth, and they "
    return (
        "<div class='screen' id='start'><p class='kicker'>Human judgement</p>"
        "<h1 tabindex='-1'>Real or generated?</h1>"
        "<p class='claim'>You will see pictures one at a time. Half of them are real, the other half were made by a "
        "model. Say of each which it is; where you cannot tell, guess.</p>"
        f"{facts({'Pictures': f'{design.trials:,}', 'Each is shown': shown, 'Takes': time})}"
        "<form id='who'><label for='name'>Your name</label>"
        "<input id='name' name='name' maxlength='40' required autocomplete='off' spellcheck='false' "
        "aria-describedby='again'><button class='first'>Start <kbd>Enter</kbd></button></form>"
        "<p class='problem' id='problem' role='alert'></p>"
        "<p class='remark' id='again'>The same name goes on where it stopped. Your name and your answers stay on the "
        f"machine that serves this page.{first + 'do not count.' if design.practice else ''}</p>"
        "<dl class='how'>"
        f"<dt>The picture</dt><dd>{then}</dd>"
        f"{_key('<kbd>R</kbd> or <kbd>←</kbd>', 'It is real.')}"
        f"{_key('<kbd>F</kbd> or <kbd>→</kbd>', 'It is a fake: a model made it.')}"
        f"{_key('<kbd>Esc</kbd>', 'Pause, or stop and go on another day.')}</dl></div>"
    )


def _key(key: str, meaning: str) -> str:
    """A line on a key, left out where there is no keyboard."""
    return f"<dt class='key'>{key}</dt><dd class='key'>{meaning}</dd>"


_TRIAL = (
    "<div class='screen' id='trial' hidden tabindex='-1' role='group' aria-label='Trial'>"
    "<div class='bar'><span id='count'></span><progress id='progress' aria-labelledby='count'></progress>"
    "<button type='button' id='pause'>Pause <kbd>Esc</kbd></button></div>"
    "<div class='field' id='field'><div class='cross' id='cross'></div>"
    "<canvas id='mask' aria-hidden='true'></canvas><img id='picture' alt='The picture to judge'></div>"
    "<div class='ask waiting' id='ask'><p>Real, or a fake?</p><div>"
    "<button type='button' id='real'>Real <kbd>R</kbd></button>"
    "<button type='button' id='fake'>Fake <kbd>F</kbd></button></div></div></div>"
)
_PANEL = (
    "<div class='screen' id='panel' hidden><h2 id='title' tabindex='-1'></h2><p id='text'></p><div class='choices'>"
    "<button type='button' class='first' id='on'><span id='action'></span> <kbd>Space</kbd></button>"
    "<button type='button' id='stop'>Stop here</button></div></div>"
)
_END = (
    "<div class='screen' id='end' hidden><p class='kicker'>Done</p><h1 id='thanks' tabindex='-1'></h1>"
    "<div class='score'><div class='card'><h3>You were wrong in</h3><p class='value' id='error'></p>"
    "<p class='remark' id='error-interval'></p></div>"
    "<div class='card'><h3>Fakes you took for real</h3><p class='value' id='on_fakes'></p>"
    "<p class='remark' id='on_fakes-interval'></p></div>"
    "<div class='card'><h3>Real ones you took for fakes</h3><p class='value' id='on_reals'></p>"
    "<p class='remark' id='on_reals-interval'></p></div></div>"
    "<p>Guessing errs at 50 %: the nearer you came to it, the better the model. At 0 % you were right every time.</p>"
    "<div class='choices'><button type='button' id='another'>Somebody else</button></div></div>"
)
