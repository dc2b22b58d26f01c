"""What is measured on a trial's network: flat numbers by dotted name, and masks of its samples."""
