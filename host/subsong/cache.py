"""The folder of what can be made again, for those who may import host alone."""

from subsong_sim.cache import cache_folder

__all__ = ["cache_folder"]
