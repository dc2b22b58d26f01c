"""What the library answers with: frozen records, free of torch, that turn into JSON and back."""
