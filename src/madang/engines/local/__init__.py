"""One machine: the queue in PostgreSQL, one dispatcher, one shim process per job, bubblewrap around it."""

from madang.engines.local.dispatcher import Caps, Dispatcher
from madang.engines.local.engine import LocalEngine, schema
from madang.engines.local.sandbox import Sandbox
from madang.engines.local.slots import Slot, declare_slots, find_gpus, list_slots

__all__ = ["Caps", "Dispatcher", "LocalEngine", "Sandbox", "Slot", "declare_slots", "find_gpus", "list_slots", "schema"]
