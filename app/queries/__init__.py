"""What is shown, composed of board, history and names; no Flask."""
