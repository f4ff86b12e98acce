"""What was promised: agreements, grants and allocations; opens and closes facilities."""
