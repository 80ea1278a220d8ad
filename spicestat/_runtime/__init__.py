"""What long work needs while it runs: threads, reports of progress, Ctrl-C."""
