"""A trained generator out of its run: a folder in formats that other programs read, and the Hugging Face hub.

import pushforward as pf

G = pf.load_generator("digits-generator")  # what `pushforward export RUN --out digits-generator` wrote
images = G.sample(64)                      # [64, 1, 8, 8] in [-1, 1]
"""
