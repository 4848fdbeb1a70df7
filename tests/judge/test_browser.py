"""The page in a real browser: whole sessions by keyboard, what is on the screen and for how long, and what is sent."""

import io
import json
import re
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pushforward.judge import answers
from pushforward.judge.server import JudgeServer, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright; pip install -e '.[dev]'")
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH; apt-get install chromium"),
    # A browser on a machine with more to do than it can: what fails each time is broken.
    pytest.mark.flaky(reruns=4),
]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
N = 20
# Red says real, green which row, as the colour of the whole image.
FAKES = np.zeros((N, 8, 8, 3), np.uint8)
FAKES[..., 1] = 10 * np.arange(N)[:, None, None]
REALS = FAKES.copy()
REALS[..., 0] = 255
STATE = {"rater", "next", "total", "practice", "seconds", "result"}
# Each frame: its time, whether the picture and the mask are seen, and whether an answer is asked for.
WATCH = """
window.frames_seen = [];
const watch = now => {
  const seen = id => {
    const it = document.getElementById(id);
    return Boolean(it) && it.offsetParent !== null && getComputedStyle(it).visibility === 'visible';
  };
  window.frames_seen.push([now, seen('picture'), seen('mask'), seen('real')]);
  requestAnimationFrame(watch);
};
requestAnimationFrame(watch);
"""
# Of each text: its colour, and the colour behind it.
COLOURS = """() => {
  const style = it => getComputedStyle(it);
  const behind = it => style(it).backgroundColor === 'rgba(0, 0, 0, 0)' ? behind(it.parentElement) : it;
  return [...document.querySelectorAll('h1, h2, h3, p, dt, dd, label, button, kbd, .bar span')]
    .map(it => [style(it).color, style(behind(it)).backgroundColor]);
}"""


@dataclass
class Tab:
    """A page with all that it logged, asked for and was told."""

    page: Any
    server: JudgeServer
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    replies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", self._told)
        self.page.add_init_script(WATCH)

    def _told(self, response: Any) -> None:
        if response.request.method == "POST" and response.ok:
            self.replies.append((response.url, response.json()))

    def start(self, name: str) -> None:
        self.page.goto(self.server.url)
        self.name(name)

    def name(self, name: str) -> None:
        """Types a name on the start screen, where the cursor is in its field already."""
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")

    def asked(self) -> None:
        """Waits until an answer is asked for."""
        self.page.wait_for_selector("#ask:not(.waiting)")

    def panel(self, title: str) -> None:
        """Waits for the panel of this title."""
        self.page.get_by_role("heading", name=title).wait_for()

    def answer(self, key: str) -> None:
        """Waits for the question, answers it, and waits until the server took it."""
        self.asked()
        with self.page.expect_response(re.compile("/answer$")):
            self.page.keyboard.press(key)

    def when_shown(self, script: str) -> None:
        """Runs the script whenever something comes into view in the field; `id` says what, `pressed` is a list."""
        self.page.add_init_script(
            "window.pressed = []; let last = '';"
            "addEventListener('DOMContentLoaded', () => new MutationObserver(() => {"
            "const it = document.querySelector('#field > .shown'), id = it ? it.id : '';"
            "if (id === last) return; last = id; if (!id) return;"
            f"{script}"
            "}).observe(document.getElementById('field'), {subtree: true, attributeFilter: ['class']}));"
        )

    @property
    def kept(self) -> list[answers.Answer]:
        return answers.read(self.server.panel.folder / "answers.jsonl")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def tabs(browser, tmp_path) -> Iterator[Any]:
    """Opens tabs on one server: tabs(seconds=…, trials=…, …), then tabs() for more."""
    contexts, stack = [], []

    def opened(options: dict[str, Any] | None = None, **settings: Any) -> Tab:
        if settings:
            running = serving(FAKES, REALS, tmp_path, **settings)
            stack.append((running, running.__enter__()))
        contexts.append(browser.new_context(**(options or {})))
        return Tab(contexts[-1].new_page(), stack[-1][1])

    yield opened
    for context in contexts:
        context.close()
    for running, _ in reversed(stack):
        running.__exit__(None, None, None)


def picture_of(tab: Tab, selector: str) -> Image.Image:
    """What is on the screen where the element is; pixels that it has a part in are in it."""
    return Image.open(io.BytesIO(tab.page.locator(selector).screenshot())).convert("RGB")


def runs(frames: list[list[Any]], column: int) -> list[float]:
    """Milliseconds of each stretch of frames in which the column holds, from its first frame to the one after it."""
    lengths, began = [], None
    for now, *seen in frames:
        if seen[column] and began is None:
            began = now
        elif not seen[column] and began is not None:
            lengths.append(now - began)
            began = None
    return lengths


def test_a_whole_session_by_keyboard_ends_with_the_servers_error_rate(tabs):
    tab = tabs(seconds=0.1, trials=4, practice=2, seed=1)
    tab.start("Zoë")
    plan = tab.server.panel.design.plan("Zoë")
    keys = {True: ("r", "ArrowLeft", "R"), False: ("f", "ArrowRight", "F")}
    wrong = {0, 3}  # the first in practice
    for trial in plan:
        said = trial.real != (trial.index in wrong)
        tab.answer(keys[said][trial.index % 3])
        if trial.practice:
            tab.panel("It was real" if trial.real else "It was a fake")
            right = tab.page.locator("#text").inner_text().startswith("You were right.")
            assert right == (trial.index not in wrong)
            tab.page.keyboard.press("Space")
    tab.page.get_by_role("heading", name="Thank you, Zoë").wait_for()
    assert [(a.trial, a.wrong) for a in tab.kept] == [(i, i in wrong) for i in range(6)]
    result = tab.server.panel.judgement()
    assert result.error is not None
    assert result.on_fakes is not None
    assert result.on_reals is not None
    shown = [tab.page.locator(f"#{name}").inner_text() for name in ("error", "on_fakes", "on_reals")]
    assert shown == [f"{100 * r.value:.0f} %" for r in (result.error, result.on_fakes, result.on_reals)]
    assert shown[0] == "25 %"
    assert tab.page.locator("#error-interval").inner_text() == (
        f"95 %: {100 * result.error.low:.1f} % to {100 * result.error.high:.0f} %"
    )
    assert tab.problems == []
    own = re.escape(tab.server.url)
    assert all(re.match(rf"({own}|blob:{own}|data:,)", url) for url in tab.requests)
    # Each image once, in order; and no word on any counted trial in what the server said.
    assert [url for url in tab.requests if "/image/" in url] == [f"{tab.server.url}image/{i}" for i in range(6)]
    assert [reply.keys() - STATE for _, reply in tab.replies] == [set()] + [{"truth"}] * 6
    truths = ["real" if t.real else "fake" for t in plan[:2]] + [None] * 4
    assert [reply["truth"] for _, reply in tab.replies[1:]] == truths
    assert [reply["result"] is None for _, reply in tab.replies] == [True] * 6 + [False]


def test_an_image_is_seen_for_the_time_set_then_a_mask_then_nothing(tabs):
    tab = tabs(seconds=0.4, trials=6, practice=0, seed=2)
    tab.start("Ann")
    for i in range(6):
        tab.asked()
        if i in (0, 3):
            here = picture_of(tab, "#field").crop((20, 20, 1000, 500))
            assert here.getcolors() == [(980 * 480, here.getpixel((0, 0)))]
        tab.page.keyboard.press("r")
    tab.page.wait_for_selector("#end:not([hidden])")
    frames = tab.page.evaluate("window.frames_seen")
    pictures, masks = runs(frames, 0), runs(frames, 1)
    kept = [a.exposure for a in tab.kept]
    assert len(pictures) == len(masks) == 6
    # A busy machine may miss frames, so the longest may be longer; never is an image cut short by more than a frame.
    assert min(pictures) > 380
    assert statistics.median(pictures) == pytest.approx(400, abs=30)
    assert statistics.median(masks) == pytest.approx(150, abs=40)
    assert kept == pytest.approx(pictures, abs=35)
    assert not any(picture and (mask or ask) for _, picture, mask, ask in frames)
    assert all(a.milliseconds >= a.exposure + 100 for a in tab.kept)


def test_the_image_on_the_screen_is_the_planned_one_in_whole_pixels(tabs):
    tab = tabs({"viewport": {"width": 1000, "height": 400}}, seconds=0, trials=4, practice=0, seed=3)
    tab.start("Ann")
    for trial in tab.server.panel.design.plan("Ann"):
        tab.asked()
        box = tab.page.locator("#picture").bounding_box()
        assert box["width"] == box["height"] < 224  # as large as it would be with more room
        assert box["width"] % 8 == 0
        colour = (255 * trial.real, 10 * trial.image, 0)
        assert (round(box["width"] * box["height"]), colour) in picture_of(tab, "#picture").getcolors()
        tab.answer("f")
    assert all(a.exposure == a.milliseconds for a in tab.kept)


def test_nothing_in_the_document_differs_between_a_fake_and_a_real(tabs):
    tab = tabs(seconds=0, trials=4, practice=0, seed=4)
    tab.start("Ann")
    seen = {True: set(), False: set()}
    for trial in tab.server.panel.design.plan("Ann"):
        tab.asked()
        html = tab.page.locator("main").evaluate("it => it.outerHTML")
        html = re.sub(r"blob:[^\"]+|\d+ of 4|value=\"\d\"", "", html)
        assert 'alt="The picture to judge"' in html
        seen[trial.real].add(html)
        tab.page.keyboard.press("r")
    assert seen[True] == seen[False]
    assert len(seen[True]) == 1


def test_keys_count_only_when_asked_and_shortcuts_never(tabs):
    tab = tabs(seconds=0.3, trials=2, practice=0)
    tab.when_shown("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'r', bubbles: true})); pressed.push(id);")
    tab.start("Ann")
    tab.asked()
    assert tab.page.evaluate("window.pressed") == ["cross", "picture", "mask"]
    for key in ("Control+r", "Meta+r", "Alt+ArrowLeft", "x", "Enter", "Space"):
        tab.page.evaluate("key => document.dispatchEvent(new KeyboardEvent('keydown', key))", event(key))
    assert tab.kept == []
    tab.answer("f")
    assert [a.said_real for a in tab.kept] == [False]


def event(key: str) -> dict[str, Any]:
    """A key event that the browser itself does not act on."""
    *held, name = key.split("+")
    return {"key": name, "bubbles": True} | {f"{h.lower().replace('control', 'ctrl')}Key": True for h in held}


def test_a_reload_goes_on_at_the_same_trial(tabs):
    tab = tabs(seconds=0.1, trials=6, practice=0)
    tab.start("Ann")
    tab.answer("r")
    tab.answer("f")
    tab.asked()
    tab.page.reload()
    tab.panel("Welcome back, Ann")
    assert tab.page.locator("#text").inner_text() == "2 of 6 pictures are answered."
    tab.page.keyboard.press("Space")
    tab.asked()
    assert tab.page.locator("#count").inner_text() == "3 of 6"
    tab.answer("r")
    assert [(a.trial, a.loads) for a in tab.kept] == [(0, 1), (1, 1), (2, 2)]
    assert tab.problems == []


def test_a_second_rater_has_a_session_of_their_own_and_the_first_can_come_back(tabs):
    tab = tabs(seconds=0.1, trials=2, practice=0)
    tab.start("Ann")
    tab.answer("r")
    tab.answer("r")
    tab.page.get_by_role("heading", name="Thank you, Ann").wait_for()
    tab.page.get_by_role("button", name="Somebody else").press("Enter")
    tab.name("Bob")
    tab.answer("f")
    tab.page.keyboard.press("Escape")
    tab.panel("Paused")
    tab.page.get_by_role("button", name="Stop here").press("Enter")
    assert tab.page.locator("#problem").inner_text() == ("Bob, you answered 1 of 2. The same name goes on from there.")
    tab.name("Ann")
    tab.page.get_by_role("heading", name="Thank you, Ann").wait_for()
    other = tabs()
    other.start("bob")
    other.panel("Welcome back, Bob")
    other.page.keyboard.press("Space")
    other.answer("f")
    other.page.get_by_role("heading", name="Thank you, Bob").wait_for()
    assert [(a.rater, a.trial) for a in tab.kept] == [("Ann", 0), ("Ann", 1), ("Bob", 0), ("Bob", 1)]
    assert [r.rater for r in tab.server.panel.judgement().raters] == ["Ann", "Bob"]


def test_a_pause_hides_the_image_and_its_time_is_not_counted(tabs):
    tab = tabs(seconds=0, trials=2, practice=0)
    tab.start("Ann")
    tab.asked()
    tab.page.keyboard.press("Escape")
    tab.panel("Paused")
    assert not tab.page.locator("#picture").is_visible()
    tab.page.keyboard.press("r")
    tab.page.wait_for_timeout(2500)
    tab.page.keyboard.press("Space")
    tab.answer("r")
    assert [a.trial for a in tab.kept] == [0]
    assert tab.kept[0].milliseconds < 2400


def test_an_exposure_that_was_broken_off_starts_again_and_is_marked(tabs):
    tab = tabs(seconds=1.0, trials=2, practice=0)
    # What the browser does when another tab comes to the front.
    tab.when_shown(
        "if (id !== 'picture' || pressed.length) return; pressed.push(id);"
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange')); delete document.hidden;"
    )
    tab.start("Ann")
    tab.panel("Paused")
    tab.page.keyboard.press("Space")
    tab.answer("r")
    assert [(a.trial, a.loads) for a in tab.kept] == [(0, 2)]
    assert tab.kept[0].exposure > 980


def test_an_answer_that_did_not_arrive_is_sent_again_and_kept_once(tabs):
    tab = tabs(seconds=0.1, trials=4, practice=0)
    tab.start("Ann")
    tab.asked()
    tab.page.route("**/answer", lambda route: route.abort(), times=1)
    tab.page.keyboard.press("f")
    tab.panel("That did not work")
    assert "cannot be reached" in tab.page.locator("#text").inner_text()
    with tab.page.expect_response(re.compile("/answer$")):
        tab.page.keyboard.press("Space")

    def taken_but_not_told(route: Any) -> None:
        route.fetch()
        route.abort()

    tab.asked()
    tab.page.route("**/answer", taken_but_not_told, times=1)
    tab.page.keyboard.press("f")
    tab.panel("That did not work")
    tab.page.keyboard.press("Space")  # sends it again; the server says that it has it
    tab.page.locator("#text", has_text="answered already").wait_for()
    tab.page.keyboard.press("Space")
    tab.panel("Welcome back, Ann")
    tab.page.keyboard.press("Space")
    tab.asked()
    assert tab.page.locator("#count").inner_text() == "3 of 4"
    assert [(a.trial, a.said_real) for a in tab.kept] == [(0, False), (1, False)]


def test_two_tabs_of_one_rater_answer_each_trial_once(tabs):
    one = tabs(seconds=0.1, trials=4, practice=0)
    one.start("Ann")
    one.asked()
    two = tabs()
    two.start("Ann")
    two.answer("r")
    one.page.keyboard.press("f")
    one.panel("That did not work")
    one.page.keyboard.press("Space")
    one.panel("Welcome back, Ann")
    assert [(a.trial, a.said_real) for a in one.kept] == [(0, True)]


def test_a_refused_name_is_said_on_the_start_screen(tabs):
    tab = tabs(seconds=0.1, trials=2, practice=0)
    tab.start("  ")
    tab.page.locator("#problem", has_text="printable").wait_for()
    tab.page.keyboard.press("Control+a")
    tab.name("<img src=x onerror=alert(1)>")
    tab.answer("r")
    tab.answer("r")
    tab.page.get_by_role("heading", name="Thank you, <img src=x onerror=alert(1)>").wait_for()


def test_by_finger_on_a_phone_nothing_runs_over_the_edge(tabs):
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    tab = tabs(phone, seconds=0.1, trials=2, practice=2)
    tab.page.goto(tab.server.url)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.page.evaluate(wide) == 0
    tab.page.get_by_label("Your name").fill("Ann")
    tab.page.get_by_role("button", name="Start").tap()
    for name in ("Real", "Fake"):
        tab.asked()
        assert tab.page.evaluate(wide) == 0
        tab.page.get_by_role("button", name=name).tap()
        tab.page.get_by_role("button", name="Next").tap()
    for name in ("Real", "Fake"):
        tab.asked()
        tab.page.get_by_role("button", name=name).tap()
    tab.page.wait_for_selector("#end:not([hidden])")
    assert tab.page.evaluate(wide) == 0
    assert [a.said_real for a in tab.kept] == [True, False, True, False]


def test_what_happens_is_said_to_screen_readers_and_focus_can_be_seen(tabs):
    tab = tabs(seconds=0.1, trials=2, practice=0)
    tab.page.goto(tab.server.url)
    status = tab.page.locator("[aria-live=polite]")
    outline = (
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert tab.page.evaluate("document.activeElement.id") == "name"
    assert tab.page.evaluate(outline) == "solid2px"
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Start Enter"
    assert tab.page.evaluate(outline) == "solid2px"
    tab.page.keyboard.press("Shift+Tab")
    tab.name("Ann")
    tab.page.wait_for_selector("#cross.shown")
    assert status.inner_text() == "Picture 1 of 2"
    tab.asked()
    assert status.inner_text() == "Real, or a fake? Press R or F."
    tab.page.keyboard.press("Escape")
    assert status.inner_text().startswith("Paused")
    assert tab.page.evaluate("document.activeElement.id") == "on"
    tab.page.keyboard.press("Enter")
    tab.answer("r")
    tab.answer("r")
    tab.page.wait_for_selector("#end:not([hidden])")
    assert status.inner_text().startswith("Done. You were wrong in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_nothing_moves(tabs, scheme):
    tab = tabs({"color_scheme": scheme, "reduced_motion": "reduce"}, seconds=0.1, trials=2, practice=2)
    tab.page.goto(tab.server.url)
    pairs = tab.page.evaluate(COLOURS)
    assert len(pairs) > 10
    for ink, page in pairs:
        a, b = sorted((luminance(ink), luminance(page)))
        assert (b + 0.05) / (a + 0.05) >= 4.5, (ink, page)
    moving = "document.getAnimations().length"
    assert tab.page.evaluate(moving) == 0
    page = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(page) < 0.1) == (scheme == "dark")


def luminance(colour: str) -> float:
    """Of an rgb(…) colour, as the contrast guidelines have it."""
    parts = [int(x) / 255 for x in re.findall(r"\d+", colour)[:3]]
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_the_answers_file_says_what_the_page_measured(tabs):
    tab = tabs(seconds=0.1, trials=2, practice=0)
    tab.start("Ann")
    tab.asked()
    tab.page.wait_for_timeout(400)
    with tab.page.expect_request(re.compile("/answer$")) as sent:
        tab.page.keyboard.press("r")
    tab.asked()
    given, (kept,) = json.loads(sent.value.post_data), tab.kept
    assert given == {
        "trial": 0,
        "said": "real",
        "milliseconds": kept.milliseconds,
        "exposure": kept.exposure,
    }
    assert 640 <= kept.milliseconds < 10_000
