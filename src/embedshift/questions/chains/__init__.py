"""What was done to a copy, one change after the other?"""
