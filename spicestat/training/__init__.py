"""RNN training: settings, loss and loop."""
