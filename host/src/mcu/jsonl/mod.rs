//! One JSON object a line: the link for any microcontroller that can print. See `docs/protocols/mcu-jsonl.md`.
