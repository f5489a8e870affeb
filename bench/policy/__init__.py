"""What policies cost, what swapping them does to calls in flight, and whether priorities and shared budgets hold."""
