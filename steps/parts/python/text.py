# Octopus looks for its commands at every character of what a script prints, whoever said it first.
LINE_LIMIT = 2000
CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def clean(text):
    text = re.sub(CONTROL_CHARACTERS, " ", text)
    if len(text) > LINE_LIMIT:
        text = text[:LINE_LIMIT] + " ..."
    return re.sub(r"#(?=#|\Z)", "# ", text)


def say(text):
    print(clean(text), flush=True)


def say_wait(text):
    printwait(clean(text))


def say_highlight(text):
    printhighlight(clean(text))


def say_warning(text):
    printwarning(clean(text))
