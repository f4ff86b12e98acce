"""Lends GPUs: clusters, partitions, jobs, and the storage that they write to."""
