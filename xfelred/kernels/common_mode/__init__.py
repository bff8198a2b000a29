"""What groups of pixels share in one frame, and its subtraction."""
