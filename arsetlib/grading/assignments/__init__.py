"""The assignments, one module each. `arsetlib.grading` tells what a module holds."""
