"""Games that recipes share: players' networks go in, an order of play comes out."""
