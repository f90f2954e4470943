"""The simulated world: a kernel, CPUs, sockets, a network and clients that are actors on SimPy's clock."""
