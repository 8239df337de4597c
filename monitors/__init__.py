"""The judges: may this model be believed right now?"""
