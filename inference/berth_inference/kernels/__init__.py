"""What is written in C, because nothing that torch brings does it as fast, and its use from Python."""
