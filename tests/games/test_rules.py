"""The adversarial game under any rules: what the losses are, which draws they take, and that all parts combine."""

import dataclasses
import itertools
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.duel import alternate
from pushforward.core.game import Clock
from pushforward.core.seeding import torch_seeded
from pushforward.data.embedded import digits
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import (
    BETWEEN,
    LOSSES,
    CriticTerm,
    Duel,
    GeneratorTerm,
    Loss,
    Penalty,
    Rules,
    classes_of,
)
from pushforward.networks import dcgan, resnet
from pushforward.objectives import penalties

SHAPE = (1, 8, 8)
X, Y = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(5)).clamp(-1, 1), torch.arange(6) % 3


def networks(classes: int = 0) -> tuple[nn.Module, nn.Module]:
    with torch_seeded("games"):
        # BatchNorm in the generator alone, so that the critic's input gradients are each example's own.
        G, D = dcgan.Generator(4, SHAPE, 4, classes), resnet.Critic(SHAPE, 4)
    D.last.weight.data *= 20  # slopes above 1, where a one-sided penalty is felt
    return G, D


def duel(rules: Rules, classes: int = 0, **options: Any) -> Duel:
    G, D = networks(classes)
    return Duel(G, D, rules, latent=4, shape=SHAPE, classes=classes, **options)


def moves(play: Any, rounds: int = 1) -> list[Any]:
    clock, found = Clock(3), []
    for clock.round in range(rounds):
        clock.begin_round()
        found += list(play(iter([{"x": X, "y": Y}] * 9), clock))
    return found


def losses(found: list[Any]) -> list[float]:
    return [move.objective(move.batch)[0].item() for move in found]


@pytest.mark.parametrize("loss", get_args(Loss))
def test_without_more_rules_the_losses_and_draws_are_those_of_the_plain_alternating_game(loss):
    rules = Rules(loss=loss, critic_steps=2)
    G, D = networks()
    found = moves(duel(rules).play)
    plain = moves(alternate(G, D, LOSSES[loss], 4, critic_steps=2))
    assert [m.player for m in found] == ["critic", "critic", "generator"]
    assert losses(found) == pytest.approx(losses(plain), rel=1e-6)
    assert all(torch.equal(a.batch["z"], b.batch["z"]) for a, b in zip(found, plain, strict=True))


def by_hand(kind: str, D: Any, x: Tensor, fake: Tensor, batch: dict[str, Tensor]) -> Tensor:
    if kind == "r1":
        return penalties.r1(D, x) / 2
    if kind == "r2":
        return penalties.r2(D, fake) / 2
    if kind == "r1+r2":
        return (penalties.r1(D, x) + penalties.r2(D, fake)) / 2
    if kind == "dragan":
        within = batch["noise"] / (batch["eps"].view(-1, 1, 1, 1) * x.std(correction=0) / 2)
        assert within.min() >= 0
        assert 0.9 < within.max() <= 1 + 1e-5
        return penalties.dragan_penalty(D, x, batch["noise"])
    return BETWEEN[kind](D, x, fake, batch["eps"])


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("kind", get_args(Penalty))
def test_a_penalty_adds_its_weight_times_its_value_to_the_critics_loss(kind, joint):
    with_penalty, without = (duel(Rules(penalty=k, penalty_weight=3.0), joint=joint) for k in (kind, None))
    move, plain = moves(with_penalty.play)[0], moves(without.play)[0]
    with torch.no_grad():
        fake = with_penalty.G(move.batch["z"])
    expected = by_hand(kind, with_penalty.D, X, fake, move.batch)
    loss, told = move.objective(move.batch)
    share = sum(told[name].item() for name in ("r1", "r2") if name in told) / 2 or told["penalty"].item()
    assert share == pytest.approx(expected.item(), rel=1e-4)
    assert expected.item() > 1e-6
    assert loss.item() - plain.objective(plain.batch)[0].item() == pytest.approx(3 * expected.item(), rel=1e-3)
    parameters = list(with_penalty.D.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    left = torch.autograd.grad(plain.objective(plain.batch)[0], list(without.D.parameters()), allow_unused=True)
    right = torch.autograd.grad(3 * expected, parameters, allow_unused=True)
    for all_of_it, own, more in zip(gradients, left, right, strict=True):
        total = sum(g for g in (own, more) if g is not None)
        torch.testing.assert_close(all_of_it, total, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("every", [2, 4])
def test_a_lazy_penalty_and_a_lazy_term_weigh_over_a_cycle_what_the_eager_ones_do(every):
    def total(every: int) -> list[float]:
        rules = Rules(penalty="r1", penalty_weight=5.0, penalty_every=every)
        term = GeneratorTerm("size", 0.5, lambda batch: batch["z"].new_tensor(2.0), every)
        found = moves(duel(rules, generator_terms=[term]).play, 4)
        plain = moves(duel(Rules()).play, 4)
        extra = [a - b for a, b in zip(losses(found), losses(plain), strict=True)]
        return [sum(extra[0::2]), sum(extra[1::2])]

    eager, lazy = total(1), total(every)
    # The same networks in each round, and R1 on the same real examples.
    assert lazy == pytest.approx(eager, rel=1e-3)
    assert eager[1] == pytest.approx(4 * 0.5 * 2.0, rel=1e-4)


def test_a_critics_term_is_of_the_logits_and_is_told():
    drift = CriticTerm("drift", 0.1, lambda real, fake: real.square().mean())
    move, plain = moves(duel(Rules(), critic_terms=[drift]).play)[0], moves(duel(Rules()).play)[0]
    loss, told = move.objective(move.batch)
    assert loss.item() == pytest.approx(plain.objective(plain.batch)[0].item() + 0.1 * told["drift"].item(), rel=1e-5)
    assert told["drift"].item() > 0


def test_the_players_are_given_labels_where_there_are_classes_and_only_then():
    asked: list[bool] = []

    class Seeing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet.Critic(SHAPE, 4)

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            asked.append(y is not None and len(y) == len(x))
            return self.net(x)

    for classes in (0, 3):
        G, _ = networks(classes)
        for joint in (False, True):
            rules = Rules(loss="relativistic", conditioning="projection", penalty="gp")
            losses(moves(Duel(G, Seeing(), rules, latent=4, shape=SHAPE, classes=classes, joint=joint).play))
        assert set(asked) == {classes > 0}
        asked.clear()


def test_one_pass_over_both_gives_the_losses_of_two():
    found = [losses(moves(duel(Rules(penalty="r1+r2", loss="relativistic"), joint=j).play)) for j in (False, True)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_what_the_critic_should_see_of_real_examples_goes_through_the_hook():
    rules = Rules(penalty="r1", loss="relativistic")
    hooked = moves(duel(rules, real=lambda x: x / 2).play)
    scaled = moves(duel(rules).play)
    for move in scaled:
        move.batch["x"] = move.batch["x"] / 2
    assert losses(hooked) == pytest.approx(losses(scaled), rel=1e-6)


@pytest.mark.parametrize("conditioning", [None, "projection"])
def test_classes_are_asked_only_where_there_is_conditioning(conditioning):
    rules = Rules(conditioning=conditioning)
    assert classes_of(rules, DataSpec("a", "images", SHAPE, 3), "some") == (3 if conditioning else 0)
    if conditioning:
        with pytest.raises(ValueError, match="a conditional some needs labels, and b has none; give"):
            classes_of(rules, DataSpec("b", "images", SHAPE), "some")


def test_augmentations_are_refused_for_points():
    with pytest.raises(ValueError, match=r"augmentations are of images, got examples of shape \(2,\); give"):
        Duel(*networks(), Rules(augment="ada"), latent=4, shape=(2,))


@pytest.mark.parametrize("augment", ["ada", "diffaugment"])
@pytest.mark.parametrize("penalty", [None, "r1", "gp"])
def test_real_and_fake_images_are_augmented_by_draws_of_their_own_before_the_critic_sees_them(augment, penalty):
    seen: list[Tensor] = []

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet.Critic(SHAPE, 4)

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            seen.append(x.detach())
            return self.net(x)

    G, _ = networks()
    rules = Rules(augment=augment, augment_p=1.0, penalty=penalty, augment_target=None)
    playing = Duel(G, Looking(), rules, latent=4, shape=SHAPE)
    critic, generator = moves(playing.play)
    critic.objective(critic.batch)
    assert seen[0].shape == X.shape
    assert not torch.equal(seen[0], X)
    assert {k.split("/")[0] for k in critic.batch if "/" in k} == {"real", "fake"}
    assert {k.split("/")[0] for k in generator.batch if "/" in k} == {"fake"}
    for name in (k.removeprefix("real/") for k in critic.batch if k.startswith("real/")):
        assert len(critic.batch[f"real/{name}"]) == len(X)
        assert not torch.equal(critic.batch[f"real/{name}"], critic.batch[f"fake/{name}"])
    # The same draws again, in two parts: the same images.
    whole = seen[0]
    seen.clear()
    for part in (slice(0, 2), slice(2, 6)):
        critic.objective({k: v[part] for k, v in critic.batch.items()})
    parts = [s for s in seen if len(s) in (2, 4)]
    torch.testing.assert_close(torch.cat([parts[0], next(p for p in parts if len(p) == 4)]), whole, rtol=0, atol=1e-5)


def combinations() -> list[Any]:
    """Every loss, penalty and augmentation at least once, in pairs that differ."""
    augments = itertools.cycle(("ada", None, "diffaugment"))
    kinds = itertools.cycle((*get_args(Penalty), None))
    return [(loss, penalty, augment) for loss, penalty, augment in zip(get_args(Loss) * 2, kinds, augments)]  # noqa: B905


@pytest.mark.parametrize(("loss", "penalty", "augment"), combinations())
def test_any_loss_penalty_and_augmentation_give_both_players_a_gradient(loss, penalty, augment):
    rules = dataclasses.replace(Rules(), loss=loss, penalty=penalty, augment=augment, augment_p=0.5)
    playing = duel(rules)
    for move, net in zip(moves(playing.play), (playing.D, playing.G), strict=True):
        loss_of, told = move.objective(move.batch)
        gradients = torch.autograd.grad(loss_of, list(net.parameters()), allow_unused=True)
        assert all(g.isfinite().all() for g in gradients if g is not None)
        assert sum(g.abs().sum().item() for g in gradients if g is not None) > 0
        assert all(v.isfinite() for v in told.values())


def test_a_penalty_without_a_weight_is_refused_where_there_is_no_rule_for_it() -> None:
    with pytest.raises(ValueError, match="the penalty r1 needs a weight, got None"):
        duel(Rules(penalty="r1", penalty_weight=None))
    duel(Rules(penalty=None, penalty_weight=None))  # nothing to weigh


class Mean(nn.Module):
    """The mean of an image, and a constant."""

    def __init__(self, constant: float) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.tensor(constant))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x.mean((1, 2, 3)) + self.constant


@pytest.mark.parametrize(
    ("loss", "constant", "way"),
    [
        ("non-saturating", 1.0, 1),  # real: 2
        ("non-saturating", -2.0, -1),  # real: -1
        ("hinge", -1.0, -1),  # real: 0, undecided
        ("least-squares", -0.5, -1),  # real: 0.5, undecided
        ("least-squares", -0.25, 1),
        ("kl", -0.25, -1),  # real: 0.75, where 1 is undecided
        ("kl", 0.25, 1),
        ("jeffreys", -0.5, 1),
        ("wasserstein", -9.0, 1),  # real - fake: 1
        ("relativistic", -9.0, 1),
        ("relativistic-average", -9.0, 1),
        ("pearson", -1.5, -1),  # real: -0.5, where 0 is undecided
    ],
)
def test_p_follows_how_sure_the_critic_is_of_real_images_in_every_fourth_round(loss, constant, way):
    class Zeros(nn.Module):
        def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.zeros(len(z), *SHAPE)

    rules = Rules(loss=loss, augment="ada", augment_p=0.5, augment_speed=100, augment_groups=("blit",))
    game, clock, told = Duel(Zeros(), Mean(constant), rules, latent=4, shape=SHAPE), Clock(3), []
    for clock.round in range(8):
        clock.begin_round()
        for move in game.play(iter([{"x": torch.ones(6, *SHAPE)}]), clock):
            told += [move.objective(move.batch)[1]["augment_p"]] if move.player == "critic" else []
            clock.seen += 6 if move.player == "critic" else 0
    # As it was in each round, whatever became of it.
    assert [round(p.item(), 3) for p in told] == [0.5] * 4 + [0.5 + way * 0.24] * 4
    assert game.augmenter is not None
    assert game.augmenter.p == pytest.approx(max(min(0.5 + way * 0.48, 1), 0))


def p_against_a_perfect_generator(images: int) -> float:
    """ADA's p, from 0.05, after 400 rounds of a critic that nothing holds back on so many digits; the fakes are digits
    that it is not shown, so that all it can find is what it learns by heart."""
    x = digits().examples(1797, 0)["x"]
    unseen, shown = x[:897], x[897 : 897 + images]

    class Perfect(nn.Module):
        def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
            return unseen[(torch.special.ndtr(z[:, 0]) * len(unseen)).long()]

    with torch_seeded("critic"):
        D = dcgan.Critic(SHAPE, 32, norm=None)
    rules = Rules(augment="ada", augment_p=0.05, augment_speed=50_000)
    game, clock, draws = Duel(Perfect(), D, rules, latent=4, shape=SHAPE), Clock(3), torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(D.parameters(), 2e-3, (0.5, 0.999))
    for clock.round in range(400):
        clock.begin_round()
        for move in game.play(iter([{"x": shown[torch.randint(images, (32,), generator=draws)]}]), clock):
            if move.player == "critic":
                optimiser.zero_grad()
                move.objective(move.batch)[0].backward()
                optimiser.step()
                clock.seen += 32
    assert game.augmenter is not None
    return float(game.augmenter.p)


def test_adas_p_rises_on_20_digits_which_a_critic_learns_by_heart_and_falls_on_900():
    assert p_against_a_perfect_generator(20) > 0.07
    assert p_against_a_perfect_generator(900) < 0.01


def test_a_scheduled_p_is_that_of_the_examples_seen_and_one_that_cannot_move_is_refused():
    rules = Rules(augment="ada", augment_p=0.5)
    game, clock = duel(rules, augment_p=lambda seen: seen / 100), Clock(3)
    for clock.round in range(3):
        clock.begin_round()
        clock.seen += 6
        for move in game.play(iter([{"x": X}]), clock):
            move.objective(move.batch)
    assert game.augmenter is not None
    assert game.augmenter.p == pytest.approx(0.18)
    with pytest.raises(ValueError, match="ADA without a target holds its p, and p is 0"):
        duel(Rules(augment="ada", augment_target=None))


def test_adas_probability_is_told_as_it_was_and_diffaugment_has_none_to_tell() -> None:
    told = []
    for augment in ("ada", "diffaugment"):
        game = duel(Rules(augment=augment, augment_p=0.25))
        found = [move for move in moves(game.play) if move.player == "critic"]
        told += [move.objective(move.batch)[1].get("augment_p") for move in found]
    assert told == [torch.tensor(0.25), None]


def test_a_rule_names_what_each_augmentation_does() -> None:
    critic, _ = moves(duel(Rules(augment="diffaugment", augment_policy=("translation", "cutout"))).play)
    assert {k for k in critic.batch if k.startswith("real/")} == {"real/translation", "real/cutout"}
    with pytest.raises(ValueError, match="DiffAugment's policy is made of color, translation, cutout, got"):
        duel(Rules(augment="diffaugment", augment_policy=("colour",)))


@pytest.mark.parametrize(
    ("penalty", "critics", "generators"),
    # Of the critic's move, rows and whether their gradient with respect to the images is taken; then the generator's.
    [
        (None, [(12, False)], [(6, False), (6, True)]),
        ("r1", [(6, True), (6, False)], [(6, False), (6, True)]),
        ("r2", [(6, False), (6, True)], [(6, False), (6, True)]),
        ("r1+r2", [(12, True)], [(6, False), (6, True)]),
    ],
)
def test_a_joint_pass_has_no_half_whose_gradient_nobody_uses(penalty, critics, generators):
    seen: list[tuple[int, bool]] = []
    rules = Rules(loss="relativistic", penalty=penalty, penalty_weight=1.0)
    game = duel(rules, joint=True)
    game.D.register_forward_pre_hook(lambda _, given: seen.append((len(given[0]), given[0].requires_grad)))
    for move, expected in zip(moves(game.play), (critics, generators), strict=True):
        for player, net in (("generator", game.G), ("critic", game.D)):
            net.requires_grad_(move.player == player)  # as the engine does
        move.objective(move.batch)
        assert seen == expected
        seen.clear()
