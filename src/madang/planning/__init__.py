"""Capacity plans: stages, demand, and what the twin says of them."""
