"""Tools for the latent space of any generator: plain functions of codes and images; `of_run` has them for a run."""
