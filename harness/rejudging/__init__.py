"""Stored samples judged again: by another judge, by another detector, and judges held against labels."""
