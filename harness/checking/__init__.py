"""What ``harness check`` says of one algorithm: laws, gradients, price, where it converges, what it resembles, and a card of its loss."""
