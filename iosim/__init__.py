"""iosim: how servers do I/O. The same short program in a simulated kernel, on real sockets, and beside theory."""
