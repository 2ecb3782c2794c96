"""RODIN: 3-D avatar generators trained as batch jobs. The science; it knows no scheduler and prints nothing."""

__version__ = "0.1.0"
