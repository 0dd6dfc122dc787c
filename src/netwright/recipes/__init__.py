"""Shipped recipes: functions without arguments that return a `Recipe`; `netwright train @NAME PATH` uses them."""
