"""What the studio's pages do: a person and values in, values and HTML out. No page framework in here."""
