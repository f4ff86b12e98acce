"""One room per kind of use, all of the same shape. They never import each other."""
