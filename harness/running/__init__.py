"""What workers do: the stages that runs of a seed share, the run itself, and what is measured of its policy afterwards."""
