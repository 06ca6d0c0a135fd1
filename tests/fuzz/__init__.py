"""Fuzzers: hostile inputs for everything that takes what is not trusted. ci/fuzz runs them.

Each is a module with a `Fuzzer`: what is attacked, how inputs are made of the corpus, and the faults that it
must find when they are planted. A found input, or one that once was, is added to the corpus to be tried
each time.
"""
