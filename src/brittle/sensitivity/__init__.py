"""What sensitive directions explain, what changes them, and who can find them."""
