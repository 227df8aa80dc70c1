"""Jobs: long work that people can watch, pause, resume and cancel, and that survives its worker."""
