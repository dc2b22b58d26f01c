"""Ways in which a trial's network becomes compressible."""
