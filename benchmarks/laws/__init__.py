"""Exact laws, float64 references and the firmware's integers, side by side: `make bench-laws`, docs/laws.md."""
