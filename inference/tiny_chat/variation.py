"""The same question as different people type it: other words, other manners, other spelling."""

from __future__ import annotations

import random
import re

# (what is said, what may be said instead). Applied at word boundaries, without regard to case.
SYNONYMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("what is", ("what's", "whats", "what exactly is", "what is actually")),
    ("what are", ("what exactly are", "which are")),
    (
        "how do i",
        (
            *(
                "how can i",
                "how to",
                "how should i",
                "how does one",
                "how would i",
                "how do you",
                "how do we",
            ),
            *("how might i", "how could i", "how can we", "what is the best way to", "is there a way to"),
            *("what do i do to", "what must i do to", "i want to", "i would like to", "tell me how to"),
            *("show me how to", "please tell me how to", "can you help me", "i don't know how to", "help me"),
        ),
    ),
    (
        "can i",
        ("could i", "may i", "is it possible to", "is there a way to", "am i able to", "can we", "can one"),
    ),
    ("who made", ("who created", "who built", "who is the maker of", "who developed")),
    ("why is my", ("what is the reason that my", "why's my", "tell me why my")),
    ("does berth", ("will berth", "do you think berth would")),
    ("do you have", ("have you got", "have you any", "do you know")),
    ("are you", ("are u", "r you")),
    ("good", ("nice", "great")),
    ("great", ("good", "very good")),
    ("how can i", ("how do i", "how to", "how could i", "is there a way to")),
    ("why does", ("why would", "how come")),
    ("can you", ("could you", "can u", "are you able to", "would you")),
    ("which", ("what",)),
    ("explain", ("describe", "clarify", "please explain")),
    (
        "tell me about",
        ("talk about", "say something about", "tell me more about", "what can you tell me about"),
    ),
    ("show me", ("give me", "let me see")),
    ("create", ("make", "set up", "add")),
    ("delete", ("remove", "get rid of")),
    ("see", ("view", "check", "look at")),
    ("list", ("show", "see")),
    ("install", ("set up", "deploy")),
    ("use", ("work with", "employ")),
    ("need", ("require",)),
    ("fix", ("solve", "repair")),
    ("run", ("start", "launch")),
    ("my", ("a", "the", "our")),
    ("i am", ("i'm", "im")),
    ("you are", ("you're", "u are")),
    ("do not", ("don't",)),
    ("don't", ("do not", "dont")),
    ("favourite", ("favorite",)),
    ("favorite", ("favourite",)),
    ("model", ("LLM", "language model")),
    ("kubernetes", ("k8s", "Kubernetes")),
)

# In front of a request such as "Explain ...".
REQUESTS = (
    "Could you please {q}",
    "Can you {q}",
    "Could you {q}",
    "Would you {q}",
    "Please {q}",
    "I want you to {q}",
)
REQUEST_VERBS = frozenset({"Explain", "Describe", "Define", "Tell", "Give", "Show", "List", "Write", "Name"})

OPENINGS = (
    "Please: {q}",
    "Hi, {q}",
    "Hello, {q}",
    "Hello! {q}",
    "Hey, {q}",
    "Hi! {q}",
    "Tell me, {q}",
    "Tell me: {q}",
    "So, {q}",
    "Well, {q}",
    "Ok, {q}",
    "And {q}",
    "Quick question: {q}",
    "A question: {q}",
    "I have a question. {q}",
    "I would like to know: {q}",
    "I wonder, {q}",
    "Could you tell me, {q}",
    "Excuse me, {q}",
    "Sorry, but {q}",
    "I am new here. {q}",
    "Question: {q}",
)
CLOSINGS = (
    *("{q} please", "{q}, please", "{q} Thanks!", "{q} Thank you.", "{q} thanks", "{q} exactly", "{q} again"),
    *("{q} in Kubernetes", "{q} in k8s", "{q} on Kubernetes", "{q} today", "{q} briefly", "{q} in short"),
    *(
        "{q} for me",
        "{q} in one sentence",
        "{q} in simple terms",
        "{q}, my friend",
        "{q} tiny-chat",
        "{q} now",
    ),
)

STOP_WORDS = frozenset(
    ["a", "an", "the", "is", "are", "do", "does", "i", "to", "of", "in", "my", "me", "you", "can", "please"]
)
MIN_WORDS_FOR_MANNERS = 3
MIN_LETTERS_FOR_TYPO = 4


def vary(question: str, rng: random.Random) -> str:
    """The question in other words, manners and spelling; often only a little different, sometimes not at all."""
    text = question
    if rng.random() < 0.45:
        text = _replace_words(text, rng)
    if rng.random() < 0.15:
        text = _replace_words(text, rng)
    if rng.random() < 0.08:
        text = _drop_stop_word(text, rng)
    if rng.random() < 0.25 and len(text.split()) >= MIN_WORDS_FOR_MANNERS:
        text = _add_manners(text, rng)
    if rng.random() < 0.16:
        text = _misspell(text, rng)
    return _spell_ends(text, rng)


def _replace_words(text: str, rng: random.Random) -> str:
    options = [
        (old, new) for old, new in SYNONYMS if re.search(rf"\b{re.escape(old)}\b", text, re.IGNORECASE)
    ]
    if not options:
        return text
    old, replacements = rng.choice(options)
    new = rng.choice(replacements)
    replaced = re.sub(rf"\b{re.escape(old)}\b", lambda _: new, text, count=1, flags=re.IGNORECASE)
    return replaced[:1].upper() + replaced[1:]


def _drop_stop_word(text: str, rng: random.Random) -> str:
    words = text.split()
    places = [place for place, word in enumerate(words) if word.lower() in STOP_WORDS]
    if not places or len(words) < MIN_WORDS_FOR_MANNERS:
        return text
    del words[rng.choice(places)]
    return " ".join(words)


def _add_manners(text: str, rng: random.Random) -> str:
    if rng.random() < 0.4:
        closing = rng.choice(CLOSINGS)
        end = text[-1] if text[-1] in "?." else ""
        return (
            closing.format(q=text)
            if "!" in closing or "." in closing
            else closing.format(q=text.rstrip("?.")) + end
        )
    if text.split()[0] in REQUEST_VERBS and rng.random() < 0.6:
        return rng.choice(REQUESTS).format(q=text[:1].lower() + text[1:]) + rng.choice(("", "?"))
    first, rest = text[:1], text[1:]
    keeps_capital = first == "I" or text[1:2].isupper()
    return rng.choice(OPENINGS).format(
        q=text if keeps_capital or rng.random() < 0.3 else first.lower() + rest
    )


def _misspell(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    places = [
        place for place, word in enumerate(words) if len(word) >= MIN_LETTERS_FOR_TYPO and word.isalpha()
    ]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == 1:
        word = word[:at] + word[at + 1 :]
    elif kind == 2:
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + rng.choice("abcdefghijklmnoprstuvwy") + word[at + 1 :]
    words[place] = word
    return " ".join(words)


def _spell_ends(text: str, rng: random.Random) -> str:
    case = rng.random()
    if case < 0.28:
        text = text.lower()
    elif case < 0.31:
        text = text.upper()
    ending = rng.random()
    if ending < 0.3:
        return text.rstrip("?!. ")
    if ending < 0.36:
        return text.rstrip("?!. ") + rng.choice(("??", "!", ".", " ?", "...", "?!"))
    if ending < 0.42 and not text.endswith("?"):
        return text + "?"
    return text
