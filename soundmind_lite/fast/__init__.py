"""The same results in less time: what the completions of a prompt share is computed once."""
