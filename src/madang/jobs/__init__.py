"""A job: what runs and on what; hold, run, settle."""
