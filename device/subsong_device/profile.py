"""What the firmware was built for; deploy writes another one of these for the board's own profile (docs/boards.md)."""

NAME = "generic"
TIERS = (0,)  # best first
LOADED = False  # kernels of the upper tiers are .mpy files, and not text that the board compiles
FIRMWARE = ""  # digest of the firmware's other files; "" for these sources as they are, which have no known answers
