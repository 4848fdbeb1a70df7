"""The Hugging Face hub: a folder there and back, only when asked by name, never a pickle, every file checked.

huggingface_hub does the talking: its settings (HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE) hold here too.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.export.folder import (
    ABOUT,
    CARD,
    ONNX,
    PICTURE,
    TENSORS,
    check_folder,
    check_free,
    read_about,
    whole,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARRIED = (ABOUT, TENSORS, ONNX, PICTURE, CARD)
"""What goes there and comes back. Not `.pt2`: it holds a pickle, and opening one can run its author's code."""


def push(folder: str | Path, repo: str, *, public: bool = False) -> str:
    """Sends an exported generator to the repository `OWNER/NAME`, made if there is none, and returns its address.

    public: publish: a new repository is open to all, and one that is open may be written to. Raises ValueError, before
    anything is sent, for a damaged folder, and where there is a repository already that is open or private against it.
    """
    folder = Path(folder)
    _check_name(repo)
    named = check_folder(folder, CARRIED)["files"]
    there = [name for name in CARRIED if (name in named or name in (ABOUT, CARD)) and (folder / name).is_file()]
    with _talking("push to", repo) as api:
        api.create_repo(repo, private=not public, exist_ok=True)
        info = api.model_info(repo)
    if public and info.private:
        raise ValueError(
            f"{repo} is private, and --public opens new repositories alone, so that nothing was sent; "
            "open it in its settings on the hub, or push without --public"
        )
    if not public and info.private is not True:
        raise ValueError(
            f"{repo} is {'open to all' if info.private is False else 'not known to be private'}, so that nothing was "
            "sent; give --public to publish there, or name another"
        )
    with _talking("push to", repo) as api:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        former = {file.rfilename for file in info.siblings or ()} & set(CARRIED) - set(there)
        changes = [CommitOperationAdd(name, folder / name) for name in there]
        changes += [CommitOperationDelete(name) for name in sorted(former)]
        api.create_commit(repo, changes, commit_message="Add a generator")
    return f"{api.endpoint}/{repo}"


def pull(repo: str, out: str | Path, *, revision: str | None = None) -> Path:
    """Fetches an exported generator from the repository `OWNER/NAME` into the new folder `out`, and returns it.

    revision: a branch, tag or commit. Files come from one commit; each is held against its digest in `generator.json`.
    Raises ValueError, leaving no folder, where the hub can't be reached, a file is missing, or one is not as it says.
    """
    folder = Path(out)
    _check_name(repo)
    check_free(folder)
    with whole(folder) as beside:
        with _talking("pull from", repo) as api:
            info = api.model_info(repo, revision=revision)
            there = {file.rfilename for file in info.siblings or ()}
            if ABOUT in there:
                api.hf_hub_download(repo, ABOUT, revision=info.sha, local_dir=beside)
        if ABOUT not in there:
            raise ValueError(f"{repo} must hold an exported generator with a {ABOUT}, got none; name another")
        with _naming(repo, beside):
            named = {*read_about(beside)["files"], CARD}
        with _talking("pull from", repo) as api:
            for name in CARRIED[1:]:
                if name in named and name in there:
                    api.hf_hub_download(repo, name, revision=info.sha, local_dir=beside)
        shutil.rmtree(beside / ".cache", ignore_errors=True)  # where the client keeps notes of its own
        with _naming(repo, beside):
            check_folder(beside, CARRIED)
    return folder


@contextmanager
def _naming(repo: str, beside: Path) -> Iterator[None]:
    """Errors name the repository in place of a folder that is gone when they are read."""
    try:
        yield
    except ValueError as error:
        told = str(error).replace(f"{beside}{os.sep}", "")
        raise ValueError(f"{repo}: {told}, or ask its owner to push it again") from error


def _check_name(repo: str) -> None:
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo):
        raise ValueError(f"a repository is named OWNER/NAME, got {repo!r}; name it so")


@contextmanager
def _talking(doing: str, repo: str) -> Iterator["HfApi"]:
    """The hub's client, whose errors become one line each. Raises ValueError."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ValueError(
            "the hub is reached with huggingface_hub, which is not installed; "
            "install it with: pip install 'pushforward[hub]'"
        ) from error
    # Read here, as the client reads it only once, when it is first imported.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="pushforward")
    try:
        yield api
    except Exception as error:  # those of the client, of its HTTP library, which changes, and of the system
        both = [e for e in (error, error.__cause__) if e is not None]  # a card is refused in words, from a status
        found = (getattr(getattr(e, "response", None), "status_code", None) for e in both)
        status = next((code for code in found if code is not None), None)
        may = "write" if doing.startswith("push") else "read it, and accept its terms on its page if it has any"
        remedies = {
            401: "check its name, and log in with `hf auth login` or set HF_TOKEN",
            403: f"your token may not do that: make one that may {may}",
            404: "check its name and the revision; a private one takes a login (`hf auth login` or HF_TOKEN)",
        }
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            remedy = "make room on the disk, then try again"
        elif isinstance(error, OSError) and error.filename is not None:
            remedy = "see to that file, then try again"
        elif status in (408, 409, 412, 429):  # a timeout, another's commit at the same time, too many requests
            remedy = "wait a little, then try again"
        elif status is not None and 400 <= status < 500:
            remedy = remedies.get(status, "the hub refuses it as it is: mend what it names")
        else:
            remedy = f"check the connection to {api.endpoint}, then try again"
        told = [" ".join(str(e).split())[:200] for e in both]
        reason = ": ".join(dict.fromkeys(filter(None, told))) or type(error).__name__
        raise ValueError(f"cannot {doing} {repo}: {reason}; {remedy}") from error
