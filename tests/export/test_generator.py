"""A generator in a folder of its own: the same samples as its run's, bit for bit, or a refusal that names the file."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from safetensors.torch import load_file

import pushforward
from pushforward import load_generator, recipes
from pushforward.cli import main
from pushforward.core.checkpoint import read
from pushforward.core.duel import Sampler
from pushforward.export import program, writing
from pushforward.export.folder import ABOUT, CARD, PICTURE, PROGRAM, TENSORS
from pushforward.export.generator import Generator
from pushforward.export.writing import export
from pushforward.run import Run

KINDS = [
    (name, kind) for name in recipes.names() for kind in ("images", "points") if kind in recipes.load(name).PRESETS
]
SHIFTING = '''"""A GAN whose samples move with a number that no network holds. arXiv:1406.2661."""
from dataclasses import replace
from pushforward.recipes import gan
from pushforward.recipes.gan import PRESETS, Config

class Shift:
    by = 0.0
    def state_dict(self): return {"by": self.by}
    def load_state_dict(self, state): self.by = state["by"]

def build(cfg, spec):
    game, shift = gan.build(cfg, spec), Shift()
    def play(batches, clock):
        shift.by += 0.5
        yield from game.play(batches, clock)
    return replace(game, play=play, sample=lambda z, y=None: game.sample(z, y) + shift.by, state={"shift": shift})
'''
OWN = '"""My own GAN. arXiv:1406.2661."""\nfrom pushforward.recipes.gan import PRESETS, Config, build\n'


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


@pytest.mark.parametrize(("recipe", "kind"), KINDS)
def test_every_recipes_generator_makes_its_runs_samples_from_the_folder(
    recipe: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_runs.make(tmp_path / "run", recipe, kind)
    if recipe != "gan":
        monkeypatch.setattr(writing, "_picture", lambda *_: None)  # it takes longer than all else
    formats = ("torch", "onnx") if kind == "images" else ()
    folder = export(run, tmp_path / "generator", formats)
    game, G = run.game(device="cpu"), load_generator(folder, device="cpu")
    for truncation in (None, 0.3):
        asked = {"seed": 5, "truncation": truncation}
        assert torch.equal(G.sample(7, **asked), run.sample(7, **asked, device="cpu"))
    assert (G.latent, G.classes) == (game.latent, game.classes)
    for n in (1, 5) if formats else ():
        z = G.latents(n, seed=5)
        y = () if G.classes is None else (torch.arange(n) % G.classes,)
        made, wanted = torch.export.load(folder / PROGRAM).module()(z, *y), game.sample(z, *y)
        torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6 * max(1.0, float(wanted.abs().max())))
        given = {"latents": z.numpy()} | ({} if G.classes is None else {"labels": y[0].numpy()})
        (drawn,) = small_runs.session(folder).run(["samples"], given)
        torch.testing.assert_close(torch.from_numpy(drawn), wanted, rtol=0, atol=1e-4)


def test_the_tensors_are_the_averages_and_not_the_weights(run: Run, exported: Path) -> None:
    player = read(run.checkpoint())["players"]["generator"]
    tensors = load_file(exported / TENSORS)
    assert tensors.keys() == player["nets"].keys()
    average = player["ema"]["nets"]
    assert all(torch.equal(value, average[name]) for name, value in tensors.items())
    assert not torch.equal(tensors["G.first.weight"], player["nets"]["G.first.weight"])


def test_a_run_without_averages_gives_its_weights(tmp_path: Path) -> None:
    run = small_runs.make(tmp_path / "run", "dcgan", ema=None)
    folder = export(run, tmp_path / "generator")
    assert torch.equal(load_generator(folder, device="cpu").sample(4), run.sample(4, device="cpu"))
    assert json.loads((folder / ABOUT).read_text())["networks"] == {
        "G": {"player": "generator", "net": "G", "average": False}
    }


def test_a_generator_is_asked_by_latents_and_classes(exported: Path) -> None:
    G = load_generator(exported, device="cpu")
    assert isinstance(G, Generator)
    assert (G.latent, G.classes, G.labels, G.scale) == ((3,), 3, small_runs.LABELS, 1.0)
    z = G.latents(4, seed=2)
    assert torch.equal(z[:2], G.latents(2, seed=2))
    assert torch.equal(G(z, torch.tensor([0, 1, 2, 0])), G.sample(4, seed=2))
    assert torch.equal(G(z, torch.tensor([1, 1, 1, 1])), G.sample(4, y=1, seed=2))
    assert not torch.equal(G.sample(4, y=1, seed=2), G.sample(4, y=2, seed=2))
    assert G.latents(500, truncation=0.5).abs().max() <= 0.5
    x = G.sample(4)
    assert (x.shape, x.dtype, x.device.type) == ((4, 1, 8, 8), torch.float32, "cpu")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda G: G(torch.zeros(2, 4), torch.zeros(2).long()), r"latents must be \[n, 3\], got \(2, 4\)"),
        (lambda G: G(torch.zeros(0, 3), torch.zeros(0).long()), r"latents must be \[n, 3\], got \(0, 3\)"),
        (lambda G: G(torch.zeros(2, 3)), "takes 3 classes, got no y"),
        (
            lambda G: G(torch.zeros(2, 3), torch.tensor([0, 3])),
            r"y must be \[2\] classes from 0 to 2, got \(2,\), from 0 to 3",
        ),
        (
            lambda G: G(torch.zeros(2, 3), torch.tensor([0])),
            r"y must be \[2\] classes from 0 to 2, got \(1,\), from 0 to 0",
        ),
        (lambda G: G.sample(0), "must be positive, got 0"),
    ],
)
def test_what_a_generator_does_not_take_is_refused(exported: Path, ask: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ask(load_generator(exported, device="cpu"))


def test_points_come_with_the_scale_of_their_law(tmp_path: Path) -> None:
    run = small_runs.make(tmp_path / "run", "gan", "points")
    G = load_generator(export(run, tmp_path / "generator"), device="cpu")
    assert run.law is not None
    assert G.scale == run.law.scale == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match="takes no classes, got some"):
        G(G.latents(2), torch.zeros(2).long())
    with pytest.raises(ValueError, match="takes no classes; leave out y"):
        G.sample(2, y=0)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_one_bit_that_changed_is_found_and_its_file_named(copy: Path) -> None:
    flip(copy / TENSORS)
    with pytest.raises(ValueError, match=rf"{TENSORS} is damaged: its SHA-256 must be \w+, got \w+; export"):
        load_generator(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about.update(format=2), "must have the format 1, got 2; use the version of pushforward"),
        (lambda about: about.pop("files"), "names no generator.safetensors"),
        (lambda about: about["config"].update(colour="red"), "does not hold what this version .* builds as cgan"),
        (lambda about: about["config"].update(width=16), "does not hold what this version .* builds as cgan"),
        (lambda about: about["networks"]["G"].update(player="painter"), "does not hold what this version"),
        (lambda about: about.update(recipe="cgam"), "there is no recipe 'cgam'; did you mean cgan?"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_in_one_line(copy: Path, change: Any, words: str) -> None:
    about = json.loads((copy / ABOUT).read_text())
    change(about)
    (copy / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ValueError, match=words) as caught:
        load_generator(copy)
    assert str(copy) in str(caught.value) or "did you mean" in str(caught.value)


def test_a_folder_without_a_generator_says_what_it_is(run: Run, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got none there; make one with `pushforward export RUN --out FOLDER`"):
        load_generator(tmp_path)
    with pytest.raises(ValueError, match="got a run: export it first"):
        load_generator(run.folder)
    (copy / ABOUT).write_text("{")
    with pytest.raises(ValueError, match=f"{ABOUT} is damaged"):
        load_generator(copy)


def test_no_code_that_the_folder_names_is_run(copy: Path) -> None:
    (copy / "evil.py").write_text("raise SystemExit('this must not be run')\n")
    about = json.loads((copy / ABOUT).read_text())
    for name in (str(copy / "evil.py"), "evil.py", "../evil"):
        (copy / ABOUT).write_text(json.dumps({**about, "recipe": name, "recipe_sha256": None}))
        with pytest.raises(ValueError, match="must name one of pushforward's recipes"):
            load_generator(copy)


def test_a_recipe_of_ones_own_is_run_only_from_ones_own_copy(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.py"
    recipe.write_text(OWN)
    run = small_runs.make(tmp_path / "run", str(recipe), "images")
    folder = export(run, tmp_path / "generator")
    with pytest.raises(ValueError, match=r"mine.py, which is not one of pushforward's; name your copy"):
        load_generator(folder)
    G = load_generator(folder, recipe=recipe, device="cpu")
    assert torch.equal(G.sample(3), run.sample(3, device="cpu"))
    other = tmp_path / "other.py"
    other.write_text(f"{OWN}raise SystemExit('this must not be run')\n")
    with pytest.raises(ValueError, match=r"other.py is not the recipe that made"):
        load_generator(folder, recipe=other)


def test_samples_that_depend_on_more_than_tensors_are_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "shifting.py"
    recipe.write_text(SHIFTING)
    run = small_runs.make(tmp_path / "run", str(recipe), "images")
    with pytest.raises(ValueError, match="read back, the export makes other samples; keep what they depend on"):
        export(run, tmp_path / "generator")
    assert not (tmp_path / "generator").exists()


def test_a_folder_appears_whole_or_not_at_all(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".generator.part"
    left.mkdir()
    (left / "of-a-kill").touch()
    for error in (KeyboardInterrupt, OSError("no space left")):
        monkeypatch.setattr(writing, "card", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            export(run, tmp_path / "generator")
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "generator").mkdir(0o700)  # an empty folder will do, and is left as it was
    with pytest.raises(OSError, match="no space left"):
        export(run, tmp_path / "generator")
    assert (tmp_path / "generator").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "generator").iterdir()) == []
    monkeypatch.undo()
    export(run, tmp_path / "generator")
    assert [path.name for path in tmp_path.iterdir()] == ["generator"]
    assert {path.name for path in (tmp_path / "generator").iterdir()} == {ABOUT, TENSORS, PICTURE, CARD}


def busy(self: Path) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def test_a_link_to_an_empty_folder_is_followed_and_what_cannot_be_replaced_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    export(run, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty" / TENSORS).is_file()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(ValueError, match="got the current folder; name a new folder in it"):
        export(run, ".")
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(Path, "rmdir", busy)
    with pytest.raises(ValueError, match=r"mounted can't be replaced \(Device or resource busy\); name a new folder"):
        export(run, tmp_path / "mounted")
    assert list(here.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "here", "link", "mounted"}


def test_a_second_export_is_refused_and_the_first_untouched(
    run: Run, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / CARD).write_text("edited by hand")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert main(["export", str(run.folder), "--out", str(copy)]) == 2
    assert "got an exported generator already; choose another --out, or remove it" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_program_that_differs_is_refused(
    run: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "traced", lambda *_: torch.export.load(exported / PROGRAM))
    monkeypatch.setattr(Sampler, "__call__", lambda self, z, y=None: self.network(z, y) + 2e-6)
    with pytest.raises(
        ValueError, match=r"torch.export export must agree with the networks to 1e-06, got a difference"
    ):
        export(run, tmp_path / "generator", ("torch",))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_traced_says_what_remains(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_value(self: Any, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.make(z, y) * (2.0 if float(z.sum()) > 0 else 1.0)

    monkeypatch.setattr(program._Whole, "forward", by_value)
    with pytest.raises(ValueError, match=r"generator can't be traced .* export safetensors alone"):
        export(run, tmp_path / "generator", ("torch",))


def test_no_file_says_where_its_maker_worked(run: Run, exported: Path) -> None:
    for path in exported.iterdir():
        data = path.read_bytes()
        for place in (
            b"/home/someone",
            str(run.folder.parent).encode(),
            str(Path(pushforward.__file__).parent).encode(),
        ):
            assert place not in data, path.name
    about = json.loads((exported / ABOUT).read_text())
    assert about["data"]["name"] == "shapes"
    assert "command" not in about


def test_export_prints_the_folder_and_a_mistake_gets_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "generator"
    assert main(["export", str(run.folder), "--out", str(out), "--checkpoint", "best", "--license", "mit"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert "license: mit" in (out / CARD).read_text()
    for words, said in (
        (["export", "/no/such/run"], "is not a run folder"),
        (["export", str(run.folder), "--format", "tflite"], "--format"),
        (["export", str(run.folder), "--out", str(tmp_path / "x"), "--license", "all rights"], "such as mit or cc-by"),
        (["export", str(run.folder), "--out", str(run.folder)], "got something else already; choose another --out"),
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line
    assert not (tmp_path / "x").exists()
