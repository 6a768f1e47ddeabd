"""The benchmark: speed, memory and accuracy, and what each idea buys."""
