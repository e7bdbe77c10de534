"""What an iteration costs on many processes: counted, fitted to measurements, and projected."""
