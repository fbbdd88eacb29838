"""References of bench_plants."""
