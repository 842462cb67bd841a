"""DSP/1 on the wire: frames, messages, bodies and their limits (docs/protocol.md)."""
