"""The guest in a serving node."""

from tminus_client.switch import Switch
from tminus_client.switchboard import Switchboard

__all__ = ["Switch", "Switchboard"]
