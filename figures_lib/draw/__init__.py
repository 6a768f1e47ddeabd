"""Figures and tables: functions of arrays that draw, and do nothing else."""
