"""What came of it: outcome records, their evidence and who verified them."""
