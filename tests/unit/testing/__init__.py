"""What is shipped for other people's tests."""
