"""What every test stands on."""

import signal

# A shell that starts us in the background leaves SIGINT ignored, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
