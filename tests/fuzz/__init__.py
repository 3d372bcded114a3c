"""A fast mutational fuzzer of the badge reader and of the guard: millions of tokens, replayable."""
