"""Words everyone in the house speaks: types, errors, settings, the shelf finder."""
