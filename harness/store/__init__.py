"""The only room that writes under the results folder and the cache."""
