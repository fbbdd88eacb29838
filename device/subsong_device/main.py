"""Entry of the firmware, at the board's REPL: `import subsong_device.main as m; m.prepare(); m.serve()`."""

_tier = -1  # not chosen yet


def prepare():
    """Choose the tier; print which fail, and why.

    Raises:
        tiers.NoTier: all of them.
    """
    global _tier  # noqa: PLW0603 - what one line at the REPL leaves to the next
    from subsong_device.tiers import choose

    _tier = choose()


def serve():
    """Serve the link on the console until the host closes it or falls silent, then return to the REPL.

    Ctrl-C is off meanwhile, so that no byte of a frame interrupts; it is back on every way out.
    """
    import micropython

    if _tier < 0:
        prepare()
    # Imported, and their memory taken, before Ctrl-C goes off: what fails here is an ordinary traceback at the REPL.
    from subsong_device.block import load_kernels
    from subsong_device.link import Console
    from subsong_device.session import Session

    session = Session(Console(), lambda rule: load_kernels(rule, _tier), _tier)
    micropython.kbd_intr(-1)
    try:
        session.serve()
    finally:
        micropython.kbd_intr(3)
