"""Entry of the firmware: `import subsong_device.main; subsong_device.main.serve()` at the board's REPL."""


def serve(tier=0):
    """Serve the link on the console until the host closes it or falls silent, then return to the REPL.

    Ctrl-C is off meanwhile, so that no byte of a frame interrupts; it is back on every way out.

    Args:
        tier: what executes the kernels: 0 bytecode, 1 viper, 2 machine code.
    """
    import micropython

    # Imported, and their memory taken, before Ctrl-C goes off: what fails here is an ordinary traceback at the REPL.
    from subsong_device.link import Console
    from subsong_device.session import Session

    session = Session(Console(), tier=tier)
    micropython.kbd_intr(-1)
    try:
        session.serve()
    finally:
        micropython.kbd_intr(3)
