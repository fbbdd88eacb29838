"""The simulator's speed against C, NumPy, PyTorch and JAX: `make bench-sim`."""
