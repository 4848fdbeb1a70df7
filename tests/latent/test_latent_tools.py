"""The tools on runs, from Python and the command line: what they leave, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pushforward as pf
from pushforward import exhibits
from pushforward.cli import main
from pushforward.commands.latent import TOOLS, _layers
from pushforward.latent import directions, searches, tools
from pushforward.latent.opened import Opened
from pushforward.latent.sheets import _font, _width, _wrapped, sheet
from pushforward.metrics.manifold import Overlap
from pushforward.report import read_run, sections

QUICK = {"examples": 64, "batch": 16, "ticks": 1, "pictures": 1, "checkpoints": 1, "evaluations": 0, "measure": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images of 8 × 8, dark or bright, in a folder each."""
    folder, rng = tmp_path_factory.mktemp("latent") / "shades", np.random.default_rng(0)
    for name, low in (("bright", 150), ("dark", 0)):
        (folder / name).mkdir(parents=True)
        for i in range(24):
            Image.fromarray(rng.integers(low, low + 100, (8, 8), np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, Path]:
    root, small = tmp_path_factory.mktemp("latent-runs"), {"resolution": 8, "width": 4, **QUICK}
    made = {
        "cgan": pf.train("cgan", str(data), root / "cgan", latent=8, **small),
        "dcgan": pf.train("dcgan", str(data), root / "dcgan", latent=8, **small),
        "bare": pf.train("dcgan", str(data / "dark"), root / "bare", latent=8, **small),
        "styled": pf.train("stylegan", str(data), root / "styled", latent=8, depth=1, **small),
        "points": pf.train("gan", "ring8", root / "points", width=8, depth=1, **QUICK),
    }
    return {name: run.folder for name, run in made.items()}


def numbers(path: Path) -> dict[str, object]:
    return json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("run", "words", "extra"),
    [
        ("cgan", ["interpolate", "-n", "3", "--steps", "4", "--path", "linear"], []),
        ("styled", ["interpolate", "-n", "2"], []),
        ("cgan", ["arithmetic"], []),
        ("styled", ["arithmetic", "--from", "0", "--to", "1", "-n", "2", "--space", "w"], []),
        ("cgan", ["project", "3", "--steps", "5", "--restarts", "2", "--class", "1"], ["npz"]),
        ("styled", ["project", "3", "--steps", "5", "--distance", "pixels"], ["npz"]),
        ("styled", ["project", "3", "--steps", "2", "--space", "w+"], ["npz"]),
        ("dcgan", ["truncation", "--truncations", "0.5", "--features", "pixels"], []),
        ("styled", ["truncation", "--truncations", "0.5", "--features", "pixels"], []),
        ("styled", ["mix", "-n", "2", "--layers", "0,2-3"], []),
        ("cgan", ["classes", "-n", "3"], []),
        ("dcgan", ["directions", "-n", "2"], ["npz"]),
        ("cgan", ["directions", "-n", "2", "--method", "ganspace", "--class", "1"], ["npz"]),
        ("styled", ["directions", "-n", "2"], ["npz"]),
        ("styled", ["directions", "-n", "2", "--method", "ganspace"], ["npz"]),
        ("styled", ["directions", "-n", "2", "--layers", "0,2-3"], ["npz"]),
    ],
)
def test_each_tool_leaves_a_picture_and_its_numbers(
    run: str,
    words: list[str],
    extra: list[str],
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[torch.Tensor],
) -> None:
    monkeypatch.setattr(searches, "FITTED", 300)
    monkeypatch.setattr(tools, "DRAWN", 300)
    out = tmp_path / "new" / "picture.png"
    tool, *options = words
    assert main(["latent", tool, str(runs[run]), "--out", str(out), "--seed", "1", *options]) == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(out.with_suffix(f".{kind}")) for kind in ("png", "json", *extra)]
    assert {p.name for p in out.parent.iterdir()} == {f"picture.{kind}" for kind in ("png", "json", *extra)}
    with Image.open(out) as picture:
        assert picture.mode == "RGB"
        assert picture.width > 100
    assert len(drawn) == (tool != "truncation")
    assert all(images.std() > 0 for images in drawn)  # little more, so soon after they began
    assert "NaN" not in out.with_suffix(".json").read_text()
    if "--layers" in words:
        assert numbers(out)["layers"] == [0, 2, 3]
    if run == "styled" and tool != "mix":
        assert numbers(out)["space"] == ("w+" if "w+" in words else "w")


def test_the_picture_lies_in_the_run_unless_told_otherwise(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latent", "classes", str(runs["cgan"]), "-n", "2"]) == 0
    assert (runs["cgan"] / "latent" / "classes.png").exists()
    assert capsys.readouterr().out.split()[0] == str(runs["cgan"] / "latent" / "classes.png")


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        ("", [], "latent needs a tool first"),
        ("", ["mixx"], "there is no latent tool 'mixx'; did you mean mix?"),
        ("", ["interpolate"], "Missing from pushforward latent interpolate: PATH"),
        ("", ["interpolate", "/no/such/run"], "is not a run folder"),
        ("points", ["interpolate"], "makes points, and latent tools show images; its report has paths"),
        ("cgan", ["interpolate", "--out", "paths.jpg"], "the picture is written as .png, got paths.jpg"),
        ("cgan", ["interpolate", "--stepps", "3"], "Unrecognized options: --stepps"),
        ("cgan", ["interpolate", "--steps", "1"], "2 steps at least"),
        ("cgan", ["interpolate", "-n", "0"], "at least 1 of the paths is needed, got 0; give 1 or more"),
        ("cgan", ["interpolate", "-n", "-1"], "at least 1 of the paths is needed, got -1; give 1 or more"),
        ("cgan", ["arithmetic", "-n", "-1"], "at least 1 of the samples or pairs of classes is needed, got -1; give"),
        ("cgan", ["classes", "-n", "0"], "at least 1 of the columns is needed, got 0; give 1 or more"),
        ("styled", ["mix", "-n", "-1"], "at least 1 of the rows is needed, got -1; give 1 or more"),
        ("dcgan", ["truncation", "-n", "0"], "at least 1 of the samples is needed, got 0; give 1 or more"),
        ("cgan", ["interpolate", "--seed", "-1"], "the seed must not be negative"),
        ("cgan", ["interpolate", "--space", "w"], "needs a generator with styles"),
        ("cgan", ["interpolate", "--checkpoint", "best"], "use the last one"),
        ("bare", ["arithmetic"], "has none; use directions, which needs none, or train on"),
        ("cgan", ["arithmetic", "--from", "1"], "give both --from and --to"),
        ("cgan", ["arithmetic", "--from", "1", "--to", "1"], "give both --from and --to, not the same"),
        ("cgan", ["arithmetic", "--from", "1", "--to", "7"], "there are no samples of class 7; choose of 0–1"),
        ("cgan", ["project", "/no/such/image.png"], "there is no image /no/such/image.png; give an image file"),
        ("cgan", ["project", "48"], "has examples 0 to 47, got 48"),
        ("cgan", ["project", "CONFIG"], "is no image that can be read"),
        ("cgan", ["project", "3", "--class", "2"], "class 2 is not one of 0 to 1"),
        ("dcgan", ["project", "3", "--class", "1"], "is not conditional; leave out the class"),
        ("dcgan", ["project", "3", "--restarts", "0"], "1 start at least"),
        ("dcgan", ["project", "3", "--steps", "0"], "1 step at least"),
        ("bare", ["project", "3", "--distance", "features"], "has none; give --distance pixels, or train on"),
        ("bare", ["truncation", "--features", "classifier"], "has none; give --features pixels, or train on"),
        ("dcgan", ["truncation", "--truncations", "-1"], "truncation must not be negative"),
        ("dcgan", ["truncation", "--space", "w"], "has no styles"),
        ("styled", ["truncation", "--truncations", "-1"], "truncation must not be negative"),
        ("dcgan", ["truncation", "--features", "pixel"], "did you mean pixels?"),
        ("dcgan", ["mix"], "mix needs a generator with styles (a mapping and a synthesis network), and dcgan has none"),
        ("styled", ["mix", "--layers", "a-b"], "layers are numbers and ranges such as 0-3"),
        ("styled", ["mix", "--layers", "0-9"], "and not all"),
        ("dcgan", ["classes"], "this dcgan run is not conditional"),
        ("dcgan", ["directions", "-n", "9"], "1 to 8 directions"),
        ("dcgan", ["directions", "--class", "0"], "is not conditional; leave out the class"),
        ("dcgan", ["directions", "--layers", "0"], "moving some layers needs a generator with styles"),
        ("styled", ["directions", "--layers", "2-9"], "there are layers 0 to 3, got 2–9; choose of these"),
        ("styled", ["directions", "--layers", "2-3", "--space", "z"], "got layers 2–3 in z; use --space w"),
        ("dcgan", ["directions", "--reach", "0"], "2 steps at least and some way"),
        ("dcgan", ["directions", "--method", "pca"], "--method"),
    ],
)
def test_a_mistake_gets_one_line_with_a_remedy_and_leaves_nothing(
    run: str,
    words: list[str],
    said: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if run:
        words = [str(runs[run] / "config.json") if word == "CONFIG" else word for word in words]
        words = [words[0], str(runs[run]), *words[1:], *([] if "--out" in words else ["--out", "new/p.png"])]
    assert main(["latent", *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pushforward: error: ")
    assert said in lines[0]
    assert [*tmp_path.iterdir()] == []


def test_help_names_every_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latent", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {tool} " in said for tool in TOOLS)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(runs: dict[str, Path]) -> None:
    pictures = [tools.interpolation(Opened(pf.Run(runs["dcgan"])), 2, seed=seed).picture for seed in (0, 0, 1)]
    assert pictures[0].tobytes() == pictures[1].tobytes() != pictures[2].tobytes()


def test_sefa_of_some_layers_goes_by_their_weights_alone(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[tuple[int, ...]]] = []
    whole = directions.sefa

    def seen(weights: list[torch.Tensor], n: int, codes: torch.Tensor) -> directions.Directions:
        given.append([tuple(weight.shape) for weight in weights])
        return whole(weights, n, codes)

    monkeypatch.setattr(directions, "sefa", seen)
    opened = Opened(pf.Run(runs["styled"]))
    for layers in ([], [2], [0, 3]):
        searches.directions(opened, n=1, layers=layers)
    every, one, two = given
    assert (len(every), len(one), len(two)) == (4, 1, 2)
    assert (one, two) == (every[2:3], [every[0], every[3]])


def test_as_many_reals_are_held_against_the_others_as_samples_are(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    whole, measure = Opened.reals, searches.precision_recall_density_coverage

    def measured(fake: torch.Tensor, real: torch.Tensor, **options: Any) -> Overlap:
        sizes.append((len(fake), len(real)))
        return measure(fake, real, **options)

    monkeypatch.setattr(Opened, "reals", lambda self, n, seed: whole(self, n, seed)[:47])
    monkeypatch.setattr(searches, "precision_recall_density_coverage", measured)
    searches.truncation(Opened(pf.Run(runs["dcgan"])), features="pixels")
    assert sizes == [(23, 23)]


def test_an_image_file_is_seen_as_the_run_sees_its_examples(runs: dict[str, Path], data: Path) -> None:
    opened = Opened(pf.Run(runs["cgan"]))
    name, image = opened.image(str(data / "bright" / "0.png"))
    assert (name, image.shape) == ("0.png", (1, 8, 8))
    assert torch.equal(image, opened.image("0")[1])
    assert 150 / 127.5 - 1 <= float(image.min()) <= float(image.max()) < 250 / 127.5 - 1


def test_the_code_that_is_kept_makes_the_image_that_is_shown(runs: dict[str, Path]) -> None:
    opened = Opened(pf.Run(runs["dcgan"]))
    shown = searches.projection(opened, "5", steps=10, restarts=2)
    again = opened.game.sample(torch.from_numpy(shown.arrays["code"])[None])[0]
    torch.testing.assert_close(again, torch.from_numpy(shown.arrays["image"]))
    assert shown.numbers["distance"] == pytest.approx(min(shown.numbers["restarts"]), rel=1e-5)
    assert shown.numbers["distance"] < shown.numbers["start"]
    assert len(shown.numbers["restarts"]) == 2


def test_one_style_serves_all_layers_in_w_and_each_has_its_own_in_w_plus(runs: dict[str, Path]) -> None:
    opened = Opened(pf.Run(runs["styled"]))
    codes = [searches.projection(opened, "5", steps=5, restarts=1, space=s).arrays["code"] for s in ("w", "w+")]
    assert [code.shape for code in codes] == [(4, 8)] * 2
    assert [bool((code == code[:1]).all()) for code in codes] == [True, False]


def test_layers_are_numbers_and_ranges() -> None:
    assert _layers("0-2, 5") == [0, 1, 2, 5]
    assert _layers(None) == []


def test_a_run_keeps_arithmetic_for_its_report_where_classes_can_be_told(runs: dict[str, Path], tmp_path: Path) -> None:
    run = read_run(runs["cgan"])
    assert run.exhibits["arithmetic"].shape == (2, 5, 8, 8, 1)
    assert run.exhibits["arithmetic_y"].tolist() == [[0, 1], [1, 0]]
    assert "arithmetic_reached" not in run.exhibits  # nothing measured, so that no classifier was at hand
    section = sections.arithmetic(run)
    assert section is not None
    assert section.html.count("<img") == 10
    assert "bright + 0.5 (dark − bright)" in section.html
    assert "Arithmetic on classes" in (runs["cgan"] / "report.html").read_text(encoding="utf-8")
    for name in ("dcgan", "bare", "points"):
        assert sections.arithmetic(read_run(runs[name])) is None


def test_an_unconditional_run_has_arithmetic_once_something_tells_classes(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pf.Run(runs["dcgan"])
    monkeypatch.setattr(exhibits, "SUMMED", 200)
    # Brighter than the middle one of the samples, so that there are as many of either class.
    middle = float(run.sample(200).mean((1, 2, 3)).median())

    def classify(x: torch.Tensor) -> torch.Tensor:
        return (x.mean((1, 2, 3)) > middle).long()

    exhibits.write_exhibits(tmp_path, run.game(), run.data(), torch.device("cpu"), 0, classify)
    with np.load(tmp_path / "exhibits.npz") as kept:
        assert kept["arithmetic"].shape == (2, 5, 8, 8, 1)
        reached = kept["arithmetic_reached"]
    assert reached[0] == 0.0
    assert reached[-1] > 0.8
    assert (np.diff(reached) >= 0).all()
    # A generator that has collapsed makes one class alone: nothing to add, and the run ends as any other.
    exhibits.write_exhibits(
        tmp_path, run.game(), run.data(), torch.device("cpu"), 0, lambda x: torch.full((len(x),), 5)
    )
    with np.load(tmp_path / "exhibits.npz") as kept:
        assert "fake" in kept
        assert "arithmetic" not in kept


@pytest.mark.parametrize(
    "broken",
    [{"arithmetic": np.zeros((2, 3))}, {"arithmetic_y": np.zeros(5)}, {"arithmetic_strengths": np.zeros(9)}],
)
def test_arithmetic_of_odd_shapes_is_told_of_and_breaks_nothing(
    broken: dict[str, np.ndarray], runs: dict[str, Path]
) -> None:
    run = read_run(runs["cgan"])
    run.exhibits.update(broken)
    section = sections.arithmetic(run)
    assert section is not None
    assert "class='nothing'" in section.html


def test_a_sheet_shows_its_images_as_they_are_with_room_for_names_and_words() -> None:
    images = torch.rand(2, 3, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain, named = sheet(images, "words"), sheet(images, "words", rows=["a", "b"], columns=["1", "2", "3"])
    x, y = np.asarray(plain), images[1, 2, 0]
    tile = x[12 + 68 : 12 + 132, 12 + 136 : 12 + 200, 0]
    assert np.abs(tile / 127.5 - 1 - y.numpy()).max() < 0.005
    assert named.width >= plain.width
    assert named.height == plain.height + 14 + 3 + 4
    apart = np.asarray(sheet(images, "words", apart=True))
    assert np.array_equal(apart[80:144, 12 + 136 + 8 : 12 + 200 + 8], x[80:144, 12 + 136 : 12 + 200])
    assert sheet(images, "many words " * 40).height > plain.height


def test_lines_of_a_caption_fit_and_lose_no_word() -> None:
    text = "arcs between independent codes → ψ × 0.5 − more"
    lines = _wrapped(text, 120)
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert max(map(_width, lines)) <= 120


def test_the_font_has_the_letters_of_mathematics() -> None:
    missing = bytes(_font().getmask("\U0010ffff"))
    assert all(bytes(_font().getmask(letter)) != missing for letter in "→ψ×−–σ")
