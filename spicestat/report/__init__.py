"""What is written for readers: the HTML page and the demo."""
