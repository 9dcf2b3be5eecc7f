"""Reading what runs write while they run: the live view's source, alarms at marks, TensorBoard and W&B."""
