"""Settings of a node with short queues and low limits, which refuses what is too much for it."""

from __future__ import annotations

NARROW = {
    "thread_pool.write.size": 1,
    "thread_pool.write.queue_size": 1,
    "indexing_pressure.memory.limit": "512kb",
    "http.max_content_length": "1mb",
}
