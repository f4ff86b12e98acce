"""The reference site and the story of one company, played through the same verbs that people use."""
