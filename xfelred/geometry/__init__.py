"""Where every pixel is, and what that means in q and phi."""
