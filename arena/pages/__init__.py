"""The arena's pages, one file each; they only wire."""
