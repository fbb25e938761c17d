"""Generating text: tokens a pass of the drafters, and their speed."""
