"""The command line: one function per verb that imports, calls and prints."""
