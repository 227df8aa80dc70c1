"""The starter model: a tiny Llama, made from nothing, that answers by quoting a passage."""
