"""What is run: ``python -m benchmarks.runs.NAME --help`` for each of these modules."""
