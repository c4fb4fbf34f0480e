"""One small file for each reader: `seeds()` gives good input, `read(data)` reads any.

What a reader may raise for bad input is its `REFUSAL`; everything else is a defect.
"""
