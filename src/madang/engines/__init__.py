"""Run a job and tell the truth about it. Knows no grant, no person and no Django."""
