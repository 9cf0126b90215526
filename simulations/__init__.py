"""The places where the two parties meet, the command line, studies and benchmarks."""
