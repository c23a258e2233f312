"""Every network in a size for tests."""

# Networks whose layers do not fit short sequences or take long, small enough for tests of every network.
SMALL = {
    "convnet": {"pool_width": 5},
    "dragonn_rnn": {"pool_width": 9},
    "danq": {"kernels": 6, "width": 7, "pool_width": 9, "recurrent": 4, "dense": 8},
    "factornet": {"kernels": 6, "width": 7, "pool_width": 9, "recurrent": 4, "dense": 8},
    "deepsea": {"filters": (6, 8), "widths": (8, 4), "pools": (4, 1), "conv_dropout": (0.2, 0.5), "dense": (9,)},
    "basset": {"filters": (6, 5), "widths": (7, 5), "pools": (3, 2), "dense": (8, 7)},
    "deepstarr": {"filters": (6, 5), "widths": (7, 3), "pools": (2, 2), "dense": (8, 7)},
    "dragonn_genome": {"filters": (6, 5), "widths": (7, 3), "pools": (1, 9), "dense": (8,)},
    "transformer": {"filters": 6, "width": 7, "dim": 8, "heads": 2, "hidden": 9, "blocks": 1},
}
