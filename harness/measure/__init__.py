"""What each number means, computed."""
