"""From generated tokens to the text that clients read."""
