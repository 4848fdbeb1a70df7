import numpy as np
import pytest

from pushforward.metrics.frechet import frechet_between
from pushforward.metrics.moments import gaussian
from pushforward.metrics.statistics import load_statistics, save_statistics


def sample(n=50, d=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1, d + 1)


@pytest.mark.parametrize("n", [50, 4])
def test_what_was_saved_is_loaded(tmp_path, n):
    own, other = gaussian(sample(n)), gaussian(sample(40, seed=1))
    path = tmp_path / "stats.npz"
    save_statistics(path, own, "inception", "abc123")
    found = load_statistics(path, "inception", "abc123")
    assert (found.gaussian.n, found.features, found.digest) == (n, "inception", "abc123")
    np.testing.assert_array_equal(found.gaussian.mean, own.mean)
    np.testing.assert_allclose(found.gaussian.covariance, own.covariance, atol=1e-12)
    assert frechet_between(found.gaussian, other) == pytest.approx(frechet_between(own, other), rel=1e-9)
    assert [p.name for p in tmp_path.iterdir()] == ["stats.npz"]


def test_the_file_has_the_fields_names_and_others_files_are_read(tmp_path):
    x = sample()
    save_statistics(tmp_path / "ours.npz", gaussian(x))
    with np.load(tmp_path / "ours.npz") as file:
        np.testing.assert_allclose(file["mu"], x.mean(0))
        np.testing.assert_allclose(file["sigma"], np.cov(x.T), atol=1e-12)
    np.savez(tmp_path / "theirs.npz", mu=x.mean(0), sigma=np.cov(x.T))
    found = load_statistics(tmp_path / "theirs.npz", "inception", "abc")
    assert (found.gaussian.n, found.features, found.digest) == (0, "", "")
    assert frechet_between(found.gaussian, gaussian(x)) == pytest.approx(0, abs=1e-12)


def test_a_covariance_of_low_rank_that_was_rounded_to_float32_is_read(tmp_path):
    x = sample(20, 60)
    np.savez(tmp_path / "s.npz", mu=x.mean(0).astype(np.float32), sigma=np.cov(x.T).astype(np.float32))
    found = load_statistics(tmp_path / "s.npz").gaussian
    trace = np.trace(np.cov(x.T))
    assert np.abs(found.covariance - np.cov(x.T)).max() <= 1e-5 * trace
    assert frechet_between(found, gaussian(x)) <= 1e-3 * trace


def test_statistics_of_other_features_are_refused(tmp_path):
    save_statistics(tmp_path / "s.npz", gaussian(sample()), "inception", "abc")
    with pytest.raises(ValueError, match=r"s.npz must be of the features 'dinov2', got 'inception'"):
        load_statistics(tmp_path / "s.npz", "dinov2")
    with pytest.raises(ValueError, match=r"s.npz must be of the digest 'xyz', got 'abc'"):
        load_statistics(tmp_path / "s.npz", "inception", "xyz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(2)}, "must have mu and sigma, got"),
        ({"mu": np.zeros(2), "sigma": np.eye(3)}, r"must be \[D\], \[D, D\] and a whole number"),
        ({"mu": np.zeros((1, 2)), "sigma": np.eye(2)}, r"must be \[D\], \[D, D\]"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "n": np.array(2.5)}, "a whole number"),
        ({"mu": np.array([0, np.nan]), "sigma": np.eye(2)}, "must be finite floats"),
        ({"mu": np.zeros(2), "sigma": np.array([["a", "b"], ["c", "d"]])}, "must be finite floats"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 2.0], [2.0, 1.0]])}, "negative eigenvalue"),
        ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "negative eigenvalue"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 0.5], [0.0, 1.0]])}, "symmetric"),
    ],
)
def test_files_that_are_no_statistics_are_refused_by_name(tmp_path, arrays, words):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=words) as caught:
        load_statistics(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_files_are_one_line(tmp_path):
    path = tmp_path / "s.npz"
    save_statistics(path, gaussian(sample(100, 40)))
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 255
    for damaged in (whole[: len(whole) // 2], whole[:10], b"", b"words", bytes(changed)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"must be a whole .npz, got .*s.npz") as caught:
            load_statistics(path)
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "array.npy", np.zeros(3))
    for other, words in ((tmp_path / "array.npy", "whole .npz"), (tmp_path, "whole .npz"), (tmp_path / "no", "there")):
        with pytest.raises(ValueError, match=words):
            load_statistics(other)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    save_statistics(path, gaussian(sample()))
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda *args, **words: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save_statistics(path, gaussian(sample(seed=1)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]
    with pytest.raises(ValueError, match=r"a file .npz in a folder that exists"):
        save_statistics(tmp_path / "none" / "s.npz", gaussian(sample()))
    with pytest.raises(ValueError, match=r"a file .npz"):
        save_statistics(tmp_path / "s", gaussian(sample()))


def test_a_file_damaged_anywhere_is_one_line(tmp_path):
    path = tmp_path / "s.npz"
    np.savez_compressed(path, mu=np.zeros(3), sigma=np.eye(3), n=np.array(9))
    whole = path.read_bytes()
    told: list[str] = []
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            load_statistics(path)
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 50
    assert {len(line.splitlines()) for line in told} == {1}
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3), n=np.array(-3))
    with pytest.raises(ValueError, match="whole number"):
        load_statistics(path)
