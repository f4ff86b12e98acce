"""Madang (마당): the software that a public AI cluster runs on."""

__version__ = "0.1.0"
