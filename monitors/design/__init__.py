"""The design phase: which declared features can be known at prediction time?"""
