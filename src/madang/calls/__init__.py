"""Calls, forms, applications, eligibility, review and decision."""
