"""How image networks divide their work: a 4×4 map, then one stage for each doubling."""


def doublings(shape: tuple[int, ...], smallest: int = 4) -> int:
    """How often `smallest` doubles to the side of the images [C, H, W].

    Raises ValueError unless they are square with a side of smallest·2^k.
    """
    _, height, width = shape
    stages = (height // smallest).bit_length() - 1
    if height != width or height != smallest * 2 ** max(stages, 0):
        sides = f"{smallest}, {2 * smallest}, {4 * smallest}, {8 * smallest} …"
        raise ValueError(
            f"images of {height}×{width} do not fit this network, which makes squares of {sides}; "
            "choose one with --resolution"
        )
    return stages
