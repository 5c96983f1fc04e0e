"""Who held what for how long, and what that cost: amounts (pure), roll-ups by day, capacity over time, reports."""
