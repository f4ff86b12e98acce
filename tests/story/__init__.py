"""What the tests in a real browser share: a site of their own, people at their browsers, and eyes on every page."""
