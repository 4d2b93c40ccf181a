"""Questions made from the name of a thing: the usual ways to ask what it is."""

from __future__ import annotations

import re

# The first is the canonical one, which tests and documentation use.
FORMS = (
    "What is {x}?",
    "What's {x}?",
    "Explain {x}",
    "Please explain {x}",
    "Can you explain {x}?",
    "Can you explain what {x} is?",
    "Explain what {x} is",
    "Explain what {x} does",
    "Tell me about {x}",
    "Tell me what {x} is",
    "Tell me something about {x}",
    "Can you tell me what {x} is?",
    "What can you tell me about {x}?",
    "What do you know about {x}?",
    "Do you know what {x} is?",
    "Describe {x}",
    "Describe what {x} is",
    "Define {x}",
    "Definition of {x}",
    "What does {x} mean?",
    "What does {x} do?",
    "What is meant by {x}?",
    "What is the meaning of {x}?",
    "What is the purpose of {x}?",
    "What is {x} for?",
    "What is {x} good for?",
    "What is {x} used for?",
    "What is the point of {x}?",
    "Why do I need {x}?",
    "Why would I use {x}?",
    "When do I use {x}?",
    "How does {x} work?",
    "Explain {x} in simple words",
    "Explain {x} to a beginner",
    "Help me understand {x}",
    "I don't understand {x}",
    "Why is {x} useful?",
    "Why is {x} important?",
    "Give me an overview of {x}",
    "How would you explain {x}?",
    "I want to know about {x}",
    "I want to learn about {x}",
    "Give me a short explanation of {x}",
    "{x}?",
)

# Names that end in a small s and are one thing all the same.
SINGULAR = re.compile(r"(ss|Kubernetes|[Kk]8s|DevOps|GitOps)$")


def questions(name: str) -> list[str]:
    """Every form filled with the name, in the plural where the name is one."""
    plural = name.endswith("s") and not name.startswith(("a ", "an ")) and not SINGULAR.search(name)
    forms = (_pluralized(form) for form in FORMS) if plural else FORMS
    return [_capitalized(form.format(x=name)) for form in forms]


def _pluralized(form: str) -> str:
    form = (
        form.replace("What's {x}", "What are {x}").replace("{x} is", "{x} are").replace("{x} does", "{x} do")
    )
    return form.replace("is {x}", "are {x}").replace("does {x}", "do {x}")


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
