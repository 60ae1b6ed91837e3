"""The parts of `demo/lab`: real hypervisors in namespaces of one machine. Standard library only."""
