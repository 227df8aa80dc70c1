"""The market's pages, one file each; they only wire components to handlers."""
