"""How texts are scored: captions, transcripts, translations, answers."""
