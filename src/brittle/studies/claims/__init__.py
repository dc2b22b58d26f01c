"""The paper's claims as data: what each asks, of which networks, and when the answer is yes."""
