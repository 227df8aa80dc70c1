"""The studio's pages: each only puts components together and wires them to handlers."""
