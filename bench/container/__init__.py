"""Images: what they hold, whether that is what they claim, and runs inside them."""
