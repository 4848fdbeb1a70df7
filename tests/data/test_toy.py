import math

import numpy as np
import pytest
import torch

from pushforward.data.catalogue import open_data
from pushforward.data.toy import Curve, Law, Mixture, law_named

LAWS = ("ring8", "grid25", "spiral", "swissroll", "moons")


@pytest.fixture(scope="module", params=LAWS)
def law(request: pytest.FixtureRequest) -> Law:
    return law_named(request.param)


def cells(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Points [M, 2] of a grid of step σ that covers the law, and the mass of each cell: exact to 1e-8 for them."""
    x, _ = law.sample(np.random.default_rng(1), 5000)
    low, high = x.min(axis=0) - 7 * law.sigma, x.max(axis=0) + 7 * law.sigma
    axes = [np.arange(a, b + law.sigma, law.sigma) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    points = points[law.distance(points) < 8 * law.sigma]
    return points, np.exp(law.log_density(points)) * law.sigma**2


def test_densities_integrate_to_one_and_have_the_moments_of_the_samples(law: Law) -> None:
    points, mass = cells(law)
    assert mass.sum() == pytest.approx(1, abs=1e-6)
    x, _ = law.sample(np.random.default_rng(0), 200_000)
    spread = x.std(axis=0)
    np.testing.assert_allclose(mass @ points, x.mean(axis=0), atol=5 * spread.max() / math.sqrt(200_000))
    np.testing.assert_allclose(np.cov(points.T, aweights=mass, ddof=0), np.cov(x.T), atol=0.02 * spread.max() ** 2)


def test_the_samples_entropy_is_that_of_the_density(law: Law) -> None:
    points, mass = cells(law)
    exact = -(mass @ law.log_density(points))
    x, _ = law.sample(np.random.default_rng(0), 5_000)
    logs = law.log_density(x)
    assert -logs.mean() == pytest.approx(exact, abs=5 * logs.std() / math.sqrt(len(x)))


@pytest.mark.parametrize("name", ["ring8", "grid25"])
def test_true_samples_of_a_mixture_lie_within_three_sigma_as_often_as_a_gaussian_does(name: str) -> None:
    law = law_named(name)
    x, label = law.sample(np.random.default_rng(0), 200_000)
    share = (law.distance(x) < 3 * law.sigma).mean()
    assert share == pytest.approx(1 - math.exp(-4.5), abs=4 * math.sqrt(0.011 / 200_000))  # 98.889 %
    assert law.centres is not None
    assert label is not None
    nearest = np.linalg.norm(x[:, None] - law.centres, axis=2).argmin(axis=1)
    assert (nearest == label).all()
    np.testing.assert_allclose(np.bincount(label) / len(label), 1 / len(law.centres), rtol=0.06)


@pytest.mark.parametrize("name", ["spiral", "swissroll", "moons"])
def test_true_samples_of_a_curve_lie_within_three_sigma_as_often_as_a_line_allows(name: str) -> None:
    law = law_named(name)
    x, _ = law.sample(np.random.default_rng(0), 50_000)
    # Beside a line 99.73 %, beyond an end as in the plane 98.89 %; where arms are near, more.
    assert (law.distance(x) < 3 * law.sigma).mean() == pytest.approx(0.9973, abs=0.0012)


def test_a_mixtures_density_at_a_centre_is_its_share_of_a_gaussians_peak() -> None:
    law = Mixture("two", sigma=0.5, scale=1.0, means=((0.0, 0.0), (100.0, 0.0)))
    assert law.log_density(np.zeros((1, 2)))[0] == pytest.approx(-math.log(2 * 2 * math.pi * 0.25), abs=1e-12)
    assert law.log_density(np.array([[50.0, 0.0]]))[0] == pytest.approx(-5000 - math.log(math.pi / 2), rel=1e-12)


def test_a_straight_curves_density_is_the_closed_form() -> None:
    def line(theta: np.ndarray) -> np.ndarray:
        return np.stack([theta, np.zeros_like(theta)], axis=1)

    law = Curve("line", sigma=0.1, scale=1.0, curves=(line,), angles=(0.0, 1.0))
    x = np.random.default_rng(0).uniform(-0.3, 1.3, (50, 2)) * [1, 0.2]
    phi = np.vectorize(lambda t: (1 + math.erf(t / math.sqrt(2))) / 2)
    along = phi((1 - x[:, 0]) / 0.1) - phi(-x[:, 0] / 0.1)
    across = np.exp(-(x[:, 1] ** 2) / 0.02) / (0.1 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(np.exp(law.log_density(x)), along * across, rtol=1e-7, atol=1e-9)
    expected = np.hypot(x[:, 0] - x[:, 0].clip(0, 1), x[:, 1])
    np.testing.assert_allclose(law.distance(x), expected, atol=1e-9)


def test_distance_is_zero_on_the_noiseless_support(law: Law) -> None:
    if isinstance(law, Curve):
        support = np.concatenate([curve(np.linspace(*law.angles, 1000)) for curve in law.curves])
    else:
        assert law.centres is not None
        support = law.centres
    np.testing.assert_allclose(law.distance(support), 0, atol=1e-6)


def test_distance_to_a_moon_is_the_distance_to_its_circle() -> None:
    around = np.array([[-0.5, 1.05], [-1.8, -0.25], [0.5, -1.05]])  # above, left of, and below the moons
    np.testing.assert_allclose(law_named("moons").distance(around), 0.3, atol=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_the_networks_see_about_unit_spread_and_the_way_back_is_exact(name: str) -> None:
    data = open_data(name)
    law = data.law
    assert law is not None
    x = data.examples(20_000, 0)["x"]
    assert x.dtype == torch.float32
    assert x.std(dim=0).square().mean().sqrt().item() == pytest.approx(1, abs=0.03)
    points, _ = law.sample(np.random.default_rng(0), 100)
    np.testing.assert_allclose(law.from_model(law.to_model(points)), points, atol=1e-6)
    assert data.spec.classes == law.classes == {"ring8": 8, "grid25": 25, "moons": 2}.get(name)
    assert (data.labels is None) == (law.classes is None)
    assert ("y" in data.examples(3, 0)) == (law.classes is not None)
    assert data.size is None


def test_the_grid_is_the_published_one() -> None:
    law = law_named("grid25")
    assert law.centres is not None
    assert {tuple(c) for c in law.centres.tolist()} == {(-4 + 2 * i, -4 + 2 * j) for i in range(5) for j in range(5)}
    assert (law.sigma, law.scale) == (0.05, math.sqrt(8))
    ring = law_named("ring8")
    assert ring.centres is not None
    np.testing.assert_allclose(np.linalg.norm(ring.centres, axis=1), 2)
    assert ring.sigma == 0.02


def test_fingerprints_tell_laws_and_parameters_apart() -> None:
    prints = {law_named(name).fingerprint for name in LAWS}
    prints.add(Mixture("ring8", sigma=0.03, scale=math.sqrt(2), means=law_named("ring8").means).fingerprint)  # type: ignore[attr-defined]
    assert len(prints) == len(LAWS) + 1
    assert open_data("ring8").fingerprint == law_named("ring8").fingerprint


@pytest.mark.parametrize("option", ["resolution", "channels"])
def test_a_law_of_the_plane_takes_no_options_of_images(option: str) -> None:
    with pytest.raises(ValueError, match=f"leave {option} out"):
        open_data("grid25", **{option: 1})
