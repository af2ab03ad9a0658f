"""Speed and learning comparisons, each runnable by itself: `python -m benchmarks.<name> --help`."""
