"""Reads everything, writes nothing: the board and where each of its numbers comes from."""
