"""Knowledge bases: documents in, passages with their source out."""
