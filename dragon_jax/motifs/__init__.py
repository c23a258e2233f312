"""Motifs of transcription factors: matrices, the files they come in, logos."""
