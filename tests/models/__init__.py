"""Each model: what it computes, what it refuses, and any variant inside it."""
