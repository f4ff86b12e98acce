"""Everything that the site lends: resources of every kind, their rates and where they stand."""
