"""The measurements by name, and what to know before believing one. Importing this imports neither torch nor numpy."""

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a number says.

    summary: what it measures. range: its values. better: which way. fooled: what scores well though it is bad, or moves
    the number though nothing changed. source: the paper. takes: what it is computed from: `features` of two sets of
    images, `images`, `labels` of them, `run` (a generator), `law` (points of a known density), `held-out` (a second set
    of reals that the generator never saw).
    """

    summary: str
    range: str
    better: str
    fooled: str
    source: str
    takes: str = "features"


METRICS: dict[str, Metric] = {
    "frechet": Metric(
        "Fréchet distance of the features' Gaussians (FID on inception): fidelity and variety in one",
        "0 up",
        "lower",
        "biased upwards by an amount that depends on N: compare at equal N only; blind to all but mean and covariance",
        "Heusel et al. 2017, arXiv:1706.08500",
    ),
    "frechet_corrected": Metric(
        "the same less its bias, with an interval of the distance between the two laws",
        "about 0 up",
        "lower",
        "may be below 0 for equal laws; an estimate, not what papers print",
        "block jackknife: Busing et al. 1999",
    ),
    "frechet_infinity": Metric(
        "the same, extrapolated to endless samples by a line in 1/N",
        "about 0 up",
        "lower",
        "the line is only the bias's first term",
        "Chong & Forsyth 2020, arXiv:1911.07023",
    ),
    "frechet_per_class": Metric(
        "mean over classes of the Fréchet distance within each",
        "0 up",
        "lower",
        "few images a class: the bias is larger than in the whole",
        "Miyato & Koyama 2018, arXiv:1802.05637",
        "labels",
    ),
    "kid": Metric(
        "squared MMD of the features under a cubic kernel, unbiased",
        "about 0 up",
        "lower",
        "may be below 0 for equal laws; its kernel sees three moments",
        "Bińkowski et al. 2018, arXiv:1801.01401",
    ),
    "inception_score": Metric(
        "confident classes for each image, many classes in all",
        "1 to the number of classes",
        "higher",
        "knows no real image: one perfect image a class scores best; depends on N and on splits",
        "Salimans et al. 2016, arXiv:1606.03498",
    ),
    "precision": Metric(
        "share of samples inside the manifold of the real ones: fidelity",
        "0 to 1",
        "higher",
        "real outliers have large balls; one good image repeated scores 1",
        "Kynkäänniemi et al. 2019, arXiv:1904.06991",
    ),
    "recall": Metric(
        "share of real examples inside the manifold of the samples: variety",
        "0 to 1",
        "higher",
        "a few wild samples have balls that hold everything",
        "Kynkäänniemi et al. 2019, arXiv:1904.06991",
    ),
    "density": Metric(
        "real balls around each sample, against what is expected: fidelity, less moved by outliers",
        "0 up; about 1 for equal laws",
        "higher, to 1",
        "above 1 where samples crowd in dense regions",
        "Naeem et al. 2020, arXiv:2002.09797",
    ),
    "coverage": Metric(
        "share of real examples whose ball holds a sample: variety",
        "0 to 1; below 1 for equal laws",
        "higher",
        "near 1 for far more samples than reals",
        "Naeem et al. 2020, arXiv:2002.09797",
    ),
    "prd_f8": Metric(
        "recall, weighted 8 to 1, from the precision-recall curve of clustered features",
        "0 to 1",
        "higher",
        "only as fine as its 20 clusters",
        "Sajjadi et al. 2018, arXiv:1806.00035",
    ),
    "prd_f1_8": Metric(
        "precision, weighted 8 to 1, from the same curve",
        "0 to 1",
        "higher",
        "only as fine as its 20 clusters",
        "Sajjadi et al. 2018, arXiv:1806.00035",
    ),
    "sliced_w2": Metric(
        "2-Wasserstein distance of the features along random lines",
        "0 up",
        "lower",
        "biased upwards in N; many dimensions look alike from one line",
        "Bonneel et al. 2015, J. Math. Imaging Vis. 51",
    ),
    "w2": Metric(
        "exact 2-Wasserstein distance between equal samples (2,000 at most)",
        "0 up",
        "lower",
        "biased upwards by an amount that depends on N: look at the floor",
        "Kantorovich 1942",
    ),
    "copies": Metric(
        "share of samples that lie far nearer to a training example than held-out ones do",
        "0 to 1",
        "lower",
        "sees copies only as near as its features do",
        "nearest neighbours; see metrics.memorisation",
        "held-out",
    ),
    "c_t": Metric(
        "z-score: are samples nearer to the training set than held-out examples are?",
        "any; below 0: nearer",
        "about 0 or above",
        "noise is far from everything and looks honest; averages of examples are near and look guilty",
        "Meehan et al. 2020, arXiv:2004.05675",
        "held-out",
    ),
    "authenticity": Metric(
        "share of samples that are no nearer to a training example than its own nearest neighbour is",
        "0 to 1; for equal laws 1/3 in one dimension, more in many",
        "not far below the held-out set's, its floor",
        "noise is authentic",
        "Alaa et al. 2022, arXiv:2102.08921",
        "held-out",
    ),
    "linear_probe": Metric(
        "accuracy of a linear classifier on the features, trained on one half of the reals and asked about the other",
        "0 to 1",
        "higher",
        "says how good the features are, not the samples",
        "Alain & Bengio 2017, arXiv:1610.01644",
        "labels",
    ),
    "knn_probe": Metric(
        "the same for the vote of the 20 nearest neighbours",
        "0 to 1",
        "higher",
        "says how good the features are, not the samples",
        "Wu et al. 2018, arXiv:1805.01978",
        "labels",
    ),
    "class_modes": Metric(
        "classes with at least one sample, by a classifier of the reals",
        "0 to the number of classes",
        "higher",
        "a classifier's errors find classes too; one sample a class is enough",
        "Metz et al. 2017, arXiv:1611.02163",
    ),
    "class_kl": Metric(
        "Kullback-Leibler divergence of the samples' classes from the reals', in nats",
        "0 up",
        "lower",
        "says nothing of the samples within a class",
        "Metz et al. 2017, arXiv:1611.02163",
    ),
    "ms_ssim": Metric(
        "mean structural similarity of pairs of samples: how alike they are",
        "0 to 1",
        "lower, to the reals'",
        "noise is diverse",
        "Odena et al. 2017, arXiv:1610.09585",
        "images",
    ),
    "path_length": Metric(
        "perceptual change of the picture along a path of latents, for each unit squared",
        "0 up",
        "lower",
        "a generator that ignores its latents scores 0",
        "Karras et al. 2019, arXiv:1812.04948",
        "run",
    ),
    "accuracy": Metric(
        "share of conditional samples that a classifier puts in the class asked for",
        "0 to 1",
        "higher",
        "one image a class scores 1; no better than the classifier",
        "Shmelkov et al. 2018, arXiv:1807.09499",
        "labels",
    ),
    "modes": Metric(
        "modes found: those with at least one sample of high quality",
        "0 to the number there are",
        "higher",
        "one sample a mode is enough",
        "Srivastava et al. 2017, arXiv:1705.07761",
        "law",
    ),
    "high_quality": Metric(
        "share of samples within 3 sigma of the law's modes or curves",
        "0 to 1",
        "higher",
        "one point repeated scores 1",
        "Lin et al. 2018, arXiv:1712.04086",
        "law",
    ),
    "kl": Metric(
        "Kullback-Leibler divergence of the samples' modes from uniform, in nats",
        "0 up",
        "lower",
        "counts samples of any quality; n even ones score about (modes - 1) / 2n",
        "Srivastava et al. 2017, arXiv:1705.07761",
        "law",
    ),
}


ALIASES = {
    "fid": "frechet",
    "fd": "frechet",
    "is": "inception_score",
    "ppl": "path_length",
    "swd": "sliced_w2",
    "msssim": "ms_ssim",
}


def known(name: str) -> Metric | None:
    """The entry of a measurement, whose name may end with that of the features it was made on: `recall_pixels`."""
    found = [metric for metric in METRICS if name == metric or name.startswith(f"{metric}_")]
    return METRICS[max(found, key=len)] if found else None


def unknown(name: str) -> str:
    """What to say to a name that no metric has: other people's name of one is told ours, a misspelt one the nearest."""
    stem, end, features = name.lower().partition("_")
    if stem in ALIASES:
        near = [f"{ALIASES[stem]}{end}{features}"]
    else:
        near = difflib.get_close_matches(name.lower(), METRICS, n=1)
    return f"no metric is called {name!r}{f'; did you mean {near[0]}?' if near else ''}"
