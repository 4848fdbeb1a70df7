"""The test itself, without a network: who is shown what, what is taken for an answer, and what is told when."""

import contextlib
import hashlib
import io
import json
import threading
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pushforward.judge import score
from pushforward.judge.answers import Answer, AnswerBook
from pushforward.judge.trial import Design, Trial
from pushforward.report.document import write_whole

ANSWERS, DESIGN, JUDGEMENT = "answers.jsonl", "design.json", "judgement.json"
LONGEST_NAME = 40
AHEAD = 1
"""How many trials ahead the page may fetch the image of, so that it is there in time."""


class Refused(Exception):
    """A request that is not granted: an HTTP status and one line that says why; nothing was written."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class State:
    """Where a rater stands. next: the trial to answer, total after the last; result: only then."""

    rater: str
    next: int
    total: int
    practice: int
    seconds: float
    result: score.RaterScore | None


def design_of(fakes: np.ndarray, reals: np.ndarray, *, seconds: float, trials: int, practice: int, seed: int) -> Design:
    """The design of a test on these images; raises ValueError for images that make no fair test."""
    for name, images in (("fakes", fakes), ("reals", reals)):
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            got = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise ValueError(f"{name} are uint8 images [N, H, W, C], got {got}; see pictures.to_uint8")
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"{name} have 1 (grey) or 3 (RGB) channels, got {images.shape[-1]}; convert them")
    if fakes.shape[1:] != reals.shape[1:]:
        raise ValueError(
            f"size and colour would tell the two apart: fakes are {fakes.shape[1:]}, reals {reals.shape[1:]}; "
            "bring the reals to the size of the fakes"
        )
    digest = hashlib.blake2b(digest_size=16)
    for images in (fakes, reals):
        digest.update(repr(images.shape).encode())
        digest.update(np.ascontiguousarray(images).data)
    return Design(trials, practice, float(seconds), seed, len(fakes), len(reals), digest.hexdigest())


class Panel:
    """The raters of one folder of answers; its methods may be called from many threads.

    What cannot be granted raises Refused, and leaves everything as it was.
    """

    def __init__(self, fakes: np.ndarray, reals: np.ndarray, folder: Path, design: Design) -> None:
        self.design, self.folder = design, folder
        self._fakes, self._reals = fakes, reals
        folder.mkdir(parents=True, exist_ok=True)
        self._book = AnswerBook(folder / ANSWERS)
        try:
            _keep(folder / DESIGN, design)
        except BaseException:
            self._book.close()
            raise
        self._lock = threading.Lock()
        self._open = True
        self._plans: dict[str, tuple[Trial, ...]] = {}
        self._loads: dict[tuple[str, int], int] = {}

    def join(self, name: str) -> State:
        """Lets a rater in, who goes on where the same name stopped; letters' case and spaces make no other name."""
        rater = " ".join(unicodedata.normalize("NFC", name).split())
        if not rater or len(rater) > LONGEST_NAME or not rater.isprintable():
            raise Refused(400, f"a name has 1 to {LONGEST_NAME} printable characters, got {len(rater)}; choose another")
        with self._lock:
            known = {other.casefold(): other for other in [*self._plans, *self._book.raters]}
            rater = known.get(rater.casefold(), rater)
            self._plans.setdefault(rater, self.design.plan(rater))
            return self._state(rater)

    def picture(self, rater: str, trial: int) -> bytes:
        """The image of the rater's next trial, or of the one after it, as a PNG file."""
        with self._lock:
            shown = self._trial(rater, trial)
            first = self._book.next(rater)
            if not first <= trial <= first + AHEAD:
                raise Refused(409, f"image {trial} is not to be seen now, the next trial is {first}; go on there")
            self._loads[rater, trial] = self._loads.get((rater, trial), 0) + 1
        pixels = (self._reals if shown.real else self._fakes)[shown.image]
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, format="PNG", compress_level=1)
        return file.getvalue()

    def answer(self, rater: str, trial: int, said_real: bool, milliseconds: float, exposure: float) -> dict[str, Any]:
        """Keeps an answer to the rater's next trial. Returns the state after it and, in practice only, the truth."""
        with self._lock:
            shown = self._trial(rater, trial)
            due = self._book.next(rater)
            if trial != due:
                why = "is answered already" if trial < due else "is not the next one"
                raise Refused(409, f"trial {trial} {why}, got an answer to it; the next is {due}, go on there")
            loads = self._loads.get((rater, trial), 0)
            if not loads:
                raise Refused(409, f"trial {trial} was answered before its image was asked for; look at it first")
            given = Answer(
                rater, trial, shown.practice, shown.real, shown.image, said_real, milliseconds, exposure, loads
            )
            self._write(given)
            state = self._state(rater)
        if state.result is not None:
            with contextlib.suppress(OSError):  # the answers are kept, and it is written again at the end
                self.judgement()
        return {**asdict(state), "truth": ("real" if shown.real else "fake") if shown.practice else None}

    def judgement(self) -> score.Judgement:
        """The outcome so far, written to judgement.json."""
        with self._lock:
            result = score.judgement(self._book.answers, self.design)
            score.write(result, self.design, self.folder / JUDGEMENT)
        return result

    def close(self) -> None:
        """Takes no more answers; twice is as once."""
        with self._lock:
            if self._open:
                self._open = False
                self._book.close()

    def _trial(self, rater: str, trial: int) -> Trial:
        plan = self._plans.get(rater)
        if plan is None:
            raise Refused(403, "nobody of this name has started; start with a name first")
        if not 0 <= trial < len(plan):
            raise Refused(404, f"there is no trial {trial}, a session has {len(plan)}; go on with the next")
        return plan[trial]

    def _write(self, given: Answer) -> None:
        if not self._open:
            raise Refused(503, "the test was stopped, the answer is not counted; start the server again")
        try:
            self._book.add(given)
        except OSError as error:
            raise Refused(507, f"the answer could not be kept ({error.strerror}); make room and try again") from error

    def _state(self, rater: str) -> State:
        due, result = self._book.next(rater), None
        if due == self.design.total:
            result = score.judgement(self._book.of(rater), self.design).raters[0]
        return State(rater, due, self.design.total, self.design.practice, self.design.seconds, result)


def read_design(folder: Path) -> Design:
    """The design that a folder's answers belong to."""
    path = folder / DESIGN
    try:
        return Design(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no answers: {DESIGN} is missing; name the folder of a judging") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); put back the one that was written, or start afresh") from error


def _keep(path: Path, design: Design) -> None:
    """Writes the design of a new folder; refuses a folder whose answers belong to another one."""
    if not path.exists():
        write_whole(path, json.dumps(asdict(design), indent=1) + "\n")
        return
    before, now = asdict(read_design(path.parent)), asdict(design)
    for name in ("fingerprint", *now):
        if before[name] != now[name]:
            what = "other images" if name == "fingerprint" else f"{name} {before[name]}, not {now[name]}"
            raise ValueError(f"the answers in {path.parent} are to {what}; go on as they began, or choose a new folder")
