"""Judges of a training set: what of this table could not have been known?"""
