"""The Volumes dock: open, inspect, window, orient and export volumes."""
