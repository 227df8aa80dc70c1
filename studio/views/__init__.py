"""The studio's HTML, made from values; everything a person typed is escaped."""
