"""Figures, tables and self-contained HTML reports; nothing here knows a panel."""
