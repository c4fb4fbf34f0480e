"""From messages to the text a model reads, and from the text it writes back to parts.

Chat templates, thinking, tool-call formats. Knows no engine and no wire language.
"""
