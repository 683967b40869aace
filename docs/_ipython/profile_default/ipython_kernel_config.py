"""Kernels of the examples: no history, no remarks about the transport."""

c = get_config()
c.HistoryManager.enabled = False
c.Application.log_level = "ERROR"
