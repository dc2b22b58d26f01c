"""The audit: model + data -> everything measured, in one record."""
