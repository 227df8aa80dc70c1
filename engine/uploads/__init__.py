"""Files that arrive in parts: in any order, again after a cut, put together once."""
