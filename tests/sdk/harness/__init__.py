"""The suite's harness: the programs it runs, the SDK calls it makes, and the search for leaked
keys."""
