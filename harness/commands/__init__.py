"""What is typed and shown: commands, what they ask for resolved, previews, the live view. No torch."""
