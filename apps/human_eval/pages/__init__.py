"""The human evaluation pages, one file each; they only wire."""
