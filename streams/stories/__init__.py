"""Stories: worlds to try tminus on."""
