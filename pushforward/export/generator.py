"""A trained generator in one's hands: latents, and classes where it has them, to images or points."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pushforward import recipes, sampling
from pushforward.core.game import Game, Player
from pushforward.core.seeding import torch_seeded
from pushforward.data.spec import DataSpec
from pushforward.encoders.weights import digest_of
from pushforward.export.folder import ABOUT, TENSORS, check_file, read_about
from pushforward.run import resolve_device


@dataclass(frozen=True)
class Generator:
    """What `load_generator` returns. about: what `generator.json` holds."""

    game: Game
    about: dict[str, Any]
    device: torch.device

    @property
    def latent(self) -> tuple[int, ...]:
        """Shape of one latent."""
        return self.game.latent

    @property
    def classes(self) -> int | None:
        """Number of classes that can be asked for; None where it takes none."""
        return self.game.classes

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classes' names, in order, where the data named them."""
        names = self.about["data"]["labels"]
        return None if self.classes is None or names is None else tuple(names)

    @property
    def scale(self) -> float:
        """What points are multiplied by for the units of their data; 1 for images."""
        return self.about["scale"] or 1.0

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [n, *latent], standard normal; y: [n] classes, where it takes them. Returns [n, ...] float32 on the CPU.

        Images are in [-1, 1], -1 black and 1 white; points are in the networks' units (see `scale`).
        """
        if z.shape[1:] != self.latent or not len(z):
            wanted = ", ".join(map(str, self.latent))
            raise ValueError(f"latents must be [n, {wanted}], got {tuple(z.shape)}; draw them with `latents(n)`")
        if (y is None) != (self.classes is None):
            wanted, got = ("no classes", "some") if self.classes is None else (f"{self.classes} classes", "no y")
            raise ValueError(f"this generator takes {wanted}, got {got}; see its `classes`")
        if y is not None and (y.shape != z.shape[:1] or not 0 <= int(y.min()) <= int(y.max()) < (self.classes or 0)):
            got = f"{tuple(y.shape)}, from {int(y.min())} to {int(y.max())}" if y.numel() else "none"
            raise ValueError(f"y must be [{len(z)}] classes from 0 to {(self.classes or 0) - 1}, got {got}; give such")
        return sampling.generate(self.game, z, y, self.device)

    def latents(self, n: int, seed: int = 0, truncation: float | None = None) -> Tensor:
        """Standard normal latents [n, *latent] of a seed; truncation: see `sampling.latents`."""
        return sampling.latents(n, self.latent, seed, truncation)

    def sample(self, n: int = 64, *, y: int | None = None, seed: int = 0, truncation: float | None = None) -> Tensor:
        """`n` samples [n, ...]: all of class `y`, or of each class in turn. The same numbers as `Run.sample` gives."""
        if n < 1:
            raise ValueError(f"the number of samples must be positive, got {n}")
        if y is not None and self.classes is None:
            raise ValueError("this generator takes no classes; leave out y")
        asked = None if self.classes is None else sampling.classes_in_turn(n, self.classes, y)
        game, z = sampling.truncated(self.game, n, seed, truncation)
        return replace(self, game=game)(z, asked)


@dataclass(frozen=True)
class Place:
    """Where in a game a network stands. average: in the player's EMA copy."""

    player: str
    net: str
    average: bool

    def within(self, game: Game) -> nn.Module:
        """The network. Raises KeyError where the game has none such."""
        player = game.players[self.player]
        if self.average and player.ema is None:
            raise KeyError(f"an average of {self.player}")
        return (player.ema.nets if self.average and player.ema else player.nets)[self.net]


class Alone:
    """One network as a sampler: it is in eval mode for good."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [B, *latent]; y: [B] labels or None. Returns what the network makes."""
        return self.network(z, y)


def places(game: Game) -> dict[str, Place]:
    """The networks that samples come from, by name: those that run when two samples are drawn, in eval mode.

    A recipe may sample from more than one network, or from other than averages; asking it to draw tells which.
    """
    z, y = example(game, 2)
    game.sample(z, y)  # a sampler may keep a copy of its network, made at its first use: not one with our hooks in it
    called: list[Place] = []
    hooks = []
    for name, player in game.players.items():
        for place in _of_player(name, player):

            def note(*_: object, place: Place = place) -> None:
                if place not in called:
                    called.append(place)

            hooks += [module.register_forward_pre_hook(note) for module in place.within(game).modules()]
    try:
        game.sample(z, y)
    finally:
        for hook in hooks:
            hook.remove()
    nets = [place.net for place in called]
    told = len(set(nets)) == len(nets)
    return {place.net if told else f"{place.player}-{place.net}": place for place in called}


def alone(game: Game, where: dict[str, Place]) -> nn.Module | None:
    """The one network that sampling is no more than a run of; None where a recipe does more.

    It may be a copy, which its sampler gave other statistics than those that it trains with.
    """
    network = getattr(game.sample, "network", None)
    more = len(where) > 1 or getattr(game.sample, "psi", None) is not None
    return None if more or not isinstance(network, nn.Module) else network


def networks(game: Game, where: dict[str, Place]) -> dict[str, nn.Module]:
    """The networks by name, as they draw."""
    one = alone(game, where)
    return {name: place.within(game) if one is None else one for name, place in where.items()}


def _of_player(name: str, player: Player) -> list[Place]:
    kinds = (False, True) if player.ema is not None else (False,)
    return [Place(name, net, average) for average in kinds for net in player.nets]


def example(game: Game, n: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Latents [n, *latent] and classes in turn, on the CPU, to try a generator with."""
    y = None if game.classes is None else sampling.classes_in_turn(n, game.classes)
    return sampling.latents(n, game.latent, seed), y


def save_tensors(path: Path, game: Game, where: dict[str, Place]) -> None:
    """Parameters and buffers of the networks as safetensors; each name begins with its network's."""
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous().clone()
        for name, network in networks(game, where).items()
        for key, value in network.state_dict().items()
    }
    # Not by save_file, which keeps the file from all but its owner.
    path.write_bytes(save(tensors, metadata={"format": "pt"}))


def load_generator(
    folder: str | Path, *, recipe: str | Path | None = None, device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
) -> Generator:
    """The generator that `pushforward export` wrote into `folder`. Reads tensors and JSON; no code of the folder runs.

    recipe: your copy of the recipe's file, where the recipe is not one of the project's.
    Raises ValueError for a folder that holds none, for a damaged file, by its name, and for another version's.
    """
    folder = Path(folder)
    about = read_about(folder)
    check_file(folder, TENSORS, about)
    where = resolve_device(device)
    try:
        module = recipes.load(_recipe_of(folder, about, recipe))
        spec = about["data"]["spec"]
        with torch_seeded("build", 0):
            game = module.build(module.Config(**about["config"]), DataSpec(**{**spec, "shape": tuple(spec["shape"])}))
        stands = {name: Place(**place) for name, place in about["networks"].items()}
        _fill(game, stands, load_file(folder / TENSORS))
        if about["alone"]:
            (place,) = stands.values()
            game = replace(game, sample=Alone(place.within(game)))
    except (KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{folder} does not hold what this version of pushforward builds as {about.get('recipe')} "
            f"({type(error).__name__}: {error}); use the version in its {ABOUT}: {about.get('pushforward')}"
        ) from error
    for player in game.players.values():
        for nets in (player.nets, player.ema.nets if player.ema else None):
            if nets is not None:
                nets.to(where)
                if where.type != "mps":  # as the engine lays them out, so that every bit agrees with the run's
                    nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Generator(game, about, where)


def _fill(game: Game, where: dict[str, Place], tensors: dict[str, Tensor]) -> None:
    """Gives the networks their tensors. Raises RuntimeError for too few, too many, and other shapes."""
    for name, place in where.items():
        own = {key: tensors.pop(key) for key in list(tensors) if key.startswith(f"{name}.")}
        place.within(game).load_state_dict({key.removeprefix(f"{name}."): value for key, value in own.items()})
    if tensors:
        raise RuntimeError(f"tensors of no network: {', '.join(list(tensors)[:3])}")


def _recipe_of(folder: Path, about: dict[str, Any], own: str | Path | None) -> str:
    """The recipe's name, or the path of the user's copy of its file: the folder's own word runs no code."""
    name, digest = about["recipe"], about["recipe_sha256"]
    if digest is None:
        if not re.fullmatch(r"[\w-]+", name):  # a path, whose code would be run
            raise ValueError(
                f"{folder / ABOUT} must name one of pushforward's recipes where it has no digest of a recipe's file, "
                f"got {name!r}; export the generator again, or use the version in it: {about.get('pushforward')}"
            )
        return name
    if own is None:
        raise ValueError(
            f"{folder} was made by the recipe {name}, which is not one of pushforward's; name your copy of that file: "
            f"load_generator(…, recipe={name!r}). The ONNX and torch.export formats need none"
        )
    if not Path(own).is_file():
        raise ValueError(f"the recipe {own} does not exist; give the path of {name}")
    if (got := digest_of(Path(own))) != digest:
        raise ValueError(f"{own} is not the recipe that made {folder}: its SHA-256 must be {digest}, got {got}")
    return str(own)
