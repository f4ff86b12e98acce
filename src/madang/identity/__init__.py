"""People, organizations, who belongs where, and who may do what."""
