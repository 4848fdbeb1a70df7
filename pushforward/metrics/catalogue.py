"""The measurements by name. Importing this imports neither torch nor numpy."""

METRICS: dict[str, str] = {
    "frechet": "Fréchet distance on a classifier's features (on pixels without labels); lower is better",
    "precision": "share of samples inside the manifold of the real ones: fidelity",
    "recall": "share of real examples inside the manifold of the samples: variety",
    "frechet_pixels": "Fréchet distance on pixels; lower is better",
    "precision_pixels": "precision on pixels",
    "recall_pixels": "recall on pixels",
    "accuracy": "share of conditional samples that a classifier puts in the class asked for",
    "modes": "modes found: those with at least one sample of high quality",
    "high_quality": "share of samples within 3 sigma of the law's modes or curves",
    "kl": "Kullback-Leibler divergence of the samples' modes from uniform, in nats; lower is better",
    "w2": "exact 2-Wasserstein distance between equal samples (2,000); lower is better",
}
