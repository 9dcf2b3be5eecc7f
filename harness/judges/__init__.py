"""Judges that any task may use: questions to a language model, classifiers, lexicons, baselines, and how each agrees with people."""
