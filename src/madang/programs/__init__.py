"""Why the site lends and with what money: programs, purses, indicators, targets, and the figures of the press."""
