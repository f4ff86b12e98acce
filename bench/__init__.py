"""Benchmarks. Each prints ratios to a ceiling or a peer of the same run: an absolute time says little on a shared
machine.

    make bench-claims          # one of them; the ratios come last, in one line
    make bench-claims JSON=x   # the same, also as JSON in the file x

Each exits with 1 where a target falls short.
"""
