"""Figures and tables: functions of arrays that only draw."""
