"""Policy programs: the language, its compiler, and what the daemon is told of a compiled program."""
